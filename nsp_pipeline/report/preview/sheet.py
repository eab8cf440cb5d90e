"""Previews as one picture, to print or to send: a row for each place, a column for each way."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from nsp_pipeline.report.preview.make import PhotoPreview
from nsp_pipeline.report.preview.page import AS_IS, shot_in_words

GAP, LINE, LETTERS = 8, 24, 15
PAPER, INK = (250, 250, 250), (30, 30, 30)


def preview_sheet(previews: Sequence[PhotoPreview]) -> Image.Image:
    """All photos below each other."""
    parts = [_part(preview) for preview in previews]
    sheet = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _part(preview: PhotoPreview) -> Image.Image:
    columns = [(AS_IS, preview.before), *((way.label, way.pictures) for way in preview.ways)]
    wide = max(picture.width for picture in preview.before) + GAP
    heights = [picture.height + GAP for picture in preview.before]
    sheet = Image.new("RGB", (GAP + wide * len(columns), 2 * LINE + sum(heights) + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    draw.text((GAP, 3), f"{preview.name.rpartition('/')[2]}: {shot_in_words(preview)}", INK, font)
    for column, (label, pictures) in enumerate(columns):
        left, top = GAP + column * wide, 2 * LINE
        draw.text((left, LINE + 2), label, INK, font)
        for picture, height in zip(pictures, heights, strict=True):
            sheet.paste(picture, (left, top))
            top += height
    return sheet
