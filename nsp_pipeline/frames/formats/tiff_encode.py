"""Write a TIFF: pixels in strips, all descriptive tags, and the pages that go along with the picture."""

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.formats.tiff_tags import (
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    DEFLATE,
    EXTRA_SAMPLES,
    FLOAT,
    LZW,
    OLD_DEFLATE,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RGB,
    ROWS_PER_STRIP,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_OFFSETS,
    STRIP_SIZES,
    STRUCTURAL_TAGS,
    SUBFILE_TYPE,
    TILE_OFFSETS,
    TILE_SIZES,
    TRANSFER_FUNCTION,
    UNCOMPRESSED,
    UNSIGNED,
    WHITE_IS_ZERO,
    ZSTD,
)
from nsp_pipeline.frames.frame import CarriedPage, Frame, TiffSource
from nsp_pipeline.frames.metadata.exif import structure_of, without_maker_note
from nsp_pipeline.frames.metadata.ifd import (
    BIG,
    BYTE,
    CLASSIC,
    ICC_PROFILE,
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    IPTC,
    PHOTOSHOP_RESOURCES,
    UNDEFINED,
    XMP,
    Directory,
    Entry,
    Order,
    Structure,
    long_entry,
    pinned_entry,
    serialise_directory,
    short_entry,
)
from nsp_pipeline.frames.metadata.photoshop import iptc_of, without_iptc
from nsp_pipeline.machine.disk_array import PIECE, let_go


def _deflated(data: bytes, itemsize: int) -> bytes | bytearray:
    # Differences of 16-bit samples repeat by chance alone; looking longer for it makes photos larger, not smaller.
    return imagecodecs.deflate_encode(data, level=6 if itemsize == 1 else 1)


ENCODERS: dict[int, Callable[[bytes, int], bytes | bytearray]] = {
    UNCOMPRESSED: lambda data, _: data,
    LZW: lambda data, _: imagecodecs.lzw_encode(data),
    DEFLATE: _deflated,
    OLD_DEFLATE: _deflated,
    ZSTD: lambda data, _: imagecodecs.zstd_encode(data, level=9),
}
"""From packed samples, and the bytes of one."""
NEW_TIFF = TiffSource(compression=DEFLATE, big=False, alpha_kind=2, white_is_zero=False, half=False)
STRIP_BYTES = 1 << 19
STRIPS_A_PIECE = PIECE // STRIP_BYTES
CLASSIC_LIMIT = 4 * 10**9
BIG_HEADER = 16
HARMLESS_TAGS = (529, 531)
"""What EXIF says of a JPEG's storage (YCbCrCoefficients, YCbCrPositioning) is without meaning beside RGB pixels."""


class _Tape:
    """Writes one block behind the other, around the place that is pinned for a MakerNote."""

    def __init__(self, stream: BinaryIO, structure: Structure, big: bool) -> None:
        self.stream, self.order, self.big = stream, structure.order, big
        self._pinned = pinned_entry(structure.root)
        mark = b"II" if self.order == "<" else b"MM"
        magic = (BIG, 8, 0) if big else (CLASSIC,)
        self._header = mark + struct.pack(f"{self.order}{len(magic)}H", *magic)
        stream.write(self._header + bytes(8 if big else 4))

    def write(self, data: bytes) -> int:
        """Write a block; its offset."""
        start, pinned = self.stream.tell(), self._pinned
        if pinned and (pinned.pinned or 0) < start + len(data):
            self._settle(pinned)
            start = self.stream.tell()
        self.stream.write(data + bytes(len(data) % 2))
        return start

    def _settle(self, pinned: Entry) -> None:
        # Disks store no zeros for what is jumped over.
        self.stream.seek(pinned.pinned or 0)
        self.stream.write(pinned.data + bytes(len(pinned.data) % 2))
        self._pinned = None

    def close(self, directories: list[Directory]) -> None:
        """Write the directories, each leading to the next, and let the header lead to the first."""
        stream = self.stream
        if self._pinned:
            self._settle(self._pinned)
        link = len(self._header)
        for directory in directories:
            stream.seek(0, os.SEEK_END)
            base = stream.tell() + stream.tell() % 2
            start, content = serialise_directory(directory, self.order, base=base, big=self.big)
            stream.write(bytes(base - stream.tell()) + content)
            stream.seek(link)
            stream.write(struct.pack(self.order + ("Q" if self.big else "I"), start))
            count = len(directory.entries) + len(directory.children)
            link = start + (8 + 20 * count if self.big else 2 + 12 * count)
        stream.seek(0, os.SEEK_END)


def encode_tiff(frame: Frame, stream: BinaryIO) -> None:
    """Write pixels (H, W, C) and alpha, uint8, uint16, float16 or float32, and metadata to a seekable stream.

    A frame that came from a TIFF keeps byte order, kind of alpha, and compression where that is lossless and one we
    write; else deflate is used. Pixels are stored in strips, channels interleaved; rows still to come are waited
    for.
    """
    structure = structure_of(frame.metadata) or Structure("<", Directory())
    source = frame.metadata.source if isinstance(frame.metadata.source, TiffSource) else NEW_TIFF
    note = pinned_entry(structure.root)
    most = frame.pixels.nbytes * 4 // 3 + sum(len(part) for page in source.pages for part in page.segments)
    big = source.big or max(most, (note.pinned or 0) if note else 0) > CLASSIC_LIMIT
    if note and big and (note.pinned or 0) < BIG_HEADER:
        structure = replace(structure, root=without_maker_note(structure.root))
    tape = _Tape(stream, structure, big)
    storage = _write_strips(frame, tape, source)
    if SAMPLE_FORMAT not in structure.root.entries and frame.pixels.dtype.kind != "f":
        del storage[SAMPLE_FORMAT]
    if frame.alpha is not None:
        storage[EXTRA_SAMPLES] = short_entry(tape.order, source.alpha_kind if source.alpha_kind is not None else 2)
    if frame.metadata.icc:
        storage[ICC_PROFILE] = Entry(UNDEFINED, frame.metadata.icc)
    if resources := frame.metadata.photoshop:
        # Other programs look for IPTC in its own tag.
        parts = {IPTC: iptc_of(resources), PHOTOSHOP_RESOURCES: without_iptc(resources)}
        storage |= {tag: Entry(UNDEFINED, part) for tag, part in parts.items() if part}
    if frame.metadata.xmp:
        storage[XMP] = Entry(BYTE, frame.metadata.xmp)
    described = structure.root.without(STRUCTURAL_TAGS - {SUBFILE_TYPE, *HARMLESS_TAGS})
    curve = described.entries.get(TRANSFER_FUNCTION)
    if curve and curve.count not in (1 << 8 * frame.pixels.itemsize, 3 << 8 * frame.pixels.itemsize):
        described = described.without([TRANSFER_FUNCTION])
    tape.close([described.having(storage), *(_write_page(page, tape) for page in source.pages)])


def _write_page(page: CarriedPage, tape: _Tape) -> Directory:
    """Write the strips or tiles of a page as they are; returns its tags."""
    offsets = [tape.write(segment) for segment in page.segments]
    sizes_tag = TILE_SIZES if page.offsets_tag == TILE_OFFSETS else STRIP_SIZES
    places = long_entry(tape.order, *offsets, big=tape.big)
    sizes = long_entry(tape.order, *map(len, page.segments), big=tape.big)
    tags = {tag: Entry(kind, data) for tag, (kind, data) in page.tags.items()}
    return Directory({**tags, page.offsets_tag: places, sizes_tag: sizes})


def _write_strips(frame: Frame, tape: _Tape, source: TiffSource) -> dict[int, Entry]:
    """Write the pixels, and return the tags that say how they are stored."""
    height, width, colours = frame.pixels.shape
    samples = colours + (frame.alpha is not None)
    order, big = tape.order, tape.big
    compression = source.compression if source.compression in ENCODERS else DEFLATE
    is_float = frame.pixels.dtype.kind == "f"
    inverted = source.white_is_zero and colours == 1 and not is_float
    rows = min(height, max(1, STRIP_BYTES // (width * samples * frame.pixels.itemsize)))
    offsets, sizes = [], []
    for top in range(0, height, rows):
        if frame.rows:
            frame.rows.wait(min(top + rows, height))
        strip = _strip(frame, slice(top, top + rows), inverted)
        packed = _predicted(strip, order, compression != UNCOMPRESSED)
        data = ENCODERS[compression](packed, frame.pixels.itemsize)
        offsets.append(tape.write(bytes(data)))
        sizes.append(len(data))
        if len(sizes) % STRIPS_A_PIECE == 0:
            let_go(frame.pixels)
    photometric = RGB if colours == 3 else WHITE_IS_ZERO if inverted else BLACK_IS_ZERO
    storage = {
        IMAGE_WIDTH: long_entry(order, width),
        IMAGE_LENGTH: long_entry(order, height),
        BITS: short_entry(order, *[frame.pixels.itemsize * 8] * samples),
        COMPRESSION: short_entry(order, compression),
        PHOTOMETRIC: short_entry(order, photometric),
        STRIP_OFFSETS: long_entry(order, *offsets, big=big),
        SAMPLES: short_entry(order, samples),
        ROWS_PER_STRIP: long_entry(order, rows),
        STRIP_SIZES: long_entry(order, *sizes, big=big),
        PLANAR: short_entry(order, 1),
        SAMPLE_FORMAT: short_entry(order, *[FLOAT if is_float else UNSIGNED] * samples),
    }
    if compression != UNCOMPRESSED:
        storage[PREDICTOR] = short_entry(order, 3 if is_float else 2)
    return storage


def _strip(frame: Frame, rows: slice, white_is_zero: bool) -> NDArray[Any]:
    """Rows of a frame as they are stored: (h, W, S), alpha last."""
    pixels = np.invert(frame.pixels[rows]) if white_is_zero else frame.pixels[rows]
    if frame.alpha is not None:
        pixels = np.concatenate((pixels, frame.alpha[rows][..., None]), axis=2)
    return np.ascontiguousarray(pixels)


def _predicted(strip: NDArray[Any], order: Order, predict: bool) -> bytes:
    """Bytes of a strip in the file's order, as differences to the left neighbour where compression follows."""
    if predict and strip.dtype.kind == "f":
        return bytes(imagecodecs.floatpred_encode(strip, axis=-2))
    if predict:
        strip = imagecodecs.delta_encode(strip, axis=-2)
    return strip.astype(strip.dtype.newbyteorder(order), copy=False).tobytes()
