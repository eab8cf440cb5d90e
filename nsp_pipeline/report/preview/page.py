"""Previews as a page: for each photo its places with a slider, and all ways side by side below."""

from collections.abc import Sequence
from html import escape

from nsp_pipeline.report.page import whole_page
from nsp_pipeline.report.picture import data_address, jpeg
from nsp_pipeline.report.preview.make import PhotoPreview

QUALITY = 95
AS_IS = "as it is"

INTRODUCTION = """<h1>Which one do you like?</h1>
<p>Every picture is a part of the photo, pixel for pixel, with the noise of the whole photo taken into account: what
<code>nsp denoise</code> will make of it. Choose what is left and right of the border; drag it, or use the arrow keys.
The command below makes the whole photo like that; name a folder in its place to clean all that is in it.</p>
<p><label>Zoom <select id="zoom"><option value="1">100 %</option><option value="2">200 %</option>
<option value="4">400 %</option></select></label></p>"""


def preview_page(previews: Sequence[PhotoPreview]) -> str:
    """Write the page; nothing is loaded from elsewhere."""
    body = INTRODUCTION + "".join(_photo(preview) for preview in previews)
    return whole_page("nsp preview", body, styles=["preview.css"], scripts=["preview.js"])


def shot_in_words(preview: PhotoPreview) -> str:
    """Camera, ISO, size and noise of the photo."""
    iso = f", ISO {preview.iso}" if preview.iso else ""
    return f"{preview.camera}{iso}, {preview.megapixels:.1f} megapixels, noise {preview.sigma:.1f} of 255"


def _photo(preview: PhotoPreview) -> str:
    labels = [AS_IS, *(way.label for way in preview.ways)]
    sides = "".join(_buttons(side, labels) for side in ("left", "right"))
    commands = "".join(
        f'<div class="made" data-way="{number}"{_hidden(number)}><code>{escape(way.command)}</code>'
        f'<button class="copy" type="button">copy</button>'
        f'<span class="soft">about {_seconds(way.seconds)} for this photo here</span></div>'
        for number, way in enumerate(preview.ways, 1)
    )
    sliders = "".join(_slider(preview, number) for number in range(len(preview.places)))
    rows = "".join(_row(preview, number, labels) for number in range(len(preview.places)))
    why = f"; profile: {escape(preview.why)}" if preview.why else ""
    return f"""<section class="photo"><h2>{escape(preview.name)}</h2>
<p class="soft">{escape(shot_in_words(preview))}{why}</p>
<div class="tools" hidden>{sides}{commands}<div class="places">{sliders}</div></div>
<h3>Side by side</h3>{rows}</section>"""


def _hidden(number: int) -> str:
    return "" if number == 1 else " hidden"


def _buttons(side: str, labels: Sequence[str]) -> str:
    buttons = "".join(
        f'<button type="button" data-side="{side}" data-way="{number}">{escape(label)}</button>'
        for number, label in enumerate(labels)
    )
    return f'<div class="bar" role="group" aria-label="{side} of the border"><span>{side}</span>{buttons}</div>'


def _slider(preview: PhotoPreview, number: int) -> str:
    place, (width, height) = preview.places[number], preview.before[number].size
    return (
        f'<figure><before-after data-place="{number}" style="--w:{width};--h:{height}"><img class="left" alt="">'
        f'<img class="right" alt=""><b class="left"></b><b class="right"></b></before-after>'
        f"<figcaption>{escape(place.name)}, {_where(preview, number)}</figcaption></figure>"
    )


def _row(preview: PhotoPreview, number: int, labels: Sequence[str]) -> str:
    pictures = [preview.before[number], *(way.pictures[number] for way in preview.ways)]
    place = escape(preview.places[number].name)
    figures = "".join(
        f'<figure><img data-way="{way}" data-label="{escape(label)}" width="{picture.width}" height="{picture.height}" '
        f'style="--w:{picture.width};--h:{picture.height}" alt="{place}: {escape(label)}" '
        f'src="{data_address(jpeg(picture, QUALITY))}"><figcaption>{escape(label)}</figcaption></figure>'
        for way, (label, picture) in enumerate(zip(labels, pictures, strict=True))
    )
    return f'<div class="row" data-place="{number}">{figures}</div>'


def _where(preview: PhotoPreview, number: int) -> str:
    crop = preview.places[number].crop
    return f"around {crop.left + crop.width // 2},{crop.top + crop.height // 2}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 3 else f"{seconds:.1f} s"
