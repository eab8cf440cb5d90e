"""Files made of boxes (JPEG XL, JPEG 2000, AVIF: size, four letters, content), and of RIFF's chunks (WebP)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MOST_BOXES = 10_000


@dataclass(frozen=True)
class Box:
    """A box: its four letters, where it begins, and its content."""

    name: bytes
    start: int
    content: bytes


def boxes(data: bytes) -> Iterator[Box]:
    """The boxes of a file, or of another box's content, up to one that does not fit."""
    place = 0
    for _ in range(MOST_BOXES):
        if place + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1 and place + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        size = size or len(data) - place
        if size < head or place + size > len(data):
            return
        yield Box(name, place, data[place + head : place + size])
        place += size


def box(name: bytes, content: bytes) -> bytes:
    """A box, whole."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def riff_chunks(data: bytes) -> set[bytes]:
    """The names of a WebP's chunks, up to one that does not fit."""
    names: set[bytes] = set()
    place = 12
    while place + 8 <= len(data) and len(names) < MOST_BOXES:
        name, size = struct.unpack_from("<4sI", data, place)
        names.add(name)
        place += 8 + size + size % 2
    return names
