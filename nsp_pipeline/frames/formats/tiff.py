"""TIFF: decode what can be a photo, refuse with its reason what cannot, and write with all descriptive tags kept."""

import errno
import math
import os
import struct
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.decoders.isolated import ask
from nsp_pipeline.frames.decoders.tiff_segments import BrokenSegmentError, decode_page
from nsp_pipeline.frames.frame import Frame, Kind, Metadata, TiffSource
from nsp_pipeline.frames.limits import check_promise, check_size, size_text
from nsp_pipeline.frames.metadata.exif import camera_of, read_structure
from nsp_pipeline.frames.metadata.ifd import (
    BIG,
    BYTE,
    CLASSIC,
    ICC_PROFILE,
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    UNDEFINED,
    XMP,
    Directory,
    Entry,
    FileSlices,
    Order,
    Structure,
    long_entry,
    parse,
    serialise,
    serialise_directory,
    short_entry,
)

SUBFILE_TYPE, BITS, COMPRESSION, PHOTOMETRIC = 254, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
STRUCTURAL_TAGS = frozenset(
    (
        *(SUBFILE_TYPE, 255, IMAGE_WIDTH, IMAGE_LENGTH, BITS, COMPRESSION, PHOTOMETRIC, 263, 264, 265, 266),
        *(STRIP_OFFSETS, SAMPLES),
        *(ROWS_PER_STRIP, STRIP_SIZES, 280, 281, PLANAR, 288, 289, 290, 291, 292, 293, 301, PREDICTOR, 320, 321),
        *(322, 323, 324, 325, 330, 332, 333, 334, 336, EXTRA_SAMPLES, SAMPLE_FORMAT, 340, 341, 342, 343, 344, 345),
        *(346, 347, 351, 400, *range(512, 522), *range(529, 533), 37724),
    )
)
"""Tags that say how pixels are stored, point into the file, or (37724, Photoshop's layers) hold other pixels."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
OTHER_PHOTOMETRICS = {
    4: "a transparency mask",
    5: "in CMYK; convert it to RGB first",
    8: "in CIE Lab; convert it to RGB first",
    9: "in ICC Lab; convert it to RGB first",
    10: "in ITU Lab; convert it to RGB first",
    32844: "in LogL, a high-dynamic-range format",
    32845: "in LogLuv, a high-dynamic-range format",
}
UNCOMPRESSED, LZW, OLD_JPEG, JPEG, DEFLATE, OLD_DEFLATE, ZSTD = 1, 5, 6, 7, 8, 32946, 50000
RATIOS = {UNCOMPRESSED: 1, LZW: 3000, JPEG: 4000, DEFLATE: 1100, OLD_DEFLATE: 1100, 32773: 130}
"""How much smaller than its pixels a compression can make a picture at best."""
ENCODERS: dict[int, Callable[[bytes], bytes | bytearray]] = {
    UNCOMPRESSED: bytes,
    LZW: imagecodecs.lzw_encode,
    DEFLATE: lambda data: imagecodecs.deflate_encode(data, level=6),
    OLD_DEFLATE: lambda data: imagecodecs.deflate_encode(data, level=6),
    ZSTD: lambda data: imagecodecs.zstd_encode(data, level=9),
}
TRUSTED = (UNCOMPRESSED, DEFLATE, OLD_DEFLATE, ZSTD)
"""Compressions whose decoders no damaged file crashes; the others run in a process of their own."""
DECODER = "nsp_pipeline.frames.decoders.tiff_page"
UNSIGNED, SIGNED, FLOAT, UNTYPED = 1, 2, 3, 4
OVERSHOOT = 1e-3
"""How far floating-point pixels may lie outside 0..1, as interpolation leaves them."""
REDUCED = 1
THUMBNAIL_SIDE = 512
NEW_TIFF = TiffSource(compression=DEFLATE, big=False, alpha_kind=2, white_is_zero=False, half=False)
STRIP_BYTES = 1 << 19
CLASSIC_LIMIT = 4 * 10**9
MOST_PAGES = 1000
NO_SUCH_PLACE = (None, errno.EINVAL, errno.EOVERFLOW)
"""What the system answers where a file points to a place that cannot exist; a disk that fails answers otherwise."""


def read_tiff(path: Path, file: BinaryIO, *, keep_damaged: bool = False) -> Frame:
    """Decode a TIFF; raises PhotoError as `read_frame` does."""
    structure = parse(FileSlices(file))
    file.seek(0)
    with making_sense(path), tifffile.TiffFile(file, name=path.name) as tiff:
        page, position = full_page(path, tiff)
        _check_readable(path, page)
        damage = _check_segments(path, page, os.fstat(file.fileno()).st_size)
        if damage and not keep_damaged:
            raise DamagedPhotoError(path, damage)
        decoded, broken = _decode(path, page, position, keep_damaged)
        damage = damage or broken
        if page.planarconfig == 2:
            decoded = np.moveaxis(decoded, 0, -1)[..., 0, :]
        samples = decoded.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
        pixels, alpha = _as_frame(path, page, np.asarray(samples, samples.dtype.newbyteorder("=")))
        metadata = _metadata(structure, page, alpha is not None)
    return Frame(pixels, alpha, Kind.TIFF, metadata, camera_of(structure), damage)


@contextmanager
def making_sense(path: Path) -> Iterator[None]:
    """Turn what tags without sense lead to, in tifffile and here, into PhotoError."""
    try:
        yield
    except (PhotoError, MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in NO_SUCH_PLACE:
            raise
        details = "".join(traceback.format_exception(error))
        raise PhotoError(path, "the TIFF is damaged: what it says about its picture makes no sense", details) from error


def _decode(path: Path, page: Any, position: tuple[int, ...], keep_damaged: bool) -> tuple[NDArray[Any], str | None]:
    """Samples in tifffile's normalised shape, and what is wrong with them."""
    if page.compression not in TRUSTED:
        answer = ask(path, DECODER, *map(str, position), *(["--keep"] if keep_damaged else []))
        decoded, damage = answer.pixels, answer.facts["damage"]
    else:
        try:
            decoded, damage = decode_page(page, keep_damaged=keep_damaged)
        except BrokenSegmentError as error:
            raise DamagedPhotoError(path, f"the TIFF is damaged: {error.words}", str(error)) from error
    return decoded, damage and f"the TIFF is damaged: {damage}"


def full_page(path: Path, tiff: Any) -> tuple[Any, tuple[int, ...]]:
    """The one picture at full resolution, and where it is (page, or page and sub-page); thumbnails are passed over."""
    pages: list[tuple[tuple[int, ...], Any]] = [
        ((number,), tiff.pages[number]) for number in range(min(len(tiff.pages), MOST_PAGES))
    ]
    full = [(page, position) for position, page in pages if not page.subfiletype & REDUCED]
    if not full:
        full = [
            (page, (*position, number))
            for position, parent in pages
            for number, page in enumerate(parent.pages or ())
            if not page.subfiletype & REDUCED
        ]
    if not full:
        raise PhotoError(path, "the TIFF holds no picture, or only a thumbnail")
    if len(full) == 2 and _is_thumbnail(full[1][0], of=full[0][0]):
        full.pop()
    if len(full) > 1:
        raise PhotoError(path, f"the TIFF has {len(full)} pages; nsp takes files with one picture")
    return full[0]


def _is_thumbnail(page: Any, *, of: Any) -> bool:
    """Cameras put a thumbnail on a second page without saying so, as EXIF has it."""
    longest = int(max(page.imagewidth, page.imagelength))
    return longest <= THUMBNAIL_SIDE and 2 * longest < int(max(of.imagewidth, of.imagelength))


def _check_readable(path: Path, page: Any) -> None:
    """Raise PhotoError for pages that are no photo, or whose colours we could not give right."""
    check_size(path, page.imagewidth, page.imagelength)
    photometric = page.tags.valueof(PHOTOMETRIC)
    bits, formats = (set(_values(page, tag, 1)) for tag in (BITS, SAMPLE_FORMAT))
    if page.imagedepth != 1:
        raise PhotoError(path, "the TIFF holds a volume, not a photo")
    if photometric in OTHER_PHOTOMETRICS:
        raise PhotoError(path, f"the TIFF is {OTHER_PHOTOMETRICS[photometric]}")
    if photometric is None:
        raise PhotoError(path, "the TIFF does not say what kind of colours it has; save it anew with another program")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise PhotoError(path, "the TIFF has colours of a kind that nsp does not know; convert it to RGB first")
    if page.compression != UNCOMPRESSED and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise PhotoError(path, "the TIFF is compressed in a way that nsp does not read; save it with another one")
    if page.compression == OLD_JPEG:
        raise PhotoError(path, "the TIFF is compressed with old-style JPEG, which has no clear definition")
    if photometric == YCBCR and page.compression != JPEG:
        raise PhotoError(path, "the TIFF is in YCbCr without JPEG compression; convert it to RGB first")
    if len(bits) != 1 or len(formats) != 1:
        raise PhotoError(path, "the TIFF stores its channels with different numbers of bits")
    _check_samples(path, photometric, bits.pop(), formats.pop())
    extra = page.samplesperpixel - _colours(photometric)
    if extra not in (0, 1) or (extra and photometric == YCBCR):
        raise PhotoError(
            path, f"the TIFF has {page.samplesperpixel} channels; nsp takes grey or RGB and one alpha channel"
        )


def _check_samples(path: Path, photometric: int, bits: int, sample_format: int) -> None:
    if sample_format in (SIGNED, 5):
        raise PhotoError(path, "the TIFF holds signed integers, not brightness")
    if sample_format == 6:
        raise PhotoError(path, "the TIFF holds complex numbers, not brightness")
    if sample_format == FLOAT and (bits not in (16, 32) or photometric not in (BLACK_IS_ZERO, RGB)):
        raise PhotoError(
            path, f"the TIFF holds {bits}-bit floating-point numbers; nsp takes 16 and 32 bits, grey or RGB"
        )
    if sample_format in (UNSIGNED, UNTYPED) and bits == 1:
        raise PhotoError(path, "the TIFF is black-and-white (1 bit): a scan or a fax, not a photo")
    if sample_format in (UNSIGNED, UNTYPED) and not 2 <= bits <= 16:
        raise PhotoError(path, f"the TIFF holds integers of {bits} bits; nsp takes up to 16")


def _values(page: Any, tag: int, default: int) -> Sequence[int]:
    value = page.tags.valueof(tag, default)
    return value if isinstance(value, tuple) else (int(value),)


def _colours(photometric: int) -> int:
    return 3 if photometric in (RGB, YCBCR) else 1


def _check_segments(path: Path, page: Any, size: int) -> str | None:
    """Say so where strips or tiles are missing; raise PhotoError where they are too small for what they promise."""
    count = math.prod(page.chunked)
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=False))[:count]
    if len(spans) < count or any(length < 1 or offset < 8 or offset + length > size for offset, length in spans):
        return f"the file ends early: {size_text(size)} of TIFF data, the picture is incomplete"
    promised = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample // 8
    stored = sum(length for _, length in spans)
    if page.compression in RATIOS and page.photometric != YCBCR:
        check_promise(path, promised, stored, RATIOS[page.compression])
    return None


def _as_frame(path: Path, page: Any, samples: NDArray[Any]) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
    """Decoded samples (H, W, S) -> pixels (H, W, C) and alpha (H, W)."""
    photometric = page.tags.valueof(PHOTOMETRIC)
    colours = _colours(photometric)
    if samples.dtype.kind == "f":
        lowest, highest = float(samples.min()), float(samples.max())
        if not (lowest >= -OVERSHOOT and highest <= 1 + OVERSHOOT):
            raise PhotoError(
                path, f"the TIFF holds floating-point numbers from {lowest:g} to {highest:g}; nsp takes 0 to 1"
            )
        samples = samples.astype(np.float32, copy=False)
    elif samples.dtype not in (np.uint8, np.uint16):
        raise PhotoError(path, f"the TIFF decodes to numbers of an unexpected type ({samples.dtype})")
    alpha = None
    if samples.shape[2] > colours:
        alpha = np.ascontiguousarray(_full_range(samples[..., colours], page.bitspersample))
    if photometric == PALETTE:
        pixels = _looked_up(path, page, samples[..., 0])
        if alpha is not None and alpha.dtype != pixels.dtype:
            raise PhotoError(path, "the TIFF has a colour table of 16 bits with an alpha channel")
        return pixels, alpha
    pixels = np.ascontiguousarray(_full_range(samples[..., :colours], page.bitspersample))
    return np.invert(pixels) if photometric == WHITE_IS_ZERO else pixels, alpha


def _full_range(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stretch numbers of 2 to 7 bits to 8, and those of 9 to 15 bits to 16."""
    if samples.dtype.kind == "f" or bits in (8, 16):
        return samples
    largest, dtype = 2**bits - 1, np.uint8 if bits < 8 else np.uint16
    table = np.rint(np.arange(largest + 1) * (np.iinfo(dtype).max / largest)).astype(dtype)
    stretched: NDArray[Any] = table[np.minimum(samples, largest)]
    return stretched


def _looked_up(path: Path, page: Any, indices: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours (H, W, 3) of palette indices (H, W)."""
    table = page.colormap
    if table is None or table.ndim != 2 or len(table) != 3 or int(indices.max()) >= table.shape[1]:
        raise PhotoError(path, "the TIFF is damaged: its colour table is missing or too short")
    # The table has 16 bits by definition, but some writers put 8-bit numbers there.
    colours = np.ascontiguousarray((table >> 8 if table.max() > 255 else table).T, np.uint8)
    looked_up: NDArray[np.uint8] = colours[indices]
    return looked_up


def _metadata(structure: Structure, page: Any, has_alpha: bool) -> Metadata:
    root = structure.root
    subfile = structure.numbers(root.entries.get(SUBFILE_TYPE))
    dropped = STRUCTURAL_TAGS - {SAMPLE_FORMAT} - ({SUBFILE_TYPE} if subfile == (0,) else set())
    kept = Structure(structure.order, root.without({*dropped, ICC_PROFILE, XMP}))
    icc, xmp = (root.entries[tag].data if tag in root.entries else None for tag in (ICC_PROFILE, XMP))
    extra = _values(page, EXTRA_SAMPLES, 0)
    return Metadata(
        exif=serialise(kept),
        icc=icc,
        xmp=xmp,
        size=(page.imagewidth, page.imagelength),
        source=TiffSource(
            compression=int(page.compression),
            big=structure.big,
            alpha_kind=int(extra[-1]) if has_alpha else None,
            white_is_zero=page.tags.valueof(PHOTOMETRIC) == WHITE_IS_ZERO,
            half=page.dtype == np.float16,
        ),
    )


def encode_tiff(frame: Frame, stream: BinaryIO) -> None:
    """Write pixels (H, W, C) and alpha, uint8, uint16, float16 or float32, and metadata to a seekable stream.

    A frame that came from a TIFF keeps byte order, kind of alpha, and compression where that is lossless and one we
    write; else deflate is used. Pixels are stored in strips, channels interleaved.
    """
    structure = read_structure(frame.metadata.exif) or Structure("<", Directory())
    source = frame.metadata.source if isinstance(frame.metadata.source, TiffSource) else NEW_TIFF
    compression = source.compression if source.compression in ENCODERS else DEFLATE
    inverted = source.white_is_zero and frame.pixels.shape[2] == 1 and frame.pixels.dtype.kind != "f"
    order, big = structure.order, source.big or frame.pixels.nbytes * 4 // 3 > CLASSIC_LIMIT
    mark = b"II" if order == "<" else b"MM"
    header = mark + (struct.pack(order + "HHH", BIG, 8, 0) if big else struct.pack(order + "H", CLASSIC))
    stream.write(header + bytes(8 if big else 4))
    storage = _write_strips(frame, stream, order=order, big=big, compression=compression, inverted=inverted)
    if SAMPLE_FORMAT not in structure.root.entries and frame.pixels.dtype.kind != "f":
        del storage[SAMPLE_FORMAT]
    if frame.alpha is not None:
        storage[EXTRA_SAMPLES] = short_entry(order, source.alpha_kind if source.alpha_kind is not None else 2)
    if frame.metadata.icc:
        storage[ICC_PROFILE] = Entry(UNDEFINED, frame.metadata.icc)
    if frame.metadata.xmp:
        storage[XMP] = Entry(BYTE, frame.metadata.xmp)
    described = structure.root.without(STRUCTURAL_TAGS - {SUBFILE_TYPE})
    start = stream.tell()
    stream.write(serialise_directory(described.having(storage), order, base=start, big=big))
    stream.seek(len(header))
    stream.write(struct.pack(order + ("Q" if big else "I"), start))
    stream.seek(0, os.SEEK_END)


def _write_strips(
    frame: Frame, stream: BinaryIO, *, order: Order, big: bool, compression: int, inverted: bool
) -> dict[int, Entry]:
    """Write the pixels, and return the tags that say how they are stored."""
    height, width, colours = frame.pixels.shape
    samples = colours + (frame.alpha is not None)
    is_float = frame.pixels.dtype.kind == "f"
    rows = min(height, max(1, STRIP_BYTES // (width * samples * frame.pixels.itemsize)))
    offsets, sizes = [], []
    for top in range(0, height, rows):
        strip = _strip(frame, slice(top, top + rows), inverted)
        data = ENCODERS[compression](_predicted(strip, order, compression != UNCOMPRESSED))
        offsets.append(stream.tell())
        sizes.append(len(data))
        stream.write(data + bytes(len(data) % 2))
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
