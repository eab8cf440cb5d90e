"""The segments of a JPEG that hold metadata: what they say, and new ones for a photo that was no JPEG."""

import struct
from collections.abc import Iterable, Iterator

from nsp_pipeline.frames.formats.jpeg_layout import APP0, APP1, APP2, APP11, APP13, COM
from nsp_pipeline.frames.formats.tiff_tags import SAMPLE_FORMAT, SUBFILE_TYPE, TRANSFER_FUNCTION
from nsp_pipeline.frames.frame import JpegSource, Metadata
from nsp_pipeline.frames.metadata import xmp
from nsp_pipeline.frames.metadata.exif import embeddable, read_structure, resolution_of
from nsp_pipeline.frames.metadata.ifd import ICC_PROFILE, IPTC, PHOTOSHOP_RESOURCES, XMP
from nsp_pipeline.frames.metadata.photoshop import resources_of

EXIF_SIGNATURE, JFIF_SIGNATURE = b"Exif\0\0", b"JFIF\0"
ICC_SIGNATURE, PHOTOSHOP_SIGNATURE = b"ICC_PROFILE\0", b"Photoshop 3.0\0"
JUMBF_SIGNATURE, CREDENTIALS = b"JP", b"c2pa"
JUMBF_LABEL_WITHIN = 64
"""Bytes of a JUMBF box within which it says what it is."""
LONGEST_PAYLOAD = 65533
NOT_FOR_EXIF = (SUBFILE_TYPE, SAMPLE_FORMAT, TRANSFER_FUNCTION, PHOTOSHOP_RESOURCES, IPTC, XMP, ICC_PROFILE)
"""What a TIFF has among its tags and other files keep elsewhere, or that speaks of a TIFF's pixels."""


def segments_of(source: JpegSource) -> list[bytes]:
    """The segments of a JPEG, one by one."""
    return list(split_segments(source.segments))


def split_segments(data: bytes) -> Iterator[bytes]:
    """A row of segments, one by one."""
    place = 0
    while place + 4 <= len(data):
        size = 2 + int.from_bytes(data[place + 2 : place + 4])
        yield data[place : place + size]
        place += size


def payloads(segments: Iterable[bytes], marker: int, signature: bytes) -> Iterator[bytes]:
    """What segments with this marker and signature hold behind it."""
    for segment in segments:
        if segment[1] == marker and segment.startswith(signature, 4):
            yield segment[4 + len(signature) :]


def icc_of(segments: list[bytes]) -> bytes | None:
    """Join the numbered parts of an ICC profile; None where there is none or a part is missing."""
    parts = {payload[0]: payload for payload in payloads(segments, APP2, ICC_SIGNATURE) if len(payload) > 2}
    if not parts or any(payload[1] != len(parts) for payload in parts.values()) or max(parts) != len(parts):
        return None
    return b"".join(parts[number][2:] for number in sorted(parts))


def jfif_of(segments: list[bytes]) -> bytes | None:
    """What the JFIF segment holds, if there is a complete one."""
    return next((jfif for jfif in payloads(segments, APP0, JFIF_SIGNATURE) if len(jfif) >= 9), None)


def without_credentials(segments: list[bytes]) -> list[bytes]:
    """The segments without content credentials (C2PA), whose signature no changed picture can have."""
    boxes = [(segment, segment[6:8]) for segment in segments if _is_jumbf(segment)]
    signed = {box for segment, box in boxes if CREDENTIALS in segment[: JUMBF_LABEL_WITHIN + 12]}
    return [segment for segment in segments if not (_is_jumbf(segment) and segment[6:8] in signed)]


def _is_jumbf(segment: bytes) -> bool:
    return segment[1] == APP11 and segment.startswith(JUMBF_SIGNATURE, 4)


def new_segments(metadata: Metadata) -> bytes:
    """Metadata of a photo that was no JPEG, as segments."""
    structure = read_structure(metadata.exif)
    dots = resolution_of(structure)
    unit, across, down = (1, *(round(per_metre * 0.0254) for per_metre in dots)) if dots else (0, 1, 1)
    if max(across, down) > 65535 or min(across, down) < 1:
        unit, across, down = 0, 1, 1
    segments = [_segment(APP0, JFIF_SIGNATURE + b"\1\1" + struct.pack(">BHHBB", unit, across, down, 0, 0))]
    exif = embeddable(metadata, LONGEST_PAYLOAD - len(EXIF_SIGNATURE), NOT_FOR_EXIF)
    if exif:
        segments.append(_segment(APP1, EXIF_SIGNATURE + exif))
    if metadata.xmp:
        packet, parts = xmp.split(metadata.xmp, LONGEST_PAYLOAD - len(xmp.PACKET))
        segments.append(_segment(APP1, xmp.PACKET + packet))
        segments += [_segment(APP1, xmp.EXTENSION + part) for part in parts]
    resources = metadata.photoshop or (resources_of(structure.root) if structure else None)
    segments += _parts(APP13, PHOTOSHOP_SIGNATURE, resources or b"")
    if metadata.icc:
        room = LONGEST_PAYLOAD - len(ICC_SIGNATURE) - 2
        parts = [metadata.icc[start : start + room] for start in range(0, len(metadata.icc), room)]
        for number, part in enumerate(parts[:255], 1):
            segments.append(_segment(APP2, ICC_SIGNATURE + bytes((number, len(parts))) + part))
    return b"".join(segments)


def _parts(marker: int, signature: bytes, content: bytes) -> list[bytes]:
    """As many segments as a content needs."""
    room = LONGEST_PAYLOAD - len(signature)
    return [_segment(marker, signature + content[start : start + room]) for start in range(0, len(content), room)]


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def resolution_of_jpeg(source: JpegSource) -> tuple[float, float] | None:
    """Dots per metre as the JFIF segment has them."""
    jfif = jfif_of(segments_of(source))
    if jfif is None:
        return None
    unit, across, down = struct.unpack_from(">BHH", jfif, 2)
    per_metre = {1: 1 / 0.0254, 2: 100.0}.get(unit)
    return (across * per_metre, down * per_metre) if per_metre and across and down else None


def photoshop_resources(segments: Iterable[bytes]) -> bytes | None:
    """Photoshop's resource block (captions, IPTC), joined of all segments that it stands in; None where it is none."""
    return b"".join(payloads(segments, APP13, PHOTOSHOP_SIGNATURE)) or None


def comments_of(segments: Iterable[bytes]) -> list[bytes]:
    """What comment segments hold."""
    return [segment[4:] for segment in segments if segment[1] == COM]
