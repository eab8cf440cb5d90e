"""What a RAW file says of the shot, wherever its maker put it, as EXIF."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from nsp_pipeline.frames.formats.jpeg import read_jpeg_exif
from nsp_pipeline.frames.formats.raw.ciff import read_ciff
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS
from nsp_pipeline.frames.metadata.exif import ISO_SPEED_RATINGS, read_structure
from nsp_pipeline.frames.metadata.ifd import (
    CREDENTIALS,
    EXIF_IFD,
    GPS_IFD,
    IPTC,
    MAKE,
    MAKER_NOTE,
    MODEL,
    PHOTOSHOP_RESOURCES,
    RESOLUTION_UNIT,
    SOFTWARE,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    Directory,
    Entry,
    FileSlices,
    Structure,
    StructureError,
    parse,
    rational_entry,
    short_entry,
    text_entry,
)

DESCRIPTION, DATE_TIME, ARTIST, COPYRIGHT, RATING, RATING_PERCENT = 270, 306, 315, 33432, 18246, 18249
WINDOWS_WORDS = range(40091, 40096)
KEPT_TAGS = (
    *(DESCRIPTION, MAKE, MODEL, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, SOFTWARE, DATE_TIME, ARTIST, COPYRIGHT),
    *(RATING, RATING_PERCENT, *WINDOWS_WORDS, IPTC, PHOTOSHOP_RESOURCES),
)
"""The other tags of a RAW file's main directory are about the sensor's data."""
_ALONE = (
    *(33423, 33434, 33437, 34850, 34852, ISO_SPEED_RATINGS, 34858, 34859, 36864, 36867, 36868, 37399, 37510),
    *(41483, 41492, 41493, 41495, 42016, 42240),
)
_IN_ROWS = (
    *(range(34864, 34870), range(36880, 36883), range(37377, 37388), range(37390, 37398), range(37520, 37523)),
    *(range(37888, 37894), range(41486, 41489), range(41728, 41730), range(41985, 41997), range(42032, 42038)),
)
SHOT_TAGS = frozenset(_ALONE).union(*_IN_ROWS)
"""Of the EXIF directory; TIFF/EP, after which older RAW files are made, has them in the main one."""
EXPOSURE_TIME, F_NUMBER, DATE_TAKEN, FOCAL_LENGTH = 33434, 33437, 36867, 37386
STALE_TAGS = (40962, 40963, 41730, 40965)
"""Of the EXIF directory: what has offsets into the RAW file, or describes its sensor's pixels."""
MADE_UP_BY = "dcraw"
"""Beginning of the software that LibRaw names in the EXIF which it makes for previews that have none."""
CR3_HEAD, CR3_NOTES = 1 << 20, b"CMT3"
XMP_BOX = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
SAME_TIME = 0.002
"""Share by which an exposure time may differ from the whole fraction that it is taken for."""


@dataclass(frozen=True)
class RawExif:
    """EXIF of a shot, its XMP packet where there is one, and in words what the file says that has no place in them."""

    structure: Structure
    xmp: bytes | None = None
    left_out: tuple[str, ...] = ()


def read_raw_exif(path: Path, facts: Mapping[str, Any], preview: bytes) -> RawExif:
    """EXIF of the RAW file if it is a TIFF inside; of a part of it; of its preview; else what LibRaw reports.

    Args:
        facts: what LibRaw knows of the shot (see decoders/develop_raw.py).
        preview: the embedded JPEG, or nothing.

    Raises OSError.
    """
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            structure = parse(content)
            packet = structure.root.entries.get(XMP)
            left_out = (CONTENT_CREDENTIALS,) if CREDENTIALS in structure.root.entries else ()
            return RawExif(_descriptive(structure), packet.data if packet else None, left_out)
        except StructureError:
            head = content[0:CR3_HEAD]
    if of_boxes := _of_boxes(head):
        notes = ("the maker's notes",) if CR3_NOTES in head else ()  # their offsets count from a place of their own
        return RawExif(_descriptive(of_boxes), _packet_of_boxes(head), notes)
    if of_minolta := _of_minolta(head):
        return RawExif(_descriptive(of_minolta))
    named: dict[str, Any] = {}
    if preview.startswith(b"\xff\xd8\xff"):
        found = read_structure(read_jpeg_exif(path, preview))
        software = found.text(found.root.entries.get(SOFTWARE)) if found else None
        if found and not (software or "").startswith(MADE_UP_BY):
            return RawExif(_descriptive(found))
        # Names of make and model LibRaw tells in no other way; the rest of what it makes up is rounded.
        for tag, name in ((MAKE, "make"), (MODEL, "model")):
            named[name] = (found.text(found.root.entries.get(tag)) if found else None) or ""
    canon = read_ciff(path)
    # The records of a CRW are no EXIF, and of most there is none.
    return RawExif(_reported({**facts, **named, **canon}), left_out=("the maker's notes",) if canon else ())


def _descriptive(structure: Structure) -> Structure:
    """Keep what describes the shot, and leave out what describes the RAW file."""
    root = structure.root
    entries = {tag: entry for tag, entry in root.entries.items() if tag in KEPT_TAGS}
    children = {tag: child for tag, child in root.children.items() if tag in (EXIF_IFD, GPS_IFD)}
    shot = children.get(EXIF_IFD, Directory()).without(STALE_TAGS)
    misplaced = {tag: entry for tag, entry in root.entries.items() if tag in SHOT_TAGS}
    if misplaced or EXIF_IFD in children:
        children[EXIF_IFD] = replace(shot, entries={**misplaced, **shot.entries})
    return replace(structure, root=Directory(entries, children))


def _of_boxes(head: bytes) -> Structure | None:
    """EXIF of a CR3, which has its directories apart from each other in boxes of an MP4."""
    if head[4:12] != b"ftypcrx ":
        return None
    parts = {}
    for name in (b"CMT1", b"CMT2", b"CMT4"):
        place = head.find(name)
        size = int.from_bytes(head[place - 4 : place]) if place >= 4 else 0
        parts[name] = read_structure(head[place + 4 : place - 4 + size]) if size > 8 else None
    first = parts[b"CMT1"]
    if first is None:
        return None
    children = {
        tag: part.root
        for tag, name in ((EXIF_IFD, b"CMT2"), (GPS_IFD, b"CMT4"))
        if (part := parts[name]) and part.order == first.order
    }
    return replace(first, root=Directory(first.root.entries, children))


def _packet_of_boxes(head: bytes) -> bytes | None:
    """The XMP packet of a CR3."""
    place = head.find(b"uuid" + XMP_BOX)
    size = int.from_bytes(head[place - 4 : place]) if place >= 4 else 0
    return head[place + 20 : place - 4 + size].rstrip(b"\0 ") or None if size > 24 else None


def _of_minolta(head: bytes) -> Structure | None:
    """EXIF of an MRW, which has a TIFF in one of its blocks."""
    if not head.startswith(b"\0MRM"):
        return None
    place = 8
    while place + 8 <= len(head):
        name, size = head[place : place + 4], int.from_bytes(head[place + 4 : place + 8])
        if name == b"\0TTW":
            return read_structure(head[place + 8 : place + 8 + size])
        place += 8 + size
    return None


def _reported(shot: Mapping[str, Any]) -> Structure:
    entries: dict[int, Entry] = {}
    numbers = ((EXPOSURE_TIME, "exposure"), (F_NUMBER, "aperture"), (FOCAL_LENGTH, "focal_length"))
    for tag, name in numbers:
        if 0 < shot[name] < 4000:
            entries[tag] = rational_entry("<", _fraction(shot[name]))
    if 0 < shot["iso"] < 65535:
        entries[ISO_SPEED_RATINGS] = short_entry("<", shot["iso"])
    if shot["taken"]:
        entries[DATE_TAKEN] = text_entry(shot["taken"])
    texts = ((MAKE, "make"), (MODEL, "model"), (ARTIST, "artist"))
    named = {tag: text_entry(shot[name]) for tag, name in texts if shot.get(name)}
    return Structure("<", Directory(named, {EXIF_IFD: Directory(entries)}))


def _fraction(value: float) -> tuple[int, int]:
    """The value as a camera would write it: 1/250, 2.8, 35."""
    if value < 0.4 and abs(1 / value - round(1 / value)) < SAME_TIME / value:
        return 1, round(1 / value)
    nearest = Fraction(value).limit_denominator(1000)
    return nearest.numerator, nearest.denominator


def maker_note_of(path: Path) -> tuple[int, Entry] | None:
    """A RAW file's MakerNote and where in the file it lies, if it is a TIFF inside; raises OSError."""
    with path.open("rb") as file:
        content = FileSlices(file)
        head = content[0:8]
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8 or struct.unpack(order + "H", head[2:4])[0] == 43:
            return None
        exif = _row(content, order, struct.unpack(order + "I", head[4:])[0], EXIF_IFD)
        row = _row(content, order, exif[2], MAKER_NOTE) if exif else None
        if row is None or row[0] not in (1, 7) or not 4 < row[1] < 1 << 24:
            return None
        data = content[row[2] : row[2] + row[1]]
        return (row[2], Entry(row[0], data)) if len(data) == row[1] else None


def _row(content: FileSlices, order: str, start: int, tag: int) -> tuple[int, int, int] | None:
    """Type, count and offset of a tag in the directory at `start`."""
    count = int.from_bytes(content[start : start + 2], "little" if order == "<" else "big")
    rows = content[start + 2 : start + 2 + 12 * count]
    for place in range(0, len(rows) - 11, 12):
        number, kind, values, offset = struct.unpack_from(order + "HHII", rows, place)
        if number == tag:
            return kind, values, offset
    return None
