"""A Bayer DNG made with tifffile, whose true colours are known."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

PATCHES = np.array([[0.2, 0.2, 0.2], [0.6, 0.1, 0.1], [0.1, 0.5, 0.15], [0.1, 0.15, 0.6]])
"""Linear sRGB of the four quarters of the picture: above left and right, below left and right."""
XYZ_TO_SRGB = [[3.2405, -1.5371, -0.4985], [-0.9693, 1.8760, 0.0416], [0.0556, -0.2040, 1.0572]]
BLACK, WHITE = 512, 16383
RGGB = np.array([[0, 1], [1, 2]])


def make_dng(path: Path, *, side: int = 128, orientation: int = 1, iso: int = 1600) -> Path:
    """Write a 16-bit RGGB mosaic of the four patches, by a camera whose colours are linear sRGB."""
    colours = np.repeat(np.repeat(PATCHES.reshape(2, 2, 3), side // 2, axis=0), side // 2, axis=1)
    planes = np.tile(RGGB, (side // 2, side // 2))
    linear = np.take_along_axis(colours, planes[..., None], axis=2)[..., 0]
    noise = np.random.default_rng(0).normal(0, 20, linear.shape)
    mosaic = np.clip(BLACK + linear * (WHITE - BLACK) + noise, 0, WHITE).astype(np.uint16)
    matrix = [part for row in XYZ_TO_SRGB for value in row for part in (round(value * 10000), 10000)]
    tags = [
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),
        (50708, "s", 0, "Test Camera One", True),
        (271, "s", 0, "Test", True),
        (272, "s", 0, "Camera One", True),
        (274, "H", 1, orientation, True),
        (34855, "H", 1, iso, True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes(RGGB.reshape(-1).tolist()), True),
        (50714, "H", 1, BLACK, True),
        (50717, "H", 1, WHITE, True),
        (50721, "2i", 9, matrix, True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags, metadata=None, software=False)
    return path


def developed_colours() -> NDArray[np.float64]:
    """What the patches are in sRGB, (4, 3) in 0..1."""
    return np.where(PATCHES <= 0.0031308, 12.92 * PATCHES, 1.055 * PATCHES ** (1 / 2.4) - 0.055)
