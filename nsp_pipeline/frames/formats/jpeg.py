"""JPEG: decode strictly, and store pixels again the way the source was stored, with all its metadata byte for byte."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.formats.jpeg_decode import decode
from nsp_pipeline.frames.formats.jpeg_layout import (
    APP1,
    APP14,
    EXTENDED,
    PROGRESSIVE,
    READABLE_PROCESSES,
    Layout,
    parse_layout,
)
from nsp_pipeline.frames.formats.jpeg_segments import (
    EXIF_SIGNATURE,
    icc_of,
    jfif_of,
    new_segments,
    payloads,
    without_credentials,
)
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS, Frame, JpegSource, Kind, Metadata
from nsp_pipeline.frames.limits import JPEG_RATIO, check_promise, check_size
from nsp_pipeline.frames.metadata.exif import camera_of, read_structure, with_size
from nsp_pipeline.frames.metadata.xmp import PACKET

ADOBE_SIGNATURE, MPF_SIGNATURE = b"Adobe", b"MPF\0"
LONGEST_SIDE = 65500
USUAL_HEAD, LONGEST_HEAD = 1 << 16, 1 << 20
"""Bytes that a JPEG has before its picture: most, and at most."""
DEFAULT_QUALITY = 95
XYB_PROFILE = "XYB_Per".encode("utf-16-be")
MP_ENTRIES = 0xB002


def read_jpeg(path: Path, data: bytes, *, keep_damaged: bool = False) -> Frame:
    """Decode a JPEG; raises PhotoError as `read_frame` does."""
    layout = parse_layout(path, data)
    _check_readable(path, layout)
    check_size(path, layout.width, layout.height)
    check_promise(path, layout.width * layout.height * len(layout.components), len(data), JPEG_RATIO)
    metadata = _metadata(layout, data)
    if metadata.icc and XYB_PROFILE in metadata.icc:
        raise PhotoError(path, "its colours are stored as XYB (jpegli), which nsp does not read")
    pixels, damage = decode(path, data, layout, stored_as_rgb=_stored_as_rgb(layout), keep_damaged=keep_damaged)
    return Frame(pixels, None, Kind.JPEG, metadata, camera_of(read_structure(metadata.exif)), damage)


def read_jpeg_exif(path: Path, data: bytes) -> bytes | None:
    """The EXIF of a JPEG of which the beginning suffices."""
    return _exif_of(parse_layout(path, data, whole=False))


def read_jpeg_head(path: Path, file: BinaryIO) -> tuple[bytes | None, tuple[int, int] | None]:
    """The EXIF of a JPEG, and its width and height where its beginning tells; no more of it is read than that."""
    for length in (USUAL_HEAD, LONGEST_HEAD):
        file.seek(0)
        data = file.read(length)
        layout = parse_layout(path, data, whole=False)
        if layout.scans_start or len(data) < length:
            break
    return _exif_of(layout), (layout.width, layout.height) if layout.width and layout.height else None


def _exif_of(layout: Layout) -> bytes | None:
    return next(payloads(layout.segments, APP1, EXIF_SIGNATURE), None)


def _check_readable(path: Path, layout: Layout) -> None:
    if not layout.process:
        raise PhotoError(path, "the JPEG is damaged: it has no frame header")
    if layout.precision != 8:
        raise PhotoError(path, f"this is a JPEG of {layout.precision} bits; nsp reads those of 8")
    if len(layout.components) == 4:
        raise PhotoError(path, "its colours are CMYK; convert it to RGB first")
    if len(layout.components) not in (1, 3):
        raise PhotoError(path, f"it has {len(layout.components)} colour channels; nsp reads JPEG with 1 or 3")
    if any(across < 1 or down < 1 for _, across, down, _ in layout.components):
        raise PhotoError(path, "the JPEG is damaged: its frame header makes no sense")


def _metadata(layout: Layout, data: bytes) -> Metadata:
    chosen = [layout.tables.get(table) for *_, table in layout.components]
    tables = tuple(table for table in chosen if table is not None)
    if len(tables) == 3 and tables[1] == tables[2]:
        tables = tables[:1] if tables[0] == tables[1] else tables[:2]
    end = layout.end or len(data)
    segments = without_credentials(layout.segments)
    return Metadata(
        exif=next(payloads(layout.segments, APP1, EXIF_SIGNATURE), None),
        icc=icc_of(layout.segments),
        xmp=next(payloads(layout.segments, APP1, PACKET), None),
        source=JpegSource(
            segments=b"".join(segments),
            tables=tables,
            subsampling=_subsampling(layout),
            process=layout.process,
            stored_as_rgb=_stored_as_rgb(layout),
            trailer=data[end:],
            trailer_offset=end,
        ),
        size=(layout.width, layout.height),
        left_out=(CONTENT_CREDENTIALS,) if len(segments) < len(layout.segments) else (),
    )


def _subsampling(layout: Layout) -> int:
    if len(layout.components) == 1:
        return 0
    (_, across, down, _), *chroma = layout.components
    factors = {(across / other_across, down / other_down) for _, other_across, other_down, _ in chroma}
    return {(1.0, 1.0): 0, (2.0, 1.0): 1, (2.0, 2.0): 2}.get(factors.pop(), -1) if len(factors) == 1 else -1


def _stored_as_rgb(layout: Layout) -> bool:
    """Decide as libjpeg does: JFIF means YCbCr, else Adobe's segment says it, else the components' names."""
    if len(layout.components) != 3 or jfif_of(layout.segments):
        return False
    adobe = next(payloads(layout.segments, APP14, ADOBE_SIGNATURE), None)
    if adobe is not None and len(adobe) >= 7:
        return adobe[6] == 0
    return bytes(identifier for identifier, *_ in layout.components) == b"RGB"


def encode_jpeg(frame: Frame, quality: int | None) -> bytes:
    """Store (H, W, C) uint8 pixels as JPEG.

    A frame that came from a JPEG is stored as that was (process, sampling and, without `quality`, quantisation tables),
    and all its segments and what follows its picture come along. Raises ValueError for sides that JPEG cannot hold.
    """
    if max(frame.pixels.shape[:2]) > LONGEST_SIDE:
        raise ValueError(f"JPEG holds up to {LONGEST_SIDE} pixels a side; use --format png or tiff")
    source = frame.metadata.source if isinstance(frame.metadata.source, JpegSource) else None
    picture = _compress(frame.pixels, quality, source)
    if source is None:
        return b"\xff\xd8" + new_segments(frame.metadata) + picture
    segments = source.segments
    height, width = frame.pixels.shape[:2]
    if frame.metadata.exif and frame.metadata.size not in (None, (width, height)):
        segments = segments.replace(frame.metadata.exif, with_size(frame.metadata.exif, width, height), 1)
    if not source.trailer.strip(b"\0"):
        return b"\xff\xd8" + segments + picture + source.trailer
    # What follows the picture stays where it was, so that all that points to it stays true.
    room = source.trailer_offset - 2 - len(segments)
    if len(picture) > room:
        picture = _compress(frame.pixels, quality, source, tight=True)
    if len(picture) > room:
        segments = _shift_pictures(segments, len(picture) - room)
    return b"\xff\xd8" + segments + picture.ljust(room, b"\0") + source.trailer


def _compress(
    pixels: NDArray[np.generic], quality: int | None, source: JpegSource | None, *, tight: bool = False
) -> bytes:
    """Encode the picture, from its tables to its end marker; `tight` finds the shortest codes, which takes longer."""
    image = Image.fromarray(np.asarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    options: dict[str, Any] = {"subsampling": max(0, source.subsampling) if source else 0}
    if source and source.stored_as_rgb and image.mode == "RGB":
        options = {"keep_rgb": True}
    if source and source.process == PROGRESSIVE:
        options["progressive"] = True
    if quality is None and source and source.tables:
        # Steps above 255 need wider tables, of which libjpeg warns on the terminal; finer steps do no harm.
        options["qtables"] = [[min(step, 255) for step in table] for table in source.tables]
    else:
        options["quality"] = quality or DEFAULT_QUALITY
    stream = BytesIO()
    image.save(stream, "JPEG", optimize=tight, **options)
    data = stream.getvalue()
    encoded = parse_layout(Path(), data)
    coding = b"".join(encoded.coding)
    if source and source.process == EXTENDED:
        header = next(segment for segment in encoded.coding if segment[1] in READABLE_PROCESSES)
        coding = coding.replace(header, bytes((0xFF, EXTENDED)) + header[2:])
    return coding + data[encoded.scans_start : encoded.end]


def _shift_pictures(segments: bytes, shift: int) -> bytes:
    """Move the pictures that a multi-picture index points to by so many bytes, for they follow a longer first one."""
    start = segments.find(MPF_SIGNATURE) + len(MPF_SIGNATURE)
    structure = read_structure(segments[start:]) if start >= len(MPF_SIGNATURE) else None
    entries = structure.root.entries.get(MP_ENTRIES) if structure else None
    if structure is None or entries is None:
        return segments
    moved = b""
    for attribute, size, offset, depends in struct.iter_unpack(structure.order + "IIII", entries.data):
        size, offset = (size, offset + shift) if offset else (size + shift, 0)
        moved += struct.pack(structure.order + "IIII", attribute, size, offset, depends)
    return segments[:start] + segments[start:].replace(entries.data, moved, 1)
