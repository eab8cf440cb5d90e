"""Tile arithmetic: cut an image so that the joined results equal the result on the whole.

A network looks `halo` pixels around each output pixel. A tile therefore reads its own core plus a halo on every
side, cut off at the image's border, where the network must see the same padding as on the whole image. Origins are
multiples of `multiple`, so that the phases of PD stay the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nsp_pipeline.errors import UsageError


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


def plan_spans(size: int, tile: int, halo: int, multiple: int) -> list[Span]:
    """Cover a side of `size` pixels with tiles whose kept parts are at most `tile` long and never overlap.

    `size` must be a multiple of `multiple`; tile and halo are rounded up to multiples of it.
    Raises UsageError for sizes that are not positive or not multiples.
    """
    if size < 1 or tile < 1 or halo < 0 or multiple < 1 or size % multiple:
        raise UsageError(f"cannot plan tiles: size {size}, tile {tile}, halo {halo}, multiple {multiple}")
    tile, halo = _round_up(tile, multiple), _round_up(halo, multiple)
    count = -(-size // tile)
    # Even shares instead of full tiles and a sliver: the last tile would cost its halo for a few pixels.
    share = _round_up(-(-size // count), multiple)
    return [
        Span(max(0, begin - halo), min(size, begin + share + halo), begin, min(size, begin + share))
        for begin in range(0, size, share)
    ]


def plan_tiles(height: int, width: int, *, tile: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cover a padded image of height×width pixels with tiles, row by row."""
    columns = plan_spans(width, tile, halo, multiple)
    for rows in plan_spans(height, tile, halo, multiple):
        for cols in columns:
            yield Tile(rows, cols)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
