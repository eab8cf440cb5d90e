"""Measured noise as pictures: curves of level by brightness, and maps of correlation, in one HTML file."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.calibration.archive.survey import advise
from nsp_pipeline.calibration.archive.verdict import verdict
from nsp_pipeline.core.correlation import LAGS
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.report.page import whole_page
from nsp_pipeline.report.picture import Screen, data_address, jpeg
from nsp_pipeline.report.plot import Line, line_plot
from nsp_pipeline.report.preview.places import choose_places
from nsp_pipeline.report.upright import turn_of

COLOURS = ("#c8372d", "#2e8b45", "#2f5fc4")
GREY = ("#555",)
CHANNELS = ("red", "green", "blue")
CELL = 9
POINTS = 64
WIDTH, HEIGHT, SHOWN, QUALITY = 480, 320, "textured", 92
"""Of the part of a photo that stands for its group."""
EXPLAINED = f"""<p>Measured on flat patches of the photos. Left, the standard deviation of the noise by brightness, both
in 8-bit steps: dashed where a straight line a·x + b describes the variance, drawn through where the camera's tone curve
changes it. Right, how much noise a pixel has in common with those up to {LAGS} pixels away: white is none, red is in
common, blue is opposite. A blind-spot network takes what neighbours have in common for picture. It is trained on pixels
s apart, which have next to nothing in common; PD is how it is run afterwards, by the same reasoning.</p>"""


def noise_report(groups: Sequence[Group], seconds: float | None = None) -> str:
    """Write the page: one section for each group, with a part of one of its photos; nothing loaded from elsewhere.

    `seconds` is how long a calibration takes on this machine, where that is known.
    """
    sections = "\n".join(_section(group, seconds) for group in groups)
    body = f"""<h1>Noise of the archive</h1>
<p>Each group is the photos of one camera, ISO, kind of file and size. The picture is a part of one of them, pixel for
pixel. A profile made of a group's own photos removes its noise best; <code>nsp calibrate</code> makes one.</p>
{sections}"""
    return whole_page("Noise of the archive", body, styles=["noise.css"])


def _section(group: Group, seconds: float | None) -> str:
    advice = advise(group.noise)
    if advice.trouble:
        numbers = f'<p class="no">{escape(advice.trouble)}</p>'
    else:
        pd = "no PD: it would cost detail" if advice.pd_factor == 1 else f"PD {advice.pd_factor}"
        numbers = f"<p><b>s = {advice.s}</b> for training; at inference {pd}.</p>"
    measured = f"{EXPLAINED}{numbers}{_pictures(group.noise) if group.noise else ''}"
    return (
        f"<section><h2>{escape(group.name)}</h2><p>{escape(_sentence(verdict(group, seconds)))}.</p>{_example(group)}"
        f"<details><summary>measurements, for those who calibrate</summary>{measured}</details></section>"
    )


def _example(group: Group) -> str:
    """A part of one of the photos at 100 %, where there is most to see; nothing where it cannot be read."""
    path = group.paths[len(group.paths) // 2]
    try:
        frame = read_frame(path)
    except PhotoError:
        return ""
    turn = turn_of(frame.metadata, frame.pixels)
    upright = turn.of(frame.pixels)
    places = choose_places(upright, WIDTH, HEIGHT)
    place = next((place for place in places if place.name == SHOWN), places[0])
    picture = Screen(frame).shown(place.crop.of(upright))
    return (
        f'<figure><img class="example" width="{picture.width}" height="{picture.height}" alt="a part at 100 %" '
        f'src="{data_address(jpeg(picture, QUALITY))}"><figcaption>{escape(printable(path))}</figcaption></figure>'
    )


def _pictures(noise: NoiseField) -> str:
    maps = "".join(
        f'<img width="{_map_side()}" height="{_map_side()}" alt="correlation, {name}" title="{name}" '
        f'src="data:image/png;base64,{_map(correlation)}"> '
        for name, correlation in zip(_names(noise), noise.correlation, strict=True)
    )
    numbers = "".join(
        f"<tr><th>{name}</th><td>{curve.a:.3g}</td><td>{curve.b:.3g}</td><td>{_shape(curve.straight)}</td></tr>"
        for name, curve in zip(_names(noise), noise.curves, strict=True)
    )
    lags = "".join(f"<td>{value:.2f}</td>" for value in noise.by_lag)
    heads = "".join(f"<th>{lag}</th>" for lag in range(1, LAGS + 1))
    return f"""<figure>{noise_curves(noise)}<figcaption>σ by brightness; {noise.sigma:.2f} of 255 on average,
from {noise.flat_patches} flat patches</figcaption></figure>
<figure>{maps}<figcaption>Correlation up to {LAGS} pixels: {", ".join(_names(noise))}</figcaption></figure>
<table><tr><th></th><th>a</th><th>b</th><th>variance a·x + b, values in 0..1</th></tr>{numbers}</table>
<table><tr><th>pixels apart</th>{heads}</tr><tr><th>correlation</th>{lags}</tr></table>"""


def noise_curves(noise: NoiseField) -> str:
    """Draw the standard deviation of each channel by brightness, as an SVG element."""
    shades = np.linspace(0, 1, POINTS)
    lines = []
    for colour, curve in zip(_colours(noise), noise.curves, strict=True):
        seen = shades[(shades >= curve.knots.x[0]) & (shades <= curve.knots.x[-1])]
        level = np.sqrt(curve.at(seen)) * 255
        lines.append(Line((255 * seen).tolist(), level.tolist(), colour, curve.straight))
    return line_plot(lines, ticks=(0, 64, 128, 192, 255), label="noise by brightness")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _shape(straight: bool) -> str:
    return "a straight line" if straight else "changed by the camera's tone curve; a and b are the nearest line"


def _names(noise: NoiseField) -> tuple[str, ...]:
    return CHANNELS if len(noise.curves) == len(CHANNELS) else ("grey",)


def _colours(noise: NoiseField) -> tuple[str, ...]:
    return COLOURS if len(noise.curves) == len(COLOURS) else GREY


def _map_side() -> int:
    return (2 * LAGS + 1) * CELL


def _map(correlation: NDArray[np.float64]) -> str:
    """A map (2·LAGS + 1, 2·LAGS + 1) as PNG in base 64: red is positive, blue negative."""
    strength = np.sign(correlation) * np.sqrt(np.minimum(np.abs(correlation), 1.0))
    red, blue = np.clip(1 + strength, 0, 1), np.clip(1 - strength, 0, 1)
    picture = np.stack([red, np.minimum(red, blue), blue], -1)
    file = BytesIO()
    Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
