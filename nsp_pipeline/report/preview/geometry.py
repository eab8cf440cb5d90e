"""Where the parts of a picture, upright as people see it, are in a photo as it lies in memory."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nsp_pipeline.denoise.crops import Crop
from nsp_pipeline.frames.dng.mosaic import as_rgb
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.report.upright import Turn, turn_of


@dataclass(frozen=True)
class Geometry:
    """How a photo lies in memory.

    `inside` is the part that becomes the picture: RAW has a margin until it is developed. `turn` makes that upright.
    `cell` is how many pixels of the picture a pixel in memory stands for, down and across: 2 in a sensor's mosaic.
    """

    inside: Crop
    turn: Turn
    cell: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        height, width = self.turn.size
        return height * self.cell, width * self.cell

    def seen(self, frame: Frame) -> NDArray[Any]:
        """The photo as a network sees it, upright, (H / cell, W / cell, C)."""
        source = frame.metadata.source
        pixels = frame.pixels
        if isinstance(source, RawSource) and source.mosaic:
            pixels = as_rgb(pixels, source.mosaic)[0][0]
        tone = tone_for(frame)
        return self.turn.of(self.inside.of(tone.seen(pixels) if tone else pixels))

    def in_memory(self, crop: Crop) -> Crop:
        """Where a part of the upright picture lies in memory."""
        left, top, width, height = (side // self.cell for side in (crop.left, crop.top, crop.width, crop.height))
        stored = self.turn.stored(Crop(left, top, width, height))
        return Crop(stored.left + self.inside.left, stored.top + self.inside.top, stored.width, stored.height)

    def in_picture(self, crop: Crop) -> Crop:
        """A part of what `seen` gives, in pixels of the upright picture."""
        return Crop(*(side * self.cell for side in (crop.left, crop.top, crop.width, crop.height)))


def geometry_of(frame: Frame) -> Geometry:
    """How a photo lies in memory."""
    source, (height, width) = frame.metadata.source, frame.pixels.shape[:2]
    raw = source if isinstance(source, RawSource) else RawSource()
    cell = 2 if raw.mosaic else 1
    left, top, wide, high = (side // cell for side in raw.crop) if raw.crop else (0, 0, width, height)
    inside = Crop(left, top, min(wide, width - left), min(high, height - top))
    return Geometry(inside, turn_of(frame.metadata, inside.of(frame.pixels)), cell)
