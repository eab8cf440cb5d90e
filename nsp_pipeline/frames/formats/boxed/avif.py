"""Write AVIF: the picture from imagecodecs; EXIF, XMP and profile put into its boxes (ISO/IEC 14496-12, 23008-12)."""

import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np

from nsp_pipeline.frames.formats.boxed.boxes import box, boxes
from nsp_pipeline.frames.formats.jpeg_segments import NOT_FOR_EXIF
from nsp_pipeline.frames.formats.pixel_planes import samples_of
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.metadata.exif import embeddable

LONGEST_EXIF = (1 << 31) - 1
DEFAULT_QUALITY = 90
SPEED = 9
"""As good at the same size as slower ones, on denoised photos."""
FEW_BITS, USUAL_BITS, MOST_BITS = 8, 10, 12
SRGB_CODES, UNSTATED = (1, 13), (2, 2)
"""H.273's codes of sRGB's primaries and curve; a profile speaks for itself, and then nothing is said."""
BT601 = 6
"""The matrix of YCbCr that every decoder has."""
EXTENT = struct.Struct(">HHHII")
"""Of an item's location: number, data reference, count of extents, and where its only one lies and how long it is."""
ITEM = 2
"""Version of the box that names an item."""


@dataclass(frozen=True)
class _Item:
    kind: bytes
    name: bytes
    data: bytes


def encode_avif(frame: Frame, quality: int | None) -> bytes:
    """Store (H, W, 3) uint8, or uint16 of which 10 bits are kept (12 of an AVIF of 12), and alpha, at full resolution.

    Without `quality` it is 90 of 100.
    """
    samples, bits = samples_of(frame), FEW_BITS
    if samples.dtype == np.uint16:
        bits = MOST_BITS if frame.bits == MOST_BITS else USUAL_BITS
        largest = 2**bits - 1
        samples = np.rint(np.arange(65536) * (largest / 65535)).astype(np.uint16)[samples]
    primaries, transfer = UNSTATED if frame.metadata.icc else SRGB_CODES
    picture = imagecodecs.avif_encode(
        samples,
        level=quality or DEFAULT_QUALITY,
        speed=SPEED,
        bitspersample=bits,
        pixelformat="444",
        primaries=primaries,
        transfer=transfer,
        matrix=BT601,
    )
    exif = embeddable(frame.metadata, LONGEST_EXIF, NOT_FOR_EXIF)
    items = [_Item(b"Exif", b"Exif\0", bytes(4) + exif)] if exif else []
    if frame.metadata.xmp:
        items.append(_Item(b"mime", b"XMP\0application/rdf+xml\0", frame.metadata.xmp))
    return _with_metadata(bytes(picture), items, frame.metadata.icc)


def _with_metadata(avif: bytes, items: list[_Item], icc: bytes | None) -> bytes:
    """An AVIF, as libavif writes them for one picture, with more items and a profile."""
    if not items and not icc:
        return avif
    parts = {part.name: part for part in boxes(avif)}
    meta = parts[b"meta"]
    held = {part.name: part.content for part in boxes(meta.content[4:])}
    head, old_end = avif[: meta.start], meta.start + 8 + len(meta.content)
    # Where things lie is known once the box that says it has its size, which does not depend on that.
    grown = len(_meta(held, items, icc, 0, 0)) - (old_end - meta.start)
    data_at = len(avif) + grown + 8
    whole = head + _meta(held, items, icc, grown, data_at) + avif[old_end:]
    return whole + (box(b"mdat", b"".join(item.data for item in items)) if items else b"")


def _meta(held: dict[bytes, bytes], items: list[_Item], icc: bytes | None, shift: int, data_at: int) -> bytes:
    (primary,) = struct.unpack(">H", held[b"pitm"][4:])
    (count,) = struct.unpack_from(">H", held[b"iinf"], 4)
    numbers = range(count + 1, count + 1 + len(items))
    names = b"".join(
        box(b"infe", struct.pack(">B3xHH", ITEM, number, 0) + item.kind + item.name)
        for number, item in zip(numbers, items, strict=True)
    )
    described = b"".join(box(b"cdsc", struct.pack(">HHH", number, 1, primary)) for number in numbers)
    contents = {
        b"hdlr": held[b"hdlr"],
        b"pitm": held[b"pitm"],
        b"iloc": _locations(held[b"iloc"], items, numbers, shift, data_at),
        b"iinf": held[b"iinf"][:4] + struct.pack(">H", count + len(items)) + held[b"iinf"][6:] + names,
        b"iref": held.get(b"iref", bytes(4)) + described,
        b"iprp": _properties(held[b"iprp"], primary, icc) if icc else held[b"iprp"],
    }
    if not contents[b"iref"][4:]:
        del contents[b"iref"]
    return box(b"meta", bytes(4) + b"".join(box(name, content) for name, content in contents.items()))


def _locations(iloc: bytes, items: list[_Item], numbers: range, shift: int, data_at: int) -> bytes:
    """Where items lie: those there were, so many bytes later, and new ones, one behind the other."""
    (count,) = struct.unpack_from(">H", iloc, 6)
    rows = [EXTENT.unpack_from(iloc, 8 + EXTENT.size * place) for place in range(count)]
    written = [EXTENT.pack(number, source, 1, at + shift, size) for number, source, _, at, size in rows]
    for number, item in zip(numbers, items, strict=True):
        written.append(EXTENT.pack(number, 0, 1, data_at, len(item.data)))
        data_at += len(item.data)
    return iloc[:6] + struct.pack(">H", len(written)) + b"".join(written)


def _properties(iprp: bytes, primary: int, icc: bytes) -> bytes:
    """The properties of items, with a profile for the picture."""
    (ipco, ipma) = (part.content for part in boxes(iprp))
    profile = len(list(boxes(ipco))) + 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    written, place = b"", 8
    for _ in range(count):
        item, links = struct.unpack_from(">HB", ipma, place)
        known = ipma[place + 3 : place + 3 + links]
        place += 3 + links
        own = known + bytes((profile,)) if item == primary else known
        written += struct.pack(">HB", item, len(own)) + own
    return box(b"ipco", ipco + box(b"colr", b"prof" + icc)) + box(b"ipma", ipma[:8] + written)
