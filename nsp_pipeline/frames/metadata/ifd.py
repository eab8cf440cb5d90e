"""TIFF's directory structure, which EXIF shares: read it, change it, write it again without losing a bit.

Entries keep their type and raw bytes, so whatever a camera wrote survives unread. Most makers count the offsets inside
a MakerNote from the beginning of the file (of the EXIF block in a JPEG), so a MakerNote stays true at its own place
only: its entry is pinned there.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Literal, Protocol, cast

Order = Literal["<", ">"]


class Buffer(Protocol):
    """Bytes that can be sliced: a `bytes` object, or a file through `FileSlices`."""

    def __getitem__(self, span: slice, /) -> bytes: ...


class FileSlices:
    """A file seen as bytes; what lies behind its end is empty.

    Instead of a memory map, because a map of a file that shrinks or whose disk goes away ends the process.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __getitem__(self, span: slice, /) -> bytes:
        """Read from `start` to `stop`, both given and not negative."""
        if span.start > FARTHEST:
            return b""
        self._file.seek(span.start)
        return self._file.read(max(0, span.stop - span.start))


TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8, IFD8 = 1, 2, 3, 4, 5, 7, 16, 18

EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
POINTERS = (EXIF_IFD, GPS_IFD, INTEROP_IFD)
ORIENTATION, MAKE, MODEL, SOFTWARE = 274, 271, 272, 305
IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
XMP, ICC_PROFILE, IPTC, PHOTOSHOP_RESOURCES = 700, 34675, 33723, 34377
MAKER_NOTE = 37500
CREDENTIALS = 52545
"""Content credentials (C2PA), which sign the picture."""

CLASSIC, BIG = 42, 43
RAW_MAGIC = (85, 0x4F52, 0x5352)
"""What Panasonic and Olympus write where TIFF has 42 and BigTIFF 43."""
HEADER = 8
"""Bytes of a classic TIFF's header."""
MOST_ENTRIES = 4096
FARTHEST = 1 << 48
LONGEST_VALUE = 64 << 20


class StructureError(ValueError):
    """The bytes are not a TIFF structure, or a damaged one."""


@dataclass(frozen=True)
class Entry:
    """One tag: its type code and the raw value, in the structure's byte order."""

    type: int
    data: bytes
    pinned: int | None = field(default=None, compare=False)
    """Where the value must lie, in bytes from the beginning of the structure; None: anywhere."""

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.data) // TYPE_SIZES[self.type]


@dataclass(frozen=True)
class Directory:
    """Entries by tag, and the directories that EXIF, GPS and interoperability pointers lead to."""

    entries: Mapping[int, Entry] = field(default_factory=dict)
    children: Mapping[int, "Directory"] = field(default_factory=dict)

    def without(self, tags: Iterable[int]) -> "Directory":
        """Return a copy that lacks these tags."""
        gone = set(tags)
        return replace(
            self,
            entries={tag: entry for tag, entry in self.entries.items() if tag not in gone},
            children={tag: child for tag, child in self.children.items() if tag not in gone},
        )

    def having(self, entries: Mapping[int, Entry]) -> "Directory":
        """Return a copy with these entries added or replaced."""
        return replace(self, entries={**self.entries, **entries})


@dataclass(frozen=True)
class Structure:
    """A byte order ("<" or ">") and the first directory."""

    order: Order
    root: Directory
    magic: int = CLASSIC

    @property
    def big(self) -> bool:
        """BigTIFF, with 64-bit offsets."""
        return self.magic == BIG

    def numbers(self, entry: Entry | None) -> tuple[int, ...]:
        """The values of an integer entry; empty for anything else."""
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(entry.type) if entry else None
        if entry is None or code is None:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{code}", entry.data)

    def text(self, entry: Entry | None) -> str | None:
        """The value of a text entry, stripped; None when empty or absent."""
        if entry is None or entry.type not in (1, 2, UNDEFINED):
            return None
        return entry.data.split(b"\0")[0].decode("utf-8", "replace").strip() or None


def parse(buffer: Buffer) -> Structure:
    """Read a TIFF structure, classic or BigTIFF; raises StructureError."""
    order, magic = _header(buffer)
    big = magic == BIG
    offset = _number(order, "Q" if big else "I", buffer, 8 if big else 4)
    return Structure(order, pinned_once(parse_directory(buffer, order, big, offset)), magic)


def parse_directory(buffer: Buffer, order: Order, big: bool, offset: int, depth: int = 0) -> Directory:
    """Read the directory at an offset and those that its EXIF and GPS pointers lead to; raises StructureError.

    Entries whose type is unknown or whose value lies outside the file are left out.
    """
    count = _number(order, "Q" if big else "H", buffer, offset)
    if count > MOST_ENTRIES:
        raise StructureError(f"a directory claims {count} entries")
    start, step, inline = offset + (8 if big else 2), 20 if big else 12, 8 if big else 4
    rows = buffer[start : start + count * step]
    entries: dict[int, Entry] = {}
    children: dict[int, Directory] = {}
    for place in range(0, len(rows) - step + 1, step):
        tag, kind = struct.unpack_from(order + "HH", rows, place)
        (number,) = struct.unpack_from(order + ("Q" if big else "I"), rows, place + 4)
        size = number * TYPE_SIZES.get(kind, 0)
        if size == 0 or size > LONGEST_VALUE:
            continue
        data = rows[place + 4 + inline : place + 4 + inline + size]
        where = None
        if size > inline:
            (where,) = struct.unpack_from(order + ("Q" if big else "I"), rows, place + 4 + inline)
            data = buffer[where : where + size]
        if len(data) < size:
            continue
        if tag in POINTERS and depth < 2:
            if len(data) > 8:
                continue
            try:
                target = int.from_bytes(data, "little" if order == "<" else "big")
                children[tag] = parse_directory(buffer, order, big, target, depth + 1)
            except StructureError:
                continue
        else:
            entries[tag] = Entry(kind, data, where if tag == MAKER_NOTE and (where or 0) >= HEADER else None)
    return Directory(entries, children)


def following_directories(structure: Structure, buffer: Buffer, most: int = 16) -> list[Directory]:
    """The directories that follow the first one in its row; raises StructureError."""
    order, big = structure.order, structure.big
    code, step = ("Q", 20) if big else ("I", 12)
    offset, found, seen = _number(order, code, buffer, 8 if big else 4), list[Directory](), set[int]()
    while len(found) < most and offset not in seen:
        seen.add(offset)
        count = _number(order, "Q" if big else "H", buffer, offset)
        offset = _number(order, code, buffer, offset + (8 if big else 2) + count * step)
        if not offset:
            break
        found.append(parse_directory(buffer, order, big, offset))
    return found


def _header(buffer: Buffer) -> tuple[Order, int]:
    order = {b"II": "<", b"MM": ">"}.get(buffer[0:2])
    if order is None:
        raise StructureError("no byte order mark")
    magic = _number(order, "H", buffer, 2)
    if magic not in (CLASSIC, BIG, *RAW_MAGIC):
        raise StructureError("no TIFF magic number")
    return cast(Order, order), magic


def _number(order: str, code: str, buffer: Buffer, offset: int) -> int:
    try:
        (value,) = struct.unpack(order + code, buffer[offset : offset + struct.calcsize("=" + code)])
    except struct.error:
        raise StructureError(f"the structure ends early, at byte {offset}") from None
    return int(value)


def serialise(structure: Structure) -> bytes:
    """Write a structure as a classic TIFF without pixels: the form in which EXIF is embedded.

    What is pinned lies at its place, with zeros before it where nothing else fits.
    """
    header = (b"II" if structure.order == "<" else b"MM") + struct.pack(structure.order + "H", CLASSIC)
    start, directories = serialise_directory(structure.root, structure.order, base=HEADER, big=False)
    return header + struct.pack(structure.order + "I", start) + directories


def serialise_directory(directory: Directory, order: Order, *, base: int, big: bool) -> tuple[int, bytes]:
    """Write a directory and those below it as they must stand at file offset `base`; no directory follows it.

    Values pinned before `base` must have been written there; those behind it are written with the others.

    Returns:
        The directory's own offset in the file, and the bytes that must stand at `base`.
    """
    room = _Room(base, _pinned(directory))
    start = _put_directory(directory, order, big, room)
    return start, bytes(room.content)


def pinned_entry(directory: Directory) -> Entry | None:
    """The entry that must lie at a place of its own, in a directory or below it."""
    return next(_pinned(directory), None)


def repinned(directory: Directory, place: int | None) -> Directory:
    """Return a copy that wants its pinned value at another place; None: anywhere."""
    entries = {
        tag: entry if entry.pinned is None else replace(entry, pinned=place) for tag, entry in directory.entries.items()
    }
    return Directory(entries, {tag: repinned(child, place) for tag, child in directory.children.items()})


def pinned_once(root: Directory) -> Directory:
    """Return a copy in which only the EXIF directory's MakerNote is pinned, where more is: places could clash."""
    if sum(1 for _ in _pinned(root)) < 2:
        return root
    loose = repinned(root, None)
    kept = {tag: child for tag, child in root.children.items() if tag == EXIF_IFD}
    return replace(loose, children={**loose.children, **kept})


def _pinned(directory: Directory) -> Iterator[Entry]:
    yield from (entry for entry in directory.entries.values() if entry.pinned is not None)
    for child in directory.children.values():
        yield from _pinned(child)


class _Room:
    """Bytes that will stand at a file offset, dealt out from the front around what is pinned."""

    def __init__(self, base: int, pinned: Iterable[Entry]) -> None:
        self._base = base
        self._cursor = base
        self.content = bytearray()
        self._taken = []
        for entry in pinned:
            place = entry.pinned or 0
            if place >= base:
                self.write(place, entry.data)
            elif place + len(entry.data) > base:
                raise ValueError(f"a value pinned to byte {place} would lie across byte {base}")
            self._taken.append(range(place, place + len(entry.data)))

    def take(self, size: int) -> int:
        """Deal out so many bytes: their offset in the file, an even one."""
        place = self._cursor + self._cursor % 2
        while blocking := next((span for span in self._taken if place < span.stop and span.start < place + size), None):
            place = blocking.stop + blocking.stop % 2
        self._cursor = place + size
        self.write(place, bytes(size))
        return place

    def write(self, place: int, data: bytes) -> None:
        """Put bytes at an offset in the file."""
        start = place - self._base
        self.content.extend(bytes(max(0, start + len(data) - len(self.content))))
        self.content[start : start + len(data)] = data


def _put_directory(directory: Directory, order: Order, big: bool, room: _Room) -> int:
    offset_code, inline, step = ("Q", 8, 20) if big else ("I", 4, 12)
    pointers = {tag: Entry(IFD8 if big else LONG, b"\0" * inline) for tag in directory.children}
    entries = dict(sorted({**directory.entries, **pointers}.items()))
    table = struct.pack(order + ("Q" if big else "H"), len(entries))
    start = room.take(len(table) + step * len(entries) + inline)
    for tag, entry in entries.items():
        data = entry.data
        if tag in directory.children:
            data = struct.pack(order + offset_code, _put_directory(directory.children[tag], order, big, room))
        table += struct.pack(f"{order}HH{offset_code}", tag, entry.type, entry.count)
        if len(data) <= inline and entry.pinned is None:
            table += data.ljust(inline, b"\0")
            continue
        place = entry.pinned
        if place is None:
            place = room.take(len(data))
            room.write(place, data)
        table += struct.pack(order + offset_code, place)
    room.write(start, table + b"\0" * inline)
    return start


def short_entry(order: Order, *values: int) -> Entry:
    """An entry of 16-bit numbers."""
    return Entry(SHORT, struct.pack(f"{order}{len(values)}H", *values))


def long_entry(order: Order, *values: int, big: bool = False) -> Entry:
    """An entry of 32-bit numbers, or 64-bit ones in a BigTIFF."""
    return Entry(LONG8 if big else LONG, struct.pack(f"{order}{len(values)}{'Q' if big else 'I'}", *values))


def rational_entry(order: Order, *fractions: tuple[int, int]) -> Entry:
    """An entry of fractions."""
    return Entry(RATIONAL, b"".join(struct.pack(order + "II", *fraction) for fraction in fractions))


def text_entry(text: str) -> Entry:
    """An entry of text, NUL-terminated."""
    return Entry(ASCII, text.encode("utf-8") + b"\0")
