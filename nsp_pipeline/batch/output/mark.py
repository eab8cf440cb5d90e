"""The mark that nsp leaves in its outputs: by it a finished photo is recognised where the manifest is lost.

It says what the photo was made from and with, and holds a hash of the whole file, so that a file somebody edited since
is not taken for ours. It lies where other programs leave it alone: a reserved APP2 segment in JPEG, a private chunk
in PNG (one that editors have to drop), bytes behind the picture in TIFF, a free box in JPEG XL and AVIF. The same
photo and settings give the same mark.
"""

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from nsp_pipeline.frames.frame import Frame, JpegSource, PngSource

SIGNATURE = b"nsp\0"
NO_HASH = b"0" * 64
HASH_END = len(b'"}')
"""The hash ends so many bytes before the mark does."""
LONGEST = 4096
"""Bytes of a mark; what claims to be longer is none."""
SEGMENT, EXTENSION = b"\xff\xe2", b"FPXR\0\0\x03"
"""In JPEG the mark is an APP2 segment of the kind that Exif's FlashPix extension reserves: no program reads a tag out
of it, and exiftool passes over it in silence, as over no other private segment."""
CHUNK, TAIL = b"nsPM", b"nsp-mark"
JPEG_START, PNG_START, TIFF_STARTS = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", (b"II", b"MM")
END_CHUNK = 12
"""Bytes of PNG's last chunk."""
BOX_FILES = (b"JXL ", b"ftyp")
"""JPEG XL and AVIF are rows of boxes; the name of the first follows its size."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class Mark:
    """What an output says of itself; hashes are SHA-256."""

    version: str
    """Of nsp."""
    photo: str
    """Hash of the file that it was made from."""
    settings: str
    """Hash of the settings that decide the result."""
    profile: str
    profile_sha256: str
    precision: str


@dataclass(frozen=True)
class _Place:
    """Where a mark lies in a file, and what its hash leaves out: the hash itself, and a sum over it."""

    start: int
    length: int
    holes: tuple[tuple[int, int], ...]

    @property
    def hash_start(self) -> int:
        """Where the hash lies."""
        return self.holes[0][0]


def with_room(frame: Frame, mark: Mark) -> Frame:
    """The frame, its metadata holding the mark where the original was a JPEG: what follows its picture stays in place.

    Marks that the original has are left out.
    """
    source = frame.metadata.source
    if isinstance(source, JpegSource):
        segments = b"".join(part for part in _segments(source.segments) if not _is_mark(part))
        source = replace(source, segments=segments + _segment(mark))
    elif isinstance(source, PngSource):
        before, after = (
            tuple(chunk for chunk in chunks if chunk[4:8] != CHUNK) for chunks in (source.before, source.after)
        )
        source = PngSource(before, after)
    return replace(frame, metadata=replace(frame.metadata, source=source))


def seal(file: BinaryIO, mark: Mark) -> None:
    """Put the mark into a photo just written, and the file's hash into the mark.

    Args:
        file: a JPEG, PNG or TIFF written from a frame of `with_room`; open for reading and writing.
    """
    place = _find(file)
    if place is None:
        _embed(file, mark)
        place = _find(file)
    assert place is not None
    digest = _hash(file, place.holes)
    file.seek(place.hash_start)
    file.write(digest.encode())
    if _head(file) == PNG_START:
        file.seek(place.start - len(CHUNK))
        chunk = file.read(len(CHUNK) + place.length)
        file.write(struct.pack(">I", zlib.crc32(chunk)))


def read_mark(path: Path) -> Mark | None:
    """Read the mark of an output; None where there is none, or the file is not as nsp left it."""
    try:
        with path.open("rb") as file:
            place = _find(file)
            if place is None:
                return None
            file.seek(place.start)
            content = json.loads(file.read(place.length).removeprefix(SIGNATURE))
            if content.pop("file") != _hash(file, place.holes):
                return None
            return Mark(**{field.name: str(content[field.name]) for field in fields(Mark)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        # Whatever stands in the way may be any file at all.
        return None


def _payload(mark: Mark) -> bytes:
    return SIGNATURE + json.dumps({**asdict(mark), "file": NO_HASH.decode()}).encode()


def _segment(mark: Mark) -> bytes:
    payload = EXTENSION + _payload(mark)
    return SEGMENT + struct.pack(">H", len(payload) + 2) + payload


def _is_mark(segment: bytes) -> bool:
    """Whether a segment of JPEG, marker and length in front, is a mark."""
    return segment.startswith(SEGMENT) and segment[4:].startswith(EXTENSION + SIGNATURE)


def _segments(data: bytes) -> list[bytes]:
    """A row of JPEG's segments, one by one."""
    parts, place = [], 0
    while place + 4 <= len(data):
        (length,) = struct.unpack_from(">H", data, place + 2)
        parts.append(data[place : place + 2 + length])
        place += 2 + length
    return [*parts, data[place:]]


def _embed(file: BinaryIO, mark: Mark) -> None:
    head = _head(file)
    if head == PNG_START:
        file.seek(-END_CHUNK, os.SEEK_END)
        end = file.read()
        chunk = CHUNK + _payload(mark)
        file.seek(-END_CHUNK, os.SEEK_END)
        file.write(struct.pack(">I", len(chunk) - len(CHUNK)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end)
    elif head.startswith(JPEG_START):
        file.seek(0)
        data = file.read()
        place = 2
        while data[place] == 0xFF and 0xE0 <= data[place + 1] <= 0xEF:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
        file.seek(0)
        file.write(data[:place] + _segment(mark) + data[place:])
    else:
        payload = _payload(mark)
        end = payload + struct.pack(">I", len(payload)) + TAIL
        file.seek(0, os.SEEK_END)
        file.write((struct.pack(">I4s", 8 + len(end), b"free") if _is_of_boxes(head) else b"") + end)


def _find(file: BinaryIO) -> _Place | None:
    head = _head(file)
    if head == PNG_START:
        return _find_in_png(file)
    if head.startswith(JPEG_START):
        return _find_in_jpeg(file)
    return _find_at_end(file) if head.startswith(TIFF_STARTS) or _is_of_boxes(head) else None


def _is_of_boxes(head: bytes) -> bool:
    return head[4:8] in BOX_FILES


def _find_in_jpeg(file: BinaryIO) -> _Place | None:
    place = 2
    while True:
        file.seek(place)
        start = file.read(4 + len(EXTENSION + SIGNATURE))
        # Only what comes before the tables of the picture.
        if len(start) < 4 or start[0] != 0xFF or not (0xE0 <= start[1] <= 0xEF or start[1] == 0xFE):
            return None
        (length,) = struct.unpack_from(">H", start, 2)
        if _is_mark(start):
            return _place(place + 4 + len(EXTENSION), length - 2 - len(EXTENSION))
        place += 2 + length


def _find_in_png(file: BinaryIO) -> _Place | None:
    place = len(PNG_START)
    while True:
        file.seek(place)
        start = file.read(8)
        if len(start) < 8:
            return None
        (length,) = struct.unpack(">I", start[:4])
        if start[4:] == CHUNK:
            return _place(place + 8, length, [(place + 8 + length, 4)])
        place += 12 + length


def _find_at_end(file: BinaryIO) -> _Place | None:
    end = file.seek(0, os.SEEK_END)
    foot = 4 + len(TAIL)
    if end < foot:
        return None
    file.seek(end - foot)
    (length,), tail = struct.unpack(">I", file.read(4)), file.read()
    return _place(end - foot - length, length) if tail == TAIL and length <= end - foot else None


def _place(start: int, length: int, holes: Sequence[tuple[int, int]] = ()) -> _Place | None:
    if not len(SIGNATURE) + len(NO_HASH) + HASH_END < length <= LONGEST:
        return None
    return _Place(start, length, ((start + length - HASH_END - len(NO_HASH), len(NO_HASH)), *holes))


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(len(PNG_START))


def _hash(file: BinaryIO, holes: Sequence[tuple[int, int]]) -> str:
    """SHA-256 of a file without these (start, length)."""
    digest, place = sha256(), 0
    for start, length in (*holes, (file.seek(0, os.SEEK_END), 0)):
        file.seek(place)
        while place < start and (block := file.read(min(BLOCK, start - place))):
            digest.update(block)
            place += len(block)
        place = start + length
    return digest.hexdigest()
