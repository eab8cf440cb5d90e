"""TIFF: decode what can be a photo, and refuse with its reason what cannot."""

import errno
import math
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.decoders.isolated import ask
from nsp_pipeline.frames.decoders.tiff_segments import BrokenSegmentError, decode_page
from nsp_pipeline.frames.formats.tiff_pages import (
    Pages,
    carry_pages,
    choose_page,
    import_tifffile,
    open_tiff,
    tags_of,
    without_pixels,
)
from nsp_pipeline.frames.formats.tiff_tags import (
    BITS,
    BLACK_IS_ZERO,
    DEFLATE,
    EXTRA_SAMPLES,
    FLOAT,
    JPEG,
    LZW,
    OLD_DEFLATE,
    OLD_JPEG,
    PALETTE,
    PHOTOMETRIC,
    RGB,
    SAMPLE_FORMAT,
    SIGNED,
    UNCOMPRESSED,
    UNSIGNED,
    UNTYPED,
    WHITE_IS_ZERO,
    YCBCR,
    ZSTD,
)
from nsp_pipeline.frames.frame import Frame, Kind, Metadata, TiffSource
from nsp_pipeline.frames.limits import check_promise, check_size, size_text
from nsp_pipeline.frames.metadata.exif import camera_of, with_structure
from nsp_pipeline.frames.metadata.ifd import ICC_PROFILE, XMP, FileSlices, Structure, parse
from nsp_pipeline.machine.disk_array import Allocate

OTHER_PHOTOMETRICS = {
    4: "a transparency mask",
    5: "in CMYK; convert it to RGB first",
    8: "in CIE Lab; convert it to RGB first",
    9: "in ICC Lab; convert it to RGB first",
    10: "in ITU Lab; convert it to RGB first",
    32844: "in LogL, a high-dynamic-range format",
    32845: "in LogLuv, a high-dynamic-range format",
}
RATIOS = {UNCOMPRESSED: 1, LZW: 3000, JPEG: 4000, DEFLATE: 1100, OLD_DEFLATE: 1100, 32773: 130}
"""How much smaller than its pixels a compression can make a picture at best."""
TRUSTED = (UNCOMPRESSED, DEFLATE, OLD_DEFLATE, ZSTD)
"""Compressions whose decoders no damaged file crashes; the others run in a process of their own."""
DECODER = "nsp_pipeline.frames.decoders.tiff_page"
HALF_BITS = 11
"""As exact are 16-bit floating-point numbers."""
BRIGHTEST = 1e6
"""So many times white: the sun is darker beside a photo's white."""
NO_SUCH_PLACE = (None, errno.EINVAL, errno.EOVERFLOW)
"""What the system answers where a file points to a place that cannot exist; a disk that fails answers otherwise."""


def read_tiff(path: Path, file: BinaryIO, *, keep_damaged: bool = False, allocate: Allocate = np.zeros) -> Frame:
    """Decode a TIFF, its pixels into an array of `allocate` where that can be; raises as `read_frame` does."""
    structure = parse(FileSlices(file))
    file.seek(0)
    with making_sense(path), open_tiff(path, file) as tiff:
        pages = choose_page(path, tiff)
        page, size = pages.page, os.fstat(file.fileno()).st_size
        check_readable(path, page)
        damage = check_segments(path, page, size)
        if damage and not keep_damaged:
            raise DamagedPhotoError(path, damage)
        decoded, broken = _decode(path, page, pages.position, keep_damaged, allocate)
        damage = damage or broken
        if page.planarconfig == 2:
            decoded = np.moveaxis(decoded, 0, -1)[..., 0, :]
        samples = decoded.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
        pixels, alpha = _as_frame(path, page, np.asarray(samples, samples.dtype.newbyteorder("=")))
        structure = tags_of(structure, file, page)
        metadata = metadata_of(structure, file, pages, has_alpha=alpha is not None, size=size)
        bits = HALF_BITS if page.dtype == np.float16 else int(page.bitspersample)
    return Frame(pixels, alpha, Kind.TIFF, metadata, camera_of(structure), damage, bits if 8 < bits < 16 else None)


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


def _decode(
    path: Path, page: Any, position: tuple[int, ...], keep_damaged: bool, allocate: Allocate
) -> tuple[NDArray[Any], str | None]:
    """Samples in tifffile's normalised shape, and what is wrong with them."""
    if page.compression not in TRUSTED:
        answer = ask(path, DECODER, *map(str, position), *(["--keep"] if keep_damaged else []))
        decoded, damage = answer.pixels, answer.facts["damage"]
    else:
        try:
            decoded, damage = decode_page(page, keep_damaged=keep_damaged, allocate=allocate)
        except BrokenSegmentError as error:
            raise DamagedPhotoError(path, f"the TIFF is damaged: {error.words}", str(error)) from error
    return decoded, damage and f"the TIFF is damaged: {damage}"


def check_readable(path: Path, page: Any) -> None:
    """Raise PhotoError for pages that are no photo, or whose colours we could not give right."""
    check_size(path, page.imagewidth, page.imagelength)
    decompressors = import_tifffile().TIFF.DECOMPRESSORS
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
    if page.compression != UNCOMPRESSED and page.compression not in decompressors:
        raise PhotoError(path, "the TIFF is compressed in a way that nsp does not read; save it with another one")
    if page.compression == OLD_JPEG:
        raise PhotoError(path, "the TIFF is compressed with old-style JPEG, which has no clear definition")
    if photometric == YCBCR and page.compression != JPEG:
        raise PhotoError(path, "the TIFF is in YCbCr without JPEG compression; convert it to RGB first")
    if len(bits) != 1 or len(formats) != 1:
        raise PhotoError(path, "the TIFF stores its channels with different numbers of bits")
    _check_samples(path, photometric, bits.pop(), formats.pop())
    extra = page.samplesperpixel - colours_of(photometric)
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


def colours_of(photometric: int) -> int:
    """How many samples of a pixel are its colour."""
    return 3 if photometric in (RGB, YCBCR) else 1


def check_segments(path: Path, page: Any, size: int) -> str | None:
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
    colours = colours_of(photometric)
    if samples.dtype.kind == "f":
        if not np.isfinite(samples.min()) or not np.isfinite(samples.max()):
            raise PhotoError(path, "the TIFF holds floating-point values that are no numbers (nan) or infinite")
        lowest, highest = float(samples.min()), float(samples.max())
        if max(-lowest, highest) > BRIGHTEST:
            raise PhotoError(path, f"the TIFF holds numbers from {lowest:g} to {highest:g}: no brightness of a photo")
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


def metadata_of(structure: Structure, file: BinaryIO, pages: Pages, *, has_alpha: bool, size: int) -> Metadata:
    """What a TIFF of so many bytes says besides its pixels."""
    page, root = pages.page, structure.root
    described, layers = without_pixels(root)
    kept = described.without((ICC_PROFILE, XMP))
    if SAMPLE_FORMAT in root.entries:
        kept = kept.having({SAMPLE_FORMAT: root.entries[SAMPLE_FORMAT]})
    icc, xmp = (root.entries[tag].data if tag in root.entries else None for tag in (ICC_PROFILE, XMP))
    extra = _values(page, EXTRA_SAMPLES, 0)
    carried, left_out = carry_pages(structure, file, pages, size)
    metadata = Metadata(
        icc=icc,
        xmp=xmp,
        size=(page.imagewidth, page.imagelength),
        source=TiffSource(
            compression=int(page.compression),
            big=structure.big,
            alpha_kind=int(extra[-1]) if has_alpha else None,
            white_is_zero=page.tags.valueof(PHOTOMETRIC) == WHITE_IS_ZERO,
            half=page.dtype == np.float16,
            pages=carried,
        ),
        left_out=(*layers, *pages.left_out, *left_out),
    )
    return with_structure(metadata, Structure(structure.order, kept))


def read_tiff_tags(path: Path, file: BinaryIO, structure: Structure) -> Structure:
    """The tags of the page that is the photo, filled up from the first; raises PhotoError where there is none."""
    file.seek(0)
    with making_sense(path), open_tiff(path, file) as tiff:
        return tags_of(structure, file, choose_page(path, tiff).page)
