"""JPEG: decode strictly, and store pixels again the way the source was stored, with all its metadata byte for byte."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Frame, JpegSource, Kind, Metadata
from nsp_pipeline.frames.limits import JPEG_RATIO, check_promise, check_size, size_text
from nsp_pipeline.frames.metadata.exif import camera_of, fitted, read_structure, resolution_of, with_size
from nsp_pipeline.frames.metadata.ifd import ICC_PROFILE, IPTC, PHOTOSHOP_RESOURCES, XMP, Structure

SOI, EOI, SOS, DQT, COM, APP0, APP1, APP2, APP13, APP15 = 0xD8, 0xD9, 0xDA, 0xDB, 0xFE, 0xE0, 0xE1, 0xE2, 0xED, 0xEF
WITHOUT_LENGTH = (0x01, SOI, *range(0xD0, 0xD8))
BASELINE, EXTENDED, PROGRESSIVE = READABLE_PROCESSES = (0xC0, 0xC1, 0xC2)
UNREADABLE_PROCESSES = {
    0xC3: "a lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "a hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "a JPEG with arithmetic coding"),
    0xF7: "a JPEG-LS picture",
}
END_OF_SCAN = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""Inside entropy-coded data 0xFF is followed by 0 (it was data) or is a restart marker; else the scan is over."""
ZIGZAG = sorted(range(64), key=lambda n: (n // 8 + n % 8, n // 8 if (n // 8 + n % 8) % 2 else n % 8))

EXIF_SIGNATURE, XMP_SIGNATURE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
JFIF_SIGNATURE, ADOBE_SIGNATURE, APP14 = b"JFIF\0", b"Adobe", 0xEE
ICC_SIGNATURE, MPF_SIGNATURE, PHOTOSHOP_SIGNATURE = b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
LONGEST_PAYLOAD = 65533
LONGEST_SIDE = 65500
DEFAULT_QUALITY = 95
XYB_PROFILE = "XYB_Per".encode("utf-16-be")
MP_ENTRIES = 0xB002


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
    end: int | None = None
    """Behind the end marker; None when there is none."""


def read_jpeg(path: Path, data: bytes) -> Frame:
    """Decode a JPEG; raises PhotoError."""
    layout = parse_layout(path, data)
    _check_readable(path, layout)
    check_size(path, layout.width, layout.height)
    check_promise(path, layout.width * layout.height * len(layout.components), len(data), JPEG_RATIO)
    metadata = _metadata(layout, data)
    if metadata.icc and XYB_PROFILE in metadata.icc:
        raise PhotoError(path, "its colours are stored as XYB (jpegli), which nsp does not read")
    pixels = _decode(path, data, layout)
    return Frame(pixels, None, Kind.JPEG, metadata, camera_of(read_structure(metadata.exif)))


def read_jpeg_exif(path: Path, data: bytes) -> bytes | None:
    """The EXIF of a JPEG of which the beginning suffices."""
    return next(_payloads(parse_layout(path, data, whole=False).segments, APP1, EXIF_SIGNATURE), None)


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
            if end is None:
                break
            position = end.end() - 2
        else:
            _note_segment(path, layout, marker, segment)
            position += size
    if not layout.scans_start and whole:
        raise PhotoError(path, _ends_early(data))
    return layout


def _note_segment(path: Path, layout: Layout, marker: int, segment: bytes) -> None:
    if APP0 <= marker <= APP15 or marker == COM:
        layout.segments.append(segment)
        return
    body = segment[4:]
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
    if marker == DQT:
        layout.tables.update(_quantisation_tables(body))
    if not layout.scans_start:
        layout.coding.append(segment)


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


def _ends_early(data: bytes) -> str:
    return f"the file ends early: {size_text(len(data))} of JPEG data, the picture is incomplete"


def _decode(path: Path, data: bytes, layout: Layout) -> NDArray[np.uint8]:
    """Decode the picture, (H, W, C), and make sure that all of it is there.

    libjpeg fills what is missing with mid-grey and says nothing. Where the picture may be incomplete (no end marker, or
    mid-grey in its last corner), it is decoded again with more data at its end: a complete one does not change.
    """
    body = data[: layout.end - 2] if layout.end else data.rstrip(b"\xff")
    tail = len(body) - len(body.rstrip(b"\0"))
    if layout.end is None and (layout.process == PROGRESSIVE or tail > 64):
        raise PhotoError(path, _ends_early(data))
    pixels = _pixels(body + b"\xff\xd9")
    if pixels.shape != (layout.height, layout.width, len(layout.components)):
        raise PhotoError(path, "the JPEG is damaged: its header contradicts its picture")
    suspect = layout.end is None or bool((pixels[-1, -1] == 128).all())
    if suspect and layout.process != PROGRESSIVE:
        continued = _pixels(body + b"\x5a" * 4096 + b"\xff\xd9")
        if not np.array_equal(pixels, continued):
            raise PhotoError(path, _ends_early(data))
    return pixels


def _pixels(data: bytes) -> NDArray[np.uint8]:
    decoded: NDArray[np.uint8] = imagecodecs.jpeg8_decode(data)
    return decoded[..., None] if decoded.ndim == 2 else decoded


def _payloads(segments: list[bytes], marker: int, signature: bytes) -> Iterator[bytes]:
    """What segments with this marker and signature hold behind it."""
    for segment in segments:
        if segment[1] == marker and segment.startswith(signature, 4):
            yield segment[4 + len(signature) :]


def _metadata(layout: Layout, data: bytes) -> Metadata:
    chosen = [layout.tables.get(table) for *_, table in layout.components]
    tables = tuple(table for table in chosen if table is not None)
    if len(tables) == 3 and tables[1] == tables[2]:
        tables = tables[:1] if tables[0] == tables[1] else tables[:2]
    end = layout.end or len(data)
    return Metadata(
        exif=next(_payloads(layout.segments, APP1, EXIF_SIGNATURE), None),
        icc=_icc(layout.segments),
        xmp=next(_payloads(layout.segments, APP1, XMP_SIGNATURE), None),
        source=JpegSource(
            segments=b"".join(layout.segments),
            tables=tables,
            subsampling=_subsampling(layout),
            process=layout.process,
            stored_as_rgb=_stored_as_rgb(layout),
            trailer=data[end:],
            trailer_offset=end,
        ),
        size=(layout.width, layout.height),
    )


def _icc(segments: list[bytes]) -> bytes | None:
    """Join the numbered parts of an ICC profile; None where there is none or a part is missing."""
    parts = {payload[0]: payload for payload in _payloads(segments, APP2, ICC_SIGNATURE) if len(payload) > 2}
    if not parts or any(payload[1] != len(parts) for payload in parts.values()) or max(parts) != len(parts):
        return None
    return b"".join(parts[number][2:] for number in sorted(parts))


def _subsampling(layout: Layout) -> int:
    if len(layout.components) == 1:
        return 0
    (_, across, down, _), *chroma = layout.components
    factors = {(across / other_across, down / other_down) for _, other_across, other_down, _ in chroma}
    return {(1.0, 1.0): 0, (2.0, 1.0): 1, (2.0, 2.0): 2}.get(factors.pop(), -1) if len(factors) == 1 else -1


def _stored_as_rgb(layout: Layout) -> bool:
    """Decide as libjpeg does: JFIF means YCbCr, else Adobe's segment says it, else the components' names."""
    if len(layout.components) != 3 or _jfif(layout.segments):
        return False
    adobe = next(_payloads(layout.segments, APP14, ADOBE_SIGNATURE), None)
    if adobe is not None and len(adobe) >= 7:
        return adobe[6] == 0
    return bytes(identifier for identifier, *_ in layout.components) == b"RGB"


def _jfif(segments: list[bytes]) -> bytes | None:
    """What the JFIF segment holds, if there is a complete one."""
    return next((jfif for jfif in _payloads(segments, APP0, JFIF_SIGNATURE) if len(jfif) >= 9), None)


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
        return b"\xff\xd8" + _new_segments(frame.metadata) + picture
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


def _new_segments(metadata: Metadata) -> bytes:
    """Metadata of a photo that was no JPEG, as segments; what cannot be stored in 64 KB is left out."""
    structure = read_structure(metadata.exif)
    dots = resolution_of(structure)
    unit, across, down = (1, *(round(per_metre * 0.0254) for per_metre in dots)) if dots else (0, 1, 1)
    if max(across, down) > 65535 or min(across, down) < 1:
        unit, across, down = 0, 1, 1
    segments = [_segment(APP0, b"JFIF\0\1\1" + struct.pack(">BHHBB", unit, across, down, 0, 0))]
    if structure:
        photoshop = structure.root.entries.get(PHOTOSHOP_RESOURCES)
        lean = Structure(structure.order, structure.root.without([PHOTOSHOP_RESOURCES, IPTC, XMP, ICC_PROFILE]))
        segments.append(_segment(APP1, EXIF_SIGNATURE + fitted(lean, LONGEST_PAYLOAD - len(EXIF_SIGNATURE))))
        if photoshop:
            segments.append(_segment(APP13, PHOTOSHOP_SIGNATURE + photoshop.data))
    if metadata.xmp:
        segments.append(_segment(APP1, XMP_SIGNATURE + metadata.xmp))
    if metadata.icc:
        room = LONGEST_PAYLOAD - len(ICC_SIGNATURE) - 2
        parts = [metadata.icc[start : start + room] for start in range(0, len(metadata.icc), room)]
        for number, part in enumerate(parts[:255], 1):
            segments.append(_segment(APP2, ICC_SIGNATURE + bytes((number, len(parts))) + part))
    return b"".join(segments)


def _segment(marker: int, payload: bytes) -> bytes:
    if len(payload) > LONGEST_PAYLOAD:
        return b""
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


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


def resolution_of_jpeg(source: JpegSource) -> tuple[float, float] | None:
    """Dots per metre as the JFIF segment has them."""
    jfif = _jfif(parse_layout(Path(), b"\xff\xd8" + source.segments, whole=False).segments)
    if jfif is None:
        return None
    unit, across, down = struct.unpack_from(">BHH", jfif, 2)
    per_metre = {1: 1 / 0.0254, 2: 100.0}.get(unit)
    return (across * per_metre, down * per_metre) if per_metre and across and down else None


def photoshop_resources(source: JpegSource) -> bytes | None:
    """Photoshop's resource block (captions, IPTC), where a JPEG has one."""
    layout = parse_layout(Path(), b"\xff\xd8" + source.segments, whole=False)
    return next(_payloads(layout.segments, APP13, PHOTOSHOP_SIGNATURE), None)
