"""Tile arithmetic: cut an image so that the joined results equal the result on the whole.

A network looks `halo` pixels around each output pixel. A tile therefore reads its own core plus a halo on every
side but those at the image's border, where the network must see the same padding as on the whole image. Origins are
multiples of `multiple`, so that the phases of PD stay the same. All tiles along a side read the same number of pixels,
so that an engine meets few shapes: each new one costs it time, and memory that it keeps.

A network that looks everywhere has no halo that would do. Its tiles are all of one size, overlap, and fade into each
other.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UsageError

ROUND = 64
"""What tiles read is a multiple of this many pixels, where that is no more than it may be."""

MOST_ACROSS = 48
"""Tiles along a side that are thought of; where more are needed, memory is short and square ones do."""


@dataclass(frozen=True)
class Span:
    """One tile along one side, in pixels of the padded image: reads [start, stop), keeps [keep_start, keep_stop)."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def inner(self) -> slice:
        """The kept part, within what was read."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image: what to read and what of the result to keep."""

    rows: Span
    cols: Span


@dataclass(frozen=True, eq=False)
class FadingSpan:
    """One of the overlapping tiles along a side: pixels [start, stop), and the weight of each, in 0..1.

    The weights of all tiles at a pixel add up to 1.
    """

    start: int
    stop: int
    weights: NDArray[np.float32]

    @property
    def whole(self) -> Span:
        """The same pixels, all of them kept."""
        return Span(self.start, self.stop, self.start, self.stop)


def plan_spans(size: int, tile: int, halo: int, multiple: int) -> list[Span]:
    """Cover a side of `size` pixels with tiles that read equally many pixels, at most `tile` and a halo on either side.

    What they keep never overlaps. A side of that length or less is one tile. `size` must be a multiple of `multiple`;
    tile and halo are rounded up to multiples of it. Raises UsageError for sizes that are not positive or not multiples.
    """
    if size < 1 or tile < 1 or halo < 0 or multiple < 1 or size % multiple:
        raise UsageError(f"cannot plan tiles: size {size}, tile {tile}, halo {halo}, multiple {multiple}")
    tile, halo = _round_up(tile, multiple), _round_up(halo, multiple)
    most = tile + 2 * halo
    if size <= most:
        return [Span(0, size, 0, size)]
    # The first and the last keep a halo more than those between them.
    count = -(-(size - 2 * halo) // tile)
    # No longer than it must be, but a round number: photos of nearly the same size then share a shape.
    length = min(most, _round_up(-(-(size + 2 * halo * (count - 1)) // count), math.lcm(multiple, ROUND)))
    keeps = [*range(length - halo, size, length - 2 * halo)][: count - 1]
    spans = []
    for begin, end in itertools.pairwise([0, *keeps, size]):
        # The last is moved back into the image.
        start = max(0, min(begin - halo, size - length))
        spans.append(Span(start, start + length, begin, end))
    return spans


def largest_tile(most: int, halo: int, multiple: int) -> int:
    """The largest tile that reads at most `most` pixels a side, its halo included; 0 or less where there is none.

    Tile and halo are multiples of `multiple` (see `plan_spans`).
    """
    return (most - 2 * _round_up(halo, multiple)) // multiple * multiple


def fewest_tiles(height: int, width: int, *, area: int, halo: int, multiple: int) -> tuple[int, int] | None:
    """Rows and columns of the tile with which the least is computed twice, where none may read more than `area` pixels.

    The halo is not counted, as in `plan_tiles`; None where no tile reads so few. `height` and `width` must be multiples
    of `multiple`.
    """
    halo = _round_up(halo, multiple)
    shapes = list(_shapes(height, width, area, halo, multiple))
    shapes += [(down, across) for across, down in _shapes(width, height, area, halo, multiple)]

    def computed(shape: tuple[int, int]) -> int:
        sides = (plan_spans(size, side, halo, multiple) for size, side in zip((height, width), shape, strict=True))
        return math.prod(len(spans) * spans[0].stop for spans in sides)

    return min(shapes, key=computed, default=None)


def _shapes(height: int, width: int, area: int, halo: int, multiple: int) -> Iterator[tuple[int, int]]:
    """For every number of tiles across that may be the best, as many rows as the area allows."""
    for count in range(1, MOST_ACROSS + 1):
        across = _round_up(max(1, -(-(width - 2 * halo) // count)), multiple)
        rows = area // plan_spans(width, across, halo, multiple)[0].stop
        down = height if height <= rows else largest_tile(rows, halo, multiple)
        if down >= multiple:
            yield down, across


def plan_tiles(height: int, width: int, *, tile: int | tuple[int, int], halo: int, multiple: int) -> Iterator[Tile]:
    """Cover a padded image of height×width pixels with tiles (one side, or rows and columns), row by row."""
    down, across = (tile, tile) if isinstance(tile, int) else tile
    columns = plan_spans(width, across, halo, multiple)
    for rows in plan_spans(height, down, halo, multiple):
        for cols in columns:
            yield Tile(rows, cols)


def plan_fading_spans(size: int, tile: int, overlap: int, multiple: int) -> list[FadingSpan]:
    """Cover a side of `size` pixels with tiles of one length, which overlap by `overlap` or more and fade there.

    `size` must be a multiple of `multiple`; tile and overlap are rounded up to multiples of it, and the tile to twice
    the overlap. A side no longer than a tile is one tile. Raises UsageError for sizes that are not positive or not
    multiples.
    """
    if size < 1 or tile < 1 or overlap < 1 or multiple < 1 or size % multiple:
        raise UsageError(f"cannot plan tiles: size {size}, tile {tile}, overlap {overlap}, multiple {multiple}")
    overlap = _round_up(overlap, multiple)
    tile = min(size, max(_round_up(tile, multiple), 2 * overlap))
    count = 1 if size == tile else -(-(size - overlap) // (tile - overlap))
    starts = [step * (size - tile) // max(1, count - 1) // multiple * multiple for step in range(count)]
    shares = np.stack([_fading(size, start, start + tile, overlap) for start in starts])
    shares /= shares.sum(0)
    return [
        FadingSpan(start, start + tile, share[start : start + tile].astype(np.float32))
        for start, share in zip(starts, shares, strict=True)
    ]


def _fading(size: int, start: int, stop: int, overlap: int) -> NDArray[np.float64]:
    """Rise from 0 to 1 over `overlap` pixels behind `start` and fall before `stop`, but not at the image's border."""
    place = np.arange(size) + 0.5
    rise = np.clip((place - start) / overlap, 0, 1) if start > 0 else np.ones(size)
    fall = np.clip((stop - place) / overlap, 0, 1) if stop < size else np.ones(size)
    inside = (place > start) & (place < stop)
    # A squared sine: without corners, and it and its mirror image add up to 1.
    return np.sin(np.minimum(rise, fall) * np.pi / 2) ** 2 * inside


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
