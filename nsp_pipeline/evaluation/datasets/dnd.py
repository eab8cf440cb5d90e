"""The Darmstadt Noise Dataset: `info.mat` with the boxes to denoise, and `images_srgb/0001.mat` and so on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DatasetError
from nsp_pipeline.evaluation.datasets.mat_file import list_variables, read_array, read_struct_field

INFO = "info.mat"
IMAGES = "images_srgb"
VARIABLE = "InoisySRGB"
OFFICIAL = (50, 20)
"""Images, and boxes of each, in the set as published."""

Box = tuple[int, int, int, int]
"""Top, left, bottom and right in pixels, as Python counts: the last two are outside."""


@dataclass(frozen=True)
class DndImage:
    """One image of the set and the boxes to be denoised in it."""

    path: Path
    boxes: tuple[Box, ...]

    def crops(self) -> list[NDArray[np.float32]]:
        """The noisy boxes, each (h, w, 3) float32 in 0..1.

        Raises:
            DatasetError: the file is damaged or holds something else, or a box lies outside the image.
        """
        image = self._read()
        height, width = image.shape[:2]
        for top, left, bottom, right in self.boxes:
            if bottom > height or right > width:
                raise DatasetError(
                    f"{self.path}: the image is {width}×{height}, and {INFO} has a box from {left},{top} to "
                    f"{right},{bottom} in it; these two are not of one set"
                )
        return [image[top:bottom, left:right] for top, left, bottom, right in self.boxes]

    def _read(self) -> NDArray[np.float32]:
        variables = list_variables(self.path)
        fits = [v for v in variables if v.name == VARIABLE and len(v.shape) == 3 and v.shape[2] == 3]
        if not fits or fits[0].kind not in ("single", "double"):
            held = ", ".join(map(str, variables)) or "nothing"
            raise DatasetError(f"{self.path}: no {VARIABLE}, height×width×3 single, but {held}")
        image = np.asarray(read_array(self.path, VARIABLE), dtype=np.float32)
        if not np.isfinite(image).all():
            raise DatasetError(f"{self.path}: {VARIABLE} has pixels that are no numbers; get a fresh copy")
        return np.clip(image, 0, 1)


def is_dnd(folder: Path) -> bool:
    """Whether a folder is DND's: it has `info.mat`."""
    return (folder / INFO).is_file()


def read_dnd(folder: Path) -> list[DndImage]:
    """Read which boxes of which images DND wants denoised; no image is read yet.

    Raises:
        DatasetError: `info.mat` is damaged or has no boxes, or an image is missing.
        MissingCapabilityError: the package that reads it is not installed.
    """
    info = folder / INFO
    if "info" not in (variable.name for variable in list_variables(info)):
        raise DatasetError(f"{info}: no variable info; this is not DND's {INFO}")
    images = [
        DndImage(folder / IMAGES / f"{number:04}.mat", _boxes(info, table))
        for number, table in enumerate(read_struct_field(info, "info", "boundingboxes"), 1)
    ]
    missing = [image.path for image in images if not image.path.is_file()]
    if missing or not images:
        raise DatasetError(f"{folder}: {len(missing)} of {len(images)} images are missing: {missing[:1] or IMAGES}")
    return images


def _boxes(info: Path, table: NDArray[np.generic]) -> tuple[Box, ...]:
    """Convert rows of first row, first column, last row, last column, which count from 1."""
    if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf" or not np.isfinite(table).all():
        raise DatasetError(f"{info}: boundingboxes should be N×4 numbers; here they are {table.shape} {table.dtype}")
    boxes = tuple((int(row[0]) - 1, int(row[1]) - 1, int(row[2]), int(row[3])) for row in table)
    for top, left, bottom, right in boxes:
        if not (0 <= top < bottom and 0 <= left < right):
            raise DatasetError(f"{info}: boundingboxes has a box without pixels: {top + 1} {left + 1} {bottom} {right}")
    return boxes
