"""Where things are in a JPEG file, by its markers alone."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.limits import size_text

SOI, EOI, SOS, DHT, DQT, COM = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xFE
APP0, APP1, APP2, APP11, APP13, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xEF
WITHOUT_LENGTH = (0x01, SOI, *range(0xD0, 0xD8))
BASELINE, EXTENDED, PROGRESSIVE = READABLE_PROCESSES = (0xC0, 0xC1, 0xC2)
UNREADABLE_PROCESSES = {
    0xC3: "a lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "a hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "a JPEG with arithmetic coding"),
    0xF7: "a JPEG-LS picture",
}
TABLES = (DHT, DQT)
"""Needed to decode, and to nobody who looks for metadata among many thousands of photos."""
END_OF_SCAN = re.compile(rb"\xff\xff*[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""Inside entropy-coded data 0xFF is followed by 0 (it was data) or is a restart marker; else the scan is over. A
pattern that begins with a plain byte is found twenty times as fast as one that begins with a repeated one."""
AC, EMPTY = 0x10, 0
ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))


@dataclass(frozen=True)
class Scan:
    """One scan of a JPEG: its header's content, and where its coded data begin and end."""

    header: bytes
    start: int
    end: int
    zeros_are_empty: bool
    """Whether zeros in its data can be flat picture; else they are long rows of equal coefficients, as none has."""

    @property
    def channels(self) -> bytes:
        """Identifiers of the channels that it has a part of."""
        return self.header[1 : 1 + 2 * self.header[0] : 2]

    @property
    def coefficients(self) -> range:
        """The places in a block that it has a part of."""
        return range(self.header[-3], min(self.header[-2], 63) + 1)

    @property
    def is_pass(self) -> bool:
        """Whether it is of a progressive JPEG: it holds some places only, or some bits."""
        return self.header[-3:] != b"\x00\x3f\x00"

    @property
    def is_last_bit(self) -> bool:
        """Whether nothing finer follows for its coefficients."""
        return not self.header[-1] & 15


@dataclass
class Layout:
    """Where things are in a JPEG file: what its markers say, before anything is decoded."""

    segments: list[bytes] = field(default_factory=list)
    """APPn and COM segments, whole."""
    coding: list[bytes] = field(default_factory=list)
    """The other segments before the first scan, whole."""
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    process: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Identifier, horizontal and vertical sampling factor, number of the quantisation table."""
    scans_start: int = 0
    scans: list[Scan] = field(default_factory=list)
    code_of_zeros: dict[int, int] = field(default_factory=dict)
    """What a code of zeros alone means, by Huffman table (its class and number as stored)."""
    end: int | None = None
    """Behind the end marker; None when there is none."""


def parse_layout(path: Path, data: bytes, *, whole: bool = True) -> Layout:
    """Walk the markers of the first picture in a JPEG file, or only those before its first scan.

    Raises PhotoError for one that ends before its first scan, or that is of a kind we do not read.
    """
    layout = Layout()
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        marker = data[position + 1] if position + 1 < len(data) else None
        if marker is None or marker in (0x00, 0xFF, *WITHOUT_LENGTH):
            position += 1 if marker == 0xFF else 2
            continue
        if marker == EOI and layout.scans_start:
            layout.end = position + 2
            return layout
        size = 2 + int.from_bytes(data[position + 2 : position + 4])
        segment = data[position : position + size]
        if len(segment) < max(4, size):
            break
        if marker == SOS:
            if not layout.process:
                raise PhotoError(path, "the JPEG is damaged: picture data comes before the frame header")
            layout.scans_start = layout.scans_start or position
            if not whole:
                return layout
            end = END_OF_SCAN.search(data, position + size)
            stop = end.start() if end else len(data)
            layout.scans.append(_scan(path, layout, segment[4:], position + size, stop))
            if end is None:
                break
            position = end.end() - 2
        else:
            if whole or marker not in TABLES:
                _note_segment(path, layout, marker, segment)
            position += size
    if not layout.scans_start and whole:
        raise PhotoError(path, ends_early(data))
    return layout


def _note_segment(path: Path, layout: Layout, marker: int, segment: bytes) -> None:
    if APP0 <= marker <= APP15 or marker == COM:
        layout.segments.append(segment)
        return
    body = segment[4:]
    if layout.scans and marker in (*READABLE_PROCESSES, *UNREADABLE_PROCESSES):
        raise DamagedPhotoError(path, "the JPEG is damaged: a second header stands inside its picture data")
    if marker in UNREADABLE_PROCESSES:
        raise PhotoError(path, f"this is {UNREADABLE_PROCESSES[marker]}, which nsp does not read")
    if marker in READABLE_PROCESSES:
        if layout.process or len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise PhotoError(path, "the JPEG is damaged: its frame header makes no sense")
        layout.process = marker
        layout.precision, layout.height, layout.width, count = struct.unpack_from(">BHHB", body)
        layout.components = [
            (identifier, sampling >> 4, sampling & 15, table)
            for identifier, sampling, table in struct.iter_unpack("BBB", body[6 : 6 + 3 * count])
        ]
    if marker == DHT:
        layout.code_of_zeros.update(_codes_of_zeros(body))
    if marker == DQT:
        layout.tables.update(_quantisation_tables(body))
    if not layout.scans_start:
        layout.coding.append(segment)


def _scan(path: Path, layout: Layout, header: bytes, start: int, end: int) -> Scan:
    if not header or len(header) < 4 + 2 * header[0]:
        raise DamagedPhotoError(path, "the JPEG is damaged: the header of its picture data makes no sense")
    tables = header[2 : 2 + 2 * header[0] : 2]
    meanings = [layout.code_of_zeros.get(AC | table & 15, EMPTY) for table in tables]
    return Scan(header, start, end, all(meaning & 15 == EMPTY for meaning in meanings))


def _codes_of_zeros(body: bytes) -> Iterator[tuple[int, int]]:
    """Class and number, and the first symbol of the shortest length, of each table in a DHT segment."""
    position = 0
    while position + 17 < len(body):
        yield body[position], body[position + 17]
        position += 17 + sum(body[position + 1 : position + 17])


def _quantisation_tables(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Number and 64 values, in natural order, of each table in a DQT segment."""
    position = 0
    while position < len(body):
        code, size = (">64H", 128) if body[position] >> 4 else (">64B", 64)
        if position + 1 + size > len(body):
            return
        values = struct.unpack_from(code, body, position + 1)
        natural = dict(zip(ZIGZAG, values, strict=True))
        yield body[position] & 15, tuple(natural[place] for place in range(64))
        position += 1 + size


def ends_early(data: bytes) -> str:
    """Say that a file is shorter than its picture."""
    return f"the file ends early: {size_text(len(data))} of JPEG data, the picture is incomplete"
