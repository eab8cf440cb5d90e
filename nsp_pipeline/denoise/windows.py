"""What a network sees of a photo, and the parts of it that are blended at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.tiling import Span, Tile

BAND = 64
"""Rows of a tile that are blended at once: what they take fits into a processor's cache, which is twice as fast."""
LEAST_OF_REACH = 4
"""So many times as many rows as blending looks to either side, or what bands have in common is most of the work."""


def bands_of(tile: Tile, size: tuple[int, ...], reach: int) -> Iterator[Tile]:
    """Cut what is kept of a tile that reads `size` pixels into bands that a processor's cache holds.

    A band reads what blending looks at, in pixels of the tile.
    """
    height, width = size
    inner, across = tile.rows.inner, tile.cols.inner
    cols = Span(max(0, across.start - reach), min(width, across.stop + reach), across.start, across.stop)
    rows = max(BAND, LEAST_OF_REACH * reach)
    for begin in range(inner.start, inner.stop, rows):
        end = min(begin + rows, inner.stop)
        yield Tile(Span(max(0, begin - reach), min(height, end + reach), begin, end), cols)


def fill(window: NDArray[Any], pixels: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp]) -> None:
    """Put rows and columns of a photo into what a network is to see, (C, h, w): as they are, or in 0..1 as float32."""
    if rows[-1] - rows[0] == len(rows) - 1 and cols[-1] - cols[0] == len(cols) - 1:
        part = pixels[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]  # nothing is reflected, and nothing copied
    else:
        part = pixels[np.ix_(rows, cols)]
    for top in range(0, len(part), BAND):
        band = part[top : top + BAND]
        window[:, top : top + BAND] = (band if window.dtype == band.dtype else to_unit(band)).transpose(2, 0, 1)
