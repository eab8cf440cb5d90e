"""The blocks of SIDD's validation and benchmark sets: [images, blocks, H, W, 3] uint8 in a MATLAB file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DatasetError
from nsp_pipeline.evaluation.datasets.mat_file import Variable, list_variables, read_array

OFFICIAL = (40, 32)
"""Images, and blocks of each, in the sets as published."""


@dataclass(frozen=True)
class Blocks:
    """All blocks of a file: `pixels` is (images, blocks, H, W, 3) uint8."""

    path: Path
    pixels: NDArray[np.uint8]

    def block(self, image: int, block: int) -> NDArray[np.uint8]:
        """One block, (H, W, 3)."""
        return np.ascontiguousarray(self.pixels[image, block])


@dataclass(frozen=True)
class BlockPair:
    """A noisy block and its ground truth; `image` and `block` count from 0."""

    noisy: Blocks
    clean: Blocks
    image: int
    block: int

    @property
    def group(self) -> str:
        """The image that the block is from."""
        return f"image {self.image + 1:02}"

    @property
    def name(self) -> str:
        """Name of the pair: its image and block."""
        return f"{self.group} block {self.block + 1:02}"

    def load(self) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        """Noisy and clean pixels (H, W, 3)."""
        return self.noisy.block(self.image, self.block), self.clean.block(self.image, self.block)

    def __str__(self) -> str:
        return f"{self.noisy.path}, {self.name}"


def read_blocks(path: Path) -> Blocks:
    """Read SIDD's blocks (250 MB in memory); their variable is named like the file, or is the only one of that shape.

    Raises:
        DatasetError: the file is missing, damaged, or holds something else.
        MissingCapabilityError: the package that reads it is not installed.
    """
    variables = list_variables(path)
    named = [variable for variable in variables if variable.name == path.stem]
    chosen = named or [variable for variable in variables if _has_blocks(variable)]
    if len(chosen) != 1 or not _has_blocks(chosen[0]):
        held = ", ".join(map(str, variables)) or "nothing"
        raise DatasetError(
            f"{path}: no SIDD blocks: nsp looks for a variable {path.stem}, images×blocks×height×width×3 uint8; "
            f"the file holds {held}"
        )
    return Blocks(path, read_array(path, chosen[0].name))


def pair_blocks(noisy: Path, clean: Path) -> list[BlockPair]:
    """Pair all blocks of ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat.

    Raises:
        DatasetError: as `read_blocks`, or the files hold different numbers of images or blocks.
    """
    noisy_blocks, clean_blocks = read_blocks(noisy), read_blocks(clean)
    counts, truths = noisy_blocks.pixels.shape[:2], clean_blocks.pixels.shape[:2]
    if counts != truths:
        raise DatasetError(
            f"{noisy} holds {counts[0]} images of {counts[1]} blocks and {clean} {truths[0]} of {truths[1]}; "
            "these two are not of one set"
        )
    return [BlockPair(noisy_blocks, clean_blocks, image, block) for image, block in np.ndindex(*counts)]


def _has_blocks(variable: Variable) -> bool:
    return len(variable.shape) == 5 and variable.shape[-1] == 3 and 0 not in variable.shape and variable.kind == "uint8"
