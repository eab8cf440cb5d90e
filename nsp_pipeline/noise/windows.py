"""The pieces of a photo that are looked at: all of a small one, a fixed number spread evenly over a large one."""

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit

SIDE = 128
"""Side of a window, in pixels: as in training, so that what the network sees of borders is what it knows. Many small
windows tell more of a photo than few large ones, whose blocks are alike."""

MOST, FEW = 24, 12
"""Windows of a photo: 0.4 megapixels, whatever its size; and where no more than a rough figure is wanted."""

BLOCK = 32


def cut_windows(pixels: NDArray[np.generic], most: int = MOST) -> NDArray[np.float32]:
    """Cut windows out of a photo.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1, C of 1 or 3.
        most: how many at most.

    Returns:
        (N, 3, h, w) float32 in 0..1, sides multiples of 32 up to SIDE; N is 0 where a side is shorter than 16. What is
        left over at the right and the bottom of a small photo is not looked at; sides under 32 are reflected.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < BLOCK // 2:
        return np.empty((0, 3, BLOCK, BLOCK), np.float32)
    if min(height, width) < BLOCK:
        below, beside = max(0, BLOCK - height), max(0, BLOCK - width)
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="symmetric")
        height, width = pixels.shape[:2]
    side_across = _side(width)
    columns = _grid(height / _side(height), width / side_across, most)[1]
    rows = rows_looked_at(height, width, most)
    cut = np.empty((len(rows), columns, 3, len(rows[0]), side_across), np.float32)
    for down, seen in zip(cut, rows, strict=True):
        for window, left in zip(down, _spread(width - side_across, columns), strict=True):
            piece = pixels[seen.start : seen.stop, left : left + side_across].transpose(2, 0, 1)
            window[:] = to_unit(piece if len(piece) == 3 else piece[:1])
    return cut.reshape(-1, *cut.shape[2:])


def rows_looked_at(height: int, width: int, most: int = MOST) -> list[range]:
    """The rows of a photo, no side shorter than 32, that windows are cut from."""
    side = _side(height)
    rows, _ = _grid(height / side, width / _side(width), most)
    return [range(top, top + side) for top in _spread(height - side, rows)]


def _side(length: int) -> int:
    return min(SIDE, length // BLOCK * BLOCK)


def _grid(down: float, across: float, most: int) -> tuple[int, int]:
    """Rows and columns of at most so many windows, for a photo so many windows high and wide."""
    rows, columns = ceil(down), ceil(across)
    if rows * columns <= most:
        return rows, columns
    rows = min(rows, max(1, round(sqrt(most * down / across))))
    columns = min(columns, most // min(rows, most))
    return min(rows, most // columns), columns


def _spread(room: int, count: int) -> list[int]:
    """Starts of `count` windows, evenly spaced over `room`."""
    return [round(place) for place in np.linspace(0, room, count)] if count > 1 else [room // 2]
