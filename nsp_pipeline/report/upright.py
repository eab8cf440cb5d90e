"""Pictures and places as people see them, where a file stores them turned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.denoise.crops import Crop
from nsp_pipeline.frames.frame import Metadata
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import ORIENTATION

FLIPS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}
"""By EXIF's number: whether rows and columns are turned round, and whether they then change places."""


@dataclass(frozen=True)
class Turn:
    """What makes a picture upright that is stored as EXIF's `orientation` says, in `height` and `width` pixels."""

    orientation: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        return (self.width, self.height) if self._flips[2] else (self.height, self.width)

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Pixels (H, W, C), or a part of them, upright."""
        rows, columns, swapped = self._flips
        turned = pixels[:: -1 if rows else 1, :: -1 if columns else 1]
        return np.ascontiguousarray(turned.transpose(1, 0, 2) if swapped else turned)

    def stored(self, crop: Crop) -> Crop:
        """Where a part of the upright picture is stored."""
        rows, columns, swapped = self._flips
        left, top, width, height = crop.left, crop.top, crop.width, crop.height
        if swapped:
            left, top, width, height = top, left, height, width
        return Crop(
            self.width - left - width if columns else left, self.height - top - height if rows else top, width, height
        )

    @property
    def _flips(self) -> tuple[bool, bool, bool]:
        return FLIPS.get(self.orientation, FLIPS[1])


def turn_of(metadata: Metadata, pixels: NDArray[Any]) -> Turn:
    """What makes a photo's pixels (H, W, C) upright."""
    structure = read_structure(metadata.exif)
    stated = structure.numbers(structure.root.entries.get(ORIENTATION)) if structure else ()
    return Turn(int((stated or (1,))[0]), *pixels.shape[:2])
