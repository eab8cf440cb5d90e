"""A profile as a page: its noise, how its training went, and what it says of itself."""

from collections.abc import Sequence
from html import escape

import numpy as np

from nsp_pipeline.profiles.bundle import CARD_FILE, Profile
from nsp_pipeline.profiles.spec import NoiseSpec, ProfileSpec, ScoreSpec
from nsp_pipeline.report.noise_page import CHANNELS, COLOURS
from nsp_pipeline.report.page import whole_page
from nsp_pipeline.report.picture import data_address
from nsp_pipeline.report.plot import Line, line_plot

POINTS = 64
ERROR, BASE = "#2f5fc4", "#888"


def profile_report(profile: Profile, crops: bytes | None = None) -> str:
    """Write the page, nothing loaded from elsewhere; pictures of what was measured, and the card below.

    Args:
        crops: a PNG of pieces of photos that were kept out of the profile's training, one a row: as they are, and
            denoised by what it started from and by what was learnt.
    """
    spec = profile.spec
    figures = []
    if crops:
        figures.append(_figure(f'<img alt="" src="{data_address(crops, "png")}">', _columns(spec)))
    if spec.noise:
        figures.append(_figure(_noise(spec.noise), "σ of the noise by brightness, both in 8-bit steps"))
    if spec.noise_correlation:
        figures.append(_figure(_shared(spec.noise_correlation), "noise shared with pixels so many pixels away"))
    if len(spec.scores.history) > 1:
        caption = "error on the photos kept out, by training step"
        if spec.scores.base_error is not None:
            caption += f"; dashed: {spec.scores.base}, where it started"
        figures.append(_figure(_learning_curve(spec.scores), caption))
    pictures = (
        "\n".join(figures)
        or "<p>This profile holds neither a measurement of the noise nor a record of its training.</p>"
    )
    card = escape(profile.read(CARD_FILE).decode())
    return whole_page(profile.name, f"{pictures}\n<pre>{card}</pre>", styles=["noise.css"])


def _columns(spec: ProfileSpec) -> str:
    """What the columns of the crops show."""
    if spec.pairs is None and spec.scores.base:
        learnt = "by this profile" if spec.scores.accepted else "by what was learnt, which is not taken"
        return f"photos kept out of training: as they are, denoised by {spec.scores.base}, and {learnt}"
    return "photos kept out of training: as they are, and denoised"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _noise(channels: Sequence[NoiseSpec]) -> str:
    lines = []
    for colour, channel in zip(COLOURS, channels, strict=False):
        seen = np.linspace(channel.brightness[0], channel.brightness[-1], POINTS) if channel.brightness else np.empty(0)
        bent = np.interp(seen, channel.brightness, channel.variance) if channel.brightness else seen
        variance = np.maximum(channel.a * seen + channel.b if channel.straight else bent, 0)
        lines.append(Line((255 * seen).tolist(), (255 * np.sqrt(variance)).tolist(), colour, channel.straight))
    return line_plot(lines, ticks=(0, 64, 128, 192, 255), label=f"noise by brightness: {', '.join(CHANNELS)}")


def _shared(correlation: Sequence[float]) -> str:
    lags = [*range(1, len(correlation) + 1)]
    lowest = min(0.0, *correlation)
    return line_plot(
        [Line(lags, correlation, ERROR)], ticks=lags, label="correlation by distance", lowest=lowest, digits=".2f"
    )


def _learning_curve(scores: ScoreSpec) -> str:
    steps, errors = zip(*scores.history, strict=True)
    lines = [Line(steps, errors, ERROR)]
    if scores.base_error is not None:
        lines.append(Line((steps[0], steps[-1]), (scores.base_error,) * 2, BASE, dashed=True))
    return line_plot(lines, ticks=(steps[0], steps[-1]), label="held-out error by step", lowest=None, digits=".2e")
