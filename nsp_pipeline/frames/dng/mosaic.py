"""A Bayer mosaic as four planes, one for each pixel of its cell, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.dng.colour import FULL, signal_of, srgb_curve
from nsp_pipeline.frames.frame import RawSource

CELL = ((0, 0), (0, 1), (1, 0), (1, 1))
DARKEST_BLACK = 256
"""Black level of a mosaic that is written: so much noise below black survives at least."""


def packed(mosaic: NDArray[np.uint16], source: RawSource, black: list[int], white: int) -> NDArray[np.float32]:
    """The sensor's numbers (H, W) as planes (ceil(H/2), ceil(W/2), 4) on sRGB's curve, white-balanced, over a pedestal.

    Args:
        source: says gains and pedestal.
        black: levels of the four pixels of a cell.
        white: level at which the sensor is full.
    """
    height, width = mosaic.shape
    # An odd side gets a copy of its last but one line, which has the missing colours.
    even = np.pad(mosaic, ((0, height % 2), (0, width % 2)), mode="reflect")
    planes = np.empty((even.shape[0] // 2, even.shape[1] // 2, 4), np.float32)
    levels = np.arange(FULL + 1)
    for number, (row, column) in enumerate(CELL):
        signal = (levels - black[number]) / (white - black[number])
        light = (signal + source.pedestal) * source.gains[number] / (1 + source.pedestal)
        planes[..., number] = srgb_curve(np.clip(light, 0, 1)).astype(np.float32)[even[row::2, column::2]]
    return planes


def black_of(source: RawSource) -> int:
    """The black level of a mosaic that is written, of 65535."""
    return max(DARKEST_BLACK, round(source.pedestal / (1 + source.pedestal) * FULL))


def unpacked(planes: NDArray[np.floating[Any]], source: RawSource) -> NDArray[np.uint16]:
    """Undo `packed`: a mosaic (H, W, 1) of 16 bits, black at `black_of`, white at 65535."""
    black, size = black_of(source), planes.shape[:2]
    mosaic = np.empty((2 * size[0], 2 * size[1]), np.uint16)
    for number, (row, column) in enumerate(CELL):
        signal = signal_of(planes[..., number : number + 1], source.gains[number : number + 1], source.pedestal)[..., 0]
        mosaic[row::2, column::2] = np.clip(np.rint(black + signal * (FULL - black)), 0, FULL)
    height, width = source.mosaic_size
    return mosaic[:height, :width, None]


def half_size(mosaic: NDArray[np.uint16], source: RawSource) -> NDArray[np.uint16]:
    """A mosaic of `unpacked` as linear RGB of half its size, black at 0: for previews."""
    black = black_of(source)
    rows, columns = mosaic.shape[0] // 2 * 2, mosaic.shape[1] // 2 * 2
    total, count = np.zeros((rows // 2, columns // 2, 3), np.float32), [0, 0, 0]
    for colour, (row, column) in zip(source.mosaic, CELL, strict=True):
        total[..., colour] += mosaic[row:rows:2, column:columns:2, 0]
        count[colour] += 1
    signal = (total / np.maximum(count, 1) - black) * (FULL / (FULL - black))
    return np.asarray(np.clip(np.rint(signal), 0, FULL), np.uint16)


def as_rgb(planes: NDArray[Any], mosaic: tuple[int, ...]) -> list[tuple[NDArray[Any], tuple[int, ...]]]:
    """Pictures of red, one green and blue (H, W, 3) of four planes, one for each green; and the planes' places."""
    red, blue = mosaic.index(0), mosaic.index(2)
    places = [(red, green, blue) for green, colour in enumerate(mosaic) if colour == 1]
    return [(np.ascontiguousarray(planes[..., list(three)]), three) for three in places]


def gains_of_colours(source: RawSource) -> tuple[float, ...]:
    """The gains of red, green and blue."""
    return tuple(source.gains[source.mosaic.index(colour)] for colour in range(3)) if source.mosaic else source.gains
