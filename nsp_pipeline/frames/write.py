"""Write a photo with its metadata, as the kind of file it was or as another."""

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.errors import OutputError, PhotoError
from nsp_pipeline.frames.dng.colour import linear_of
from nsp_pipeline.frames.dng.write import encode_dng, verify_dng
from nsp_pipeline.frames.formats.boxed.avif import encode_avif
from nsp_pipeline.frames.formats.boxed.encode import encode_jxl, turned_upright
from nsp_pipeline.frames.formats.jpeg import encode_jpeg
from nsp_pipeline.frames.formats.jpeg_layout import APP1
from nsp_pipeline.frames.formats.jpeg_segments import (
    comments_of,
    payloads,
    photoshop_resources,
    resolution_of_jpeg,
    segments_of,
)
from nsp_pipeline.frames.formats.png import encode_png, with_exif, without_storage_chunks
from nsp_pipeline.frames.formats.png_metadata import photoshop_of_png, profile_of_png, resolution_of_png
from nsp_pipeline.frames.formats.raw.exif import read_raw_exif
from nsp_pipeline.frames.formats.tiff_encode import encode_tiff
from nsp_pipeline.frames.frame import Frame, JpegSource, Kind, Metadata, PngSource, RawSource, TiffSource
from nsp_pipeline.frames.inventory import lost
from nsp_pipeline.frames.metadata.exif import structure_of, with_resolution, with_size, with_structure
from nsp_pipeline.frames.metadata.xmp import EXTENSION, joined
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.sniff import FOREIGN_SUFFIXES, RAW_SUFFIXES
from nsp_pipeline.machine.disk_array import beside, let_go, pieces


class OutputKind(StrEnum):
    """What kind of file is written; KEEP is the photo's own (for RAW, HEIF, WebP and JPEG 2000: TIFF).

    DNG is for RAW in the sensor's own colours.
    """

    KEEP = "keep"
    JPEG = "jpeg"
    PNG = "png"
    TIFF = "tiff"
    JXL = "jxl"
    AVIF = "avif"
    DNG = "dng"


SUFFIXES = {
    OutputKind.JPEG: (".jpg", ".jpeg", ".jpe", ".jif", ".jfif"),
    OutputKind.PNG: (".png",),
    OutputKind.TIFF: (".tif", ".tiff"),
    OutputKind.DNG: (".dng",),
    OutputKind.JXL: (".jxl",),
    OutputKind.AVIF: (".avif",),
}
MOST_BITS = {Kind.JPEG: ("JPEG", 8), Kind.AVIF: ("AVIF", 12)}
"""Of a sample, at most."""
LOSSY = (Kind.JPEG, Kind.JXL, Kind.AVIF)
"""Kinds of file whose pixels may come back otherwise."""
NOT_WRITTEN = (Kind.RAW, Kind.HEIF, Kind.WEBP, Kind.JP2)
"""What becomes TIFF where its kind is to be kept."""
PREMULTIPLIED = 1
"""TIFF's code for colours that are multiplied by their alpha."""
DTYPES: dict[int, np.dtype[Any]] = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.float32)}


def output_suffix(path: Path, kind: OutputKind) -> str:
    """The suffix of a photo's output: its own where that fits the kind, in its own case; that of RAW becomes .tif."""
    own = path.suffix
    if kind is OutputKind.KEEP:
        return ".tif" if own.lower() in RAW_SUFFIXES | FOREIGN_SUFFIXES else own
    return own if own.lower() in SUFFIXES[kind] else SUFFIXES[kind][0]


def write_frame(
    frame: Frame, target: BinaryIO | Path, *, kind: OutputKind, bit_depth: int | None, quality: int | None
) -> None:
    """Encode a photo's pixels, alpha and metadata; the same frame and settings give the same bytes.

    Args:
        target: a file to write (replaced if it exists), or a stream, seekable and empty.
        bit_depth: 8, 16, or 32 (float); None keeps the frame's as far as the kind of file can.
        quality: of JPEG, 1 to 100; None keeps a JPEG's own quantisation tables, and means 95 for others.

    Raises:
        PhotoError: the kind of file cannot hold this photo; `path` is the target's.
        OSError: the target cannot be written.
    """
    path = target if isinstance(target, Path) else Path(str(getattr(target, "name", "")))
    stored = stored_kind(frame, kind)
    if kind is OutputKind.DNG:
        require_dng_source(path, frame)
    prepared = frame if kind is OutputKind.DNG else _prepare(path, frame, stored, bit_depth)
    if isinstance(target, Path):
        with target.open("wb") as stream:
            _encode(path, prepared, stored, stream, quality)
    else:
        _encode(path, prepared, stored, target, quality)


def verify_written(
    path: Path, frame: Frame, *, kind: OutputKind, bit_depth: int | None, quality: int | None = None
) -> tuple[str, ...]:
    """Open a written file again and make sure that it is whole and holds the frame; name what it does not hold.

    Size and channels must agree, and in lossless files every pixel (JPEG XL is one without `quality`). Raises
    OutputError.

    Returns:
        Of what the photo says besides its pixels, whatever the file lacks or has otherwise (see inventory.py).
    """
    if kind is OutputKind.DNG:
        verify_dng(path, frame)
        exif = read_raw_exif(path, {}, b"")
        return lost(frame, replace(frame, metadata=with_structure(Metadata(xmp=exif.xmp), exif.structure)))
    stored = stored_kind(frame, kind)
    expected = _prepare(path, frame, stored, bit_depth)
    try:
        found = read_frame(path, allocate=beside(expected.pixels))
    except PhotoError as error:
        raise OutputError(f"{path}: what was written cannot be read again: {error.reason}") from error
    if found.kind is not stored or found.pixels.shape != expected.pixels.shape:
        raise OutputError(f"{path}: what was written is {found.kind} {found.pixels.shape}, not the photo")
    lossy = stored in LOSSY and (stored is not Kind.JXL or quality is not None)
    if not lossy and not (_same(found.pixels, expected.pixels) and _same(found.alpha, expected.alpha)):
        raise OutputError(f"{path}: what was written differs from the photo; is the disk damaged?")
    return lost(frame, found)


def stored_kind(frame: Frame, kind: OutputKind) -> Kind:
    """The kind of file that a frame is written as."""
    if kind is OutputKind.KEEP:
        return Kind.TIFF if frame.kind in NOT_WRITTEN else frame.kind
    return Kind.RAW if kind is OutputKind.DNG else Kind(kind.value)


def require_dng_source(path: Path, frame: Frame) -> None:
    """Raise PhotoError unless a frame can be stored as DNG: only RAW files have the sensor's own colours."""
    if frame.kind is not Kind.RAW:
        raise PhotoError(path, "only a RAW file can become a DNG, and this is none; use another --format for it")
    if not is_undeveloped(frame):
        raise PhotoError(path, "its sensor has four colours, and a DNG of nsp holds three; use --format tiff")


def is_undeveloped(frame: Frame) -> bool:
    """Whether a frame is in its sensor's own colours."""
    return isinstance(frame.metadata.source, RawSource) and bool(frame.metadata.source.gains)


def _same(found: NDArray[np.generic] | None, expected: NDArray[np.generic] | None) -> bool:
    if found is None or expected is None:
        return found is expected
    if found.shape != expected.shape:
        return False
    same = (np.array_equal(found[rows], expected[rows].astype(found.dtype, copy=False)) for rows in pieces(expected))
    return all(_letting_go(found, same))


def _letting_go(array: NDArray[np.generic], findings: Iterator[bool]) -> Iterator[bool]:
    for finding in findings:
        let_go(array)
        yield finding


def _prepare(path: Path, frame: Frame, stored: Kind, bit_depth: int | None) -> Frame:
    """Bring a frame to the depth and the metadata of the file it goes into."""
    if stored is Kind.JPEG and frame.alpha is not None and _is_opaque(frame.alpha):
        frame = replace(frame, alpha=None)
    if stored in (Kind.PNG, Kind.JXL, Kind.AVIF):
        frame = _straightened(frame)
    if stored is Kind.JPEG and frame.alpha is not None:
        raise PhotoError(path, "JPEG has no alpha channel, and this photo has one; use --format png or tiff")
    name, most = MOST_BITS.get(stored, ("", 32))
    if bit_depth is not None and bit_depth > most:
        raise PhotoError(path, f"{name} cannot store {bit_depth} bits; use --format png or tiff")
    if stored in (Kind.JXL, Kind.AVIF):
        frame = turned_upright(frame)
    if stored is Kind.AVIF and frame.pixels.shape[2] == 1:
        # Not every decoder takes AVIF of grey; of grey in three channels, no profile of grey is true.
        frame = replace(frame, pixels=frame.pixels.repeat(3, 2), metadata=replace(frame.metadata, icc=None))
    if stored is Kind.PNG and bit_depth == 32:
        raise PhotoError(path, "PNG cannot store 32-bit floating-point numbers; use --format tiff")
    source = frame.metadata.source
    if isinstance(source, RawSource) and source.linear:
        frame = replace(frame, pixels=linear_of(to_unit(frame.pixels)))
    if bit_depth is not None:
        dtype = DTYPES[bit_depth]
    elif stored is Kind.JPEG:
        dtype = DTYPES[8]
    elif stored in (Kind.PNG, Kind.AVIF) and frame.pixels.dtype.kind == "f":
        dtype = DTYPES[16]
    elif stored is Kind.TIFF and isinstance(source, TiffSource) and source.half:
        dtype = np.dtype(np.float16)
    else:
        dtype = frame.pixels.dtype
    same_depth = dtype.itemsize == frame.pixels.dtype.itemsize
    metadata = _metadata_for(path, frame, stored, same_depth=same_depth)
    alpha = None if frame.alpha is None else _at_depth(frame.alpha, dtype)
    return replace(frame, pixels=_at_depth(frame.pixels, dtype), alpha=alpha, metadata=metadata)


def _is_opaque(alpha: NDArray[np.generic]) -> bool:
    return bool(to_unit(alpha).min() >= 1)


def _straightened(frame: Frame) -> Frame:
    """Colours that a TIFF stores multiplied by their alpha, as PNG wants them: undone."""
    source = frame.metadata.source
    if frame.alpha is None or not isinstance(source, TiffSource) or source.alpha_kind != PREMULTIPLIED:
        return frame
    alpha = to_unit(frame.alpha)[..., None]
    straight = np.divide(to_unit(frame.pixels), alpha, out=np.zeros(frame.pixels.shape, np.float32), where=alpha > 0)
    return replace(frame, pixels=from_unit(straight, frame.pixels.dtype))


def _at_depth(values: NDArray[np.generic], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """Convert between uint8, uint16 and float in 0..1: exact upwards, rounded downwards."""
    if values.dtype == dtype:
        return values
    result = beside(values)(values.shape, dtype)
    for rows in pieces(values):
        result[rows] = _converted(values[rows], dtype)
        let_go(result)
    return result


def _converted(values: NDArray[np.generic], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    if dtype.kind == "f":
        return to_unit(values).astype(dtype)
    if values.dtype.kind == "f":
        return from_unit(np.asarray(values, np.float32), dtype)
    if dtype == np.uint16:
        return values.astype(np.uint16) * np.uint16(257)
    rounded: NDArray[np.generic] = ((np.arange(65536) + 128) // 257).astype(np.uint8)[values]
    return rounded


def _metadata_for(path: Path, frame: Frame, stored: Kind, *, same_depth: bool) -> Metadata:
    """The frame's own metadata for a file of its own kind; else what every kind of file can hold."""
    metadata = frame.metadata
    source = metadata.source
    if stored is Kind.JPEG and isinstance(source, JpegSource):
        return metadata
    height, width = frame.pixels.shape[:2]
    if metadata.exif and metadata.size not in (None, (width, height)):
        enlarged = with_size(metadata.exif, width, height)
        source = with_exif(source, enlarged) if isinstance(source, PngSource) else source
        metadata = replace(metadata, exif=enlarged, source=source)
    if stored is frame.kind:
        if isinstance(source, PngSource) and not same_depth:
            return replace(metadata, source=without_storage_chunks(source))
        return metadata
    return _translated(path, metadata, grey=frame.pixels.shape[2] == 1)


def _translated(path: Path, metadata: Metadata, *, grey: bool) -> Metadata:
    """Metadata as any kind of file can hold them: what only the source's kind has is brought into EXIF, ICC and XMP."""
    source, structure = metadata.source, structure_of(metadata)
    own = structure
    icc, xmp, resources = metadata.icc, metadata.xmp, None
    comments: tuple[bytes, ...] = ()
    if isinstance(source, JpegSource):
        segments = segments_of(source)
        structure = with_resolution(structure, resolution_of_jpeg(source))
        resources, comments = photoshop_resources(segments), tuple(comments_of(segments))
        xmp, _ = joined(xmp, list(payloads(segments, APP1, EXTENSION)))
    elif isinstance(source, PngSource):
        structure = with_resolution(structure, resolution_of_png(source))
        resources = photoshop_of_png(source)
        try:
            icc = icc or profile_of_png(source, grey=grey)
        except ValueError as error:
            raise PhotoError(path, f"{error}, which only PNG can say; use --format keep or png") from error
    plain = replace(metadata, icc=icc, xmp=xmp, source=None, photoshop=resources, comments=comments)
    return plain if structure is own else with_structure(plain, structure)


def _encode(path: Path, frame: Frame, stored: Kind, stream: BinaryIO, quality: int | None) -> None:
    try:
        if stored is Kind.RAW:
            encode_dng(frame, stream)
        elif stored is Kind.JPEG:
            stream.write(encode_jpeg(frame, quality))
        elif stored is Kind.PNG:
            stream.write(encode_png(frame))
        elif stored is Kind.JXL:
            stream.write(encode_jxl(frame, quality))
        elif stored is Kind.AVIF:
            stream.write(encode_avif(frame, quality))
        else:
            encode_tiff(frame, stream)
    except ValueError as error:
        raise PhotoError(path, str(error)) from error
