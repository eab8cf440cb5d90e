"""Write a DNG: the sensor's colours in linear light, with all that says how to develop them.

A demosaiced picture has black at 0 and white at 65535, a mosaic a black level of its own; white balance is stated and
not applied. The main directory has a thumbnail, as other programs expect, and below it stand the picture and a preview.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import OutputError
from nsp_pipeline.frames.dng.colour import lowered_noise, rendered, sensor_of
from nsp_pipeline.frames.dng.mosaic import black_of, gains_of_colours, half_size, unpacked
from nsp_pipeline.frames.dng.tags import (
    ACTIVE_AREA,
    BLACK_LEVEL,
    BLACK_REPEAT,
    CFA_PATTERN,
    CFA_REPEAT,
    DEFAULT_CROP_ORIGIN,
    DEFAULT_CROP_SIZE,
    DNG_BACKWARD_VERSION,
    DNG_VERSION,
    NOISE_PROFILE,
    OPCODE_LIST_3,
    WHITE_LEVEL,
    raw_directory,
)
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import (
    BYTE,
    EXIF_IFD,
    GPS_IFD,
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    LONG,
    MAKER_NOTE,
    ORIENTATION,
    XMP,
    Directory,
    Entry,
    FileSlices,
    Order,
    Structure,
    long_entry,
    parse,
    rational_entry,
    short_entry,
)
from nsp_pipeline.frames.sniff import CFA, LINEAR_RAW, SUB_IFDS, SUBFILE_TYPE
from nsp_pipeline.machine.disk_array import let_go

VERSION, READABLE_BY, READABLE_WITH_OPCODES = (1, 4, 0, 0), (1, 1, 0, 0), (1, 3, 0, 0)
FULL = 65535
STRIP_BYTES = 1 << 20
PREVIEW_SIDE, THUMBNAIL_SIDE, PREVIEW_QUALITY = 2048, 256, 90
BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS, STRIP_SIZES, PLANAR = (
    258,
    259,
    262,
    273,
    277,
    278,
    279,
    284,
)
UNCOMPRESSED, JPEG = 1, 7
BLACK_IS_ZERO, RGB, YCBCR = 1, 2, 6
NOISE_REDUCTION_APPLIED, PREVIEW_COLOUR_SPACE, SRGB = 50935, 50970, 2
FARTHEST_NOTE = 64 << 20


def encode_dng(frame: Frame, stream: BinaryIO, *, previews: bool = True) -> None:
    """Write a frame in the sensor's own colours (see RawSource) to a seekable, empty stream.

    Without previews the picture stands in the main directory.
    """
    source, structure = frame.metadata.source, read_structure(frame.metadata.exif) or Structure("<", Directory())
    assert isinstance(source, RawSource)
    order = structure.order
    linear = _samples(frame, source)
    tags = {tag: Entry(*parts) for tag, parts in source.tags.items()}
    place, note = source.maker_note or (0, None)
    kept = Entry(*note) if note and 8 <= place <= FARTHEST_NOTE else None
    room = _Room(stream, order, place, kept)
    picture = _picture(room, linear, source)
    root = {**structure.root.entries, **tags, **(_shown(room, linear, source, tags, picture) if previews else picture)}
    root |= _versions(source)
    root[ORIENTATION] = short_entry(order, source.orientation)
    if frame.metadata.xmp:
        root[XMP] = Entry(BYTE, frame.metadata.xmp)
    for tag, child in structure.root.children.items():
        if tag in (EXIF_IFD, GPS_IFD):
            notes = {MAKER_NOTE: place} if tag == EXIF_IFD and kept else {}
            entries = {**child.without([MAKER_NOTE]).entries, **({MAKER_NOTE: kept} if notes and kept else {})}
            root[tag] = long_entry(order, room.put_directory(entries, notes))
    room.finish(room.put_directory(root))


def _shown(
    room: "_Room", linear: NDArray[np.uint16], source: RawSource, tags: Mapping[int, Entry], picture: dict[int, Entry]
) -> dict[int, Entry]:
    """Write the picture's directory, a preview and a thumbnail; gives what the main directory says of them."""
    below = room.put_directory(picture)
    light = half_size(linear, source) if source.mosaic else linear
    shown = rendered(light, gains_of_colours(source), room.order, tags, PREVIEW_SIDE)
    preview = room.put_directory(_preview(room, shown))
    small = Image.fromarray(shown.squeeze())
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    thumbnail = _thumbnail(room, np.asarray(small).reshape(small.height, small.width, -1))
    return {**thumbnail, SUB_IFDS: long_entry(room.order, below, preview)}


def verify_dng(path: Path, frame: Frame) -> None:
    """Make sure that a written DNG holds the frame, every pixel; raises OutputError."""
    source = frame.metadata.source
    assert isinstance(source, RawSource)
    expected = _samples(frame, source)
    with path.open("rb") as file:
        content = FileSlices(file)
        structure = parse(content)
        picture = raw_directory(structure, content)
        shape = [structure.numbers(picture.entries.get(tag)) for tag in (IMAGE_LENGTH, IMAGE_WIDTH, SAMPLES)]
        if [(size,) for size in expected.shape] != shape:
            raise OutputError(f"{path}: what was written is {shape}, not the photo")
        (rows,) = structure.numbers(picture.entries.get(ROWS))
        offsets = structure.numbers(picture.entries.get(STRIP_OFFSETS))
        for top, offset in zip(range(0, len(expected), rows), offsets, strict=True):
            strip = expected[top : top + rows]
            stored = np.frombuffer(content[offset : offset + strip.nbytes], structure.order + "u2")
            if not np.array_equal(stored, strip.ravel()):
                raise OutputError(f"{path}: what was written differs from the photo; is the disk damaged?")


def _samples(frame: Frame, source: RawSource) -> NDArray[np.uint16]:
    """What a DNG stores of a frame: a mosaic (H, W, 1), or a demosaiced picture (H, W, C)."""
    if source.mosaic:
        return unpacked(frame.pixels, source)
    return sensor_of(frame.pixels, source)


class _Room:
    """A stream that is filled from the front, around a MakerNote that has to lie where it lay in the original.

    Makers count the offsets in a MakerNote from the beginning of the file.
    """

    def __init__(self, stream: BinaryIO, order: Order, place: int, note: Entry | None) -> None:
        self._stream, self.order = stream, order
        self._taken = range(place, place + len(note.data)) if note else range(0)
        self._cursor = 8
        stream.write((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0))
        if note:
            stream.seek(place)
            stream.write(note.data)

    def put(self, data: bytes) -> int:
        """Write bytes; gives their offset, an even one."""
        start = self._cursor + self._cursor % 2
        if start < self._taken.stop and start + len(data) > self._taken.start:
            start = self._taken.stop + self._taken.stop % 2
        self._stream.seek(start)
        self._stream.write(data)
        self._cursor = start + len(data)
        return start

    def put_directory(self, entries: Mapping[int, Entry], placed: Mapping[int, int] | None = None) -> int:
        """Write a directory and its values, but those that are `placed` already; gives its offset."""
        rows = b""
        for tag, entry in sorted(entries.items()):
            rows += struct.pack(self.order + "HHI", tag, entry.type, entry.count)
            if placed and tag in placed:
                rows += struct.pack(self.order + "I", placed[tag])
            elif len(entry.data) <= 4:
                rows += entry.data.ljust(4, b"\0")
            else:
                rows += struct.pack(self.order + "I", self.put(entry.data))
        return self.put(struct.pack(self.order + "H", len(entries)) + rows + bytes(4))

    def finish(self, root: int) -> None:
        """Point the header to the main directory, and go to the end."""
        self._stream.seek(4)
        self._stream.write(struct.pack(self.order + "I", root))
        self._stream.seek(0, 2)


def _versions(source: RawSource) -> dict[int, Entry]:
    readable = READABLE_WITH_OPCODES if OPCODE_LIST_3 in source.lens else READABLE_BY
    return {DNG_VERSION: Entry(BYTE, bytes(VERSION)), DNG_BACKWARD_VERSION: Entry(BYTE, bytes(readable))}


def _picture(room: _Room, linear: NDArray[np.uint16], source: RawSource) -> dict[int, Entry]:
    """Write the pixels; gives the directory of the picture itself."""
    order = room.order
    height, width, colours = linear.shape
    entries = {
        **_stored(room, linear.astype(order + "u2", copy=False), CFA if source.mosaic else LINEAR_RAW, reduced=False),
        **_pattern(order, source),
        BLACK_REPEAT: short_entry(order, 1, 1),
        BLACK_LEVEL: short_entry(order, *[black_of(source) if source.mosaic else 0] * colours),
        WHITE_LEVEL: short_entry(order, *[FULL] * colours),
        ACTIVE_AREA: long_entry(order, 0, 0, height, width),
        **{tag: Entry(*parts) for tag, parts in source.lens.items()},
    }
    left, top, wide, high = source.crop or (0, 0, width, height)
    entries[DEFAULT_CROP_ORIGIN] = rational_entry(order, (left, 1), (top, 1))
    entries[DEFAULT_CROP_SIZE] = rational_entry(order, (wide, 1), (high, 1))
    if NOISE_PROFILE in entries:
        entries[NOISE_PROFILE] = lowered_noise(order, entries[NOISE_PROFILE], source.noise_left)
    removed = round(100 * (1 - source.noise_left**0.5))
    entries[NOISE_REDUCTION_APPLIED] = rational_entry(order, (max(0, removed), 100))
    return entries


def _pattern(order: Order, source: RawSource) -> dict[int, Entry]:
    if not source.mosaic:
        return {}
    return {CFA_REPEAT: short_entry(order, 2, 2), CFA_PATTERN: Entry(BYTE, bytes(source.mosaic))}


def _preview(room: _Room, shown: NDArray[np.uint8]) -> dict[int, Entry]:
    order, data = room.order, BytesIO()
    Image.fromarray(shown.squeeze()).save(data, "JPEG", quality=PREVIEW_QUALITY)
    colours = shown.shape[2]
    return {
        SUBFILE_TYPE: long_entry(order, 1),
        IMAGE_WIDTH: long_entry(order, shown.shape[1]),
        IMAGE_LENGTH: long_entry(order, shown.shape[0]),
        BITS: short_entry(order, *[8] * colours),
        COMPRESSION: short_entry(order, JPEG),
        PHOTOMETRIC: short_entry(order, YCBCR if colours == 3 else BLACK_IS_ZERO),
        STRIP_OFFSETS: long_entry(order, room.put(data.getvalue())),
        SAMPLES: short_entry(order, colours),
        ROWS: long_entry(order, shown.shape[0]),
        STRIP_SIZES: long_entry(order, len(data.getvalue())),
        PLANAR: short_entry(order, 1),
        PREVIEW_COLOUR_SPACE: Entry(LONG, struct.pack(order + "I", SRGB)),
        **({530: short_entry(order, 2, 2), 531: short_entry(order, 1)} if colours == 3 else {}),
    }


def _thumbnail(room: _Room, small: NDArray[np.uint8]) -> dict[int, Entry]:
    return _stored(room, small, RGB if small.shape[2] == 3 else BLACK_IS_ZERO, reduced=True)


def _stored(room: _Room, pixels: NDArray[Any], photometric: int, *, reduced: bool) -> dict[int, Entry]:
    """Write uncompressed pixels (H, W, C) in strips; gives what says how they are stored."""
    order = room.order
    height, width, colours = pixels.shape
    rows = max(1, STRIP_BYTES // (width * colours * pixels.itemsize))
    offsets, sizes = [], []
    for top in range(0, height, rows):
        strip = pixels[top : top + rows].tobytes()
        offsets.append(room.put(strip))
        sizes.append(len(strip))
    let_go(pixels)
    return {
        SUBFILE_TYPE: long_entry(order, int(reduced)),
        IMAGE_WIDTH: long_entry(order, width),
        IMAGE_LENGTH: long_entry(order, height),
        BITS: short_entry(order, *[8 * pixels.itemsize] * colours),
        COMPRESSION: short_entry(order, UNCOMPRESSED),
        PHOTOMETRIC: short_entry(order, photometric),
        STRIP_OFFSETS: long_entry(order, *offsets),
        SAMPLES: short_entry(order, colours),
        ROWS: long_entry(order, min(rows, height)),
        STRIP_SIZES: long_entry(order, *sizes),
        PLANAR: short_entry(order, 1),
    }
