"""The packed picture data of a PNG: whether they are whole, and what is left of those that are not."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By IHDR's number for the kind of colours."""
PALETTE = 3
ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""First column and step, first row and step, of each pass of an interlaced PNG."""
MOST_AT_ONCE = 1 << 20
HIGHEST_FILTER = 4


@dataclass(frozen=True)
class Header:
    """What IHDR says."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: int


def doubt_picture_data(parts: Iterable[bytes], header: Header) -> str | None:
    """Say what is wrong with the contents of all IDAT chunks; None where nothing is.

    libpng gives out pictures whose packed data have a wrong checksum.
    """
    size, whole = 0, False
    rows = _rows(header)
    start, row = 0, next(rows, 0)
    try:
        for unpacked, whole in _unpacked(parts):  # noqa: B007  (the last one counts)
            while row and start < size + len(unpacked):
                if unpacked[start - size] > HIGHEST_FILTER:
                    return "the PNG is damaged: its picture data make no sense"
                start, row = start + row, next(rows, 0)
            size += len(unpacked)
    except zlib.error:
        return "the PNG is damaged: its picture data cannot be unpacked"
    if not whole or size < unpacked_size(header):
        return "the PNG is damaged: its picture data end before the picture does"
    return None


def mended_picture_data(parts: Iterable[bytes], header: Header) -> bytes:
    """Packed picture data with what can be unpacked of damaged ones, and black for the rest."""
    wanted = unpacked_size(header)
    found = bytearray()
    try:
        for unpacked, _ in _unpacked(parts):
            found += unpacked
            if len(found) >= wanted:
                break
    except zlib.error:
        pass  # up to here
    mended = found[:wanted].ljust(wanted, b"\0")
    start = 0
    for row in _rows(header):
        if mended[start] > HIGHEST_FILTER:
            mended[start] = 0
        start += row
    return zlib.compress(mended, 1)


def unpacked_size(header: Header) -> int:
    """Bytes of the picture as it is before packing: its rows, each with the number of its filter."""
    return sum(rows * (1 + row) for rows, row in _passes(header))


def _rows(header: Header) -> Iterator[int]:
    """Bytes of every row, its filter's number included."""
    for rows, row in _passes(header):
        yield from (1 + row for _ in range(rows))


def _passes(header: Header) -> Iterator[tuple[int, int]]:
    """How many rows, and bytes a row, each pass has."""
    bits = CHANNELS[header.colour] * header.depth
    grids = ADAM7 if header.interlaced else ((0, 1, 0, 1),)
    for left, across, top, down in grids:
        columns, rows = -(-(header.width - left) // across), -(-(header.height - top) // down)
        if columns > 0 and rows > 0:
            yield rows, (columns * bits + 7) // 8


def _unpacked(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Unpack piece by piece; with each piece, whether the data have come to their proper end."""
    unpacker = zlib.decompressobj()
    for part in parts:
        waiting = part
        while waiting and not unpacker.eof:
            piece = unpacker.decompress(waiting, MOST_AT_ONCE)
            waiting = unpacker.unconsumed_tail
            yield piece, unpacker.eof
