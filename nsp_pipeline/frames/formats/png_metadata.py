"""The chunks of a PNG that hold metadata: what they say, and new ones for a photo that was no PNG."""

import re
import struct
import zlib
from collections.abc import Iterable

from nsp_pipeline.frames.colour.statement import stated_colours
from nsp_pipeline.frames.formats.jpeg_segments import EXIF_SIGNATURE, NOT_FOR_EXIF
from nsp_pipeline.frames.frame import Metadata, PngSource
from nsp_pipeline.frames.metadata.exif import embeddable, read_structure, resolution_of
from nsp_pipeline.frames.metadata.photoshop import RESOURCE, resources_of, with_iptc
from nsp_pipeline.frames.metadata.xmp import PACKET

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD = b"XML:com.adobe.xmp"
RAW_PROFILE = re.compile(rb"Raw profile type (\w+)")
RAW_CONTENT = re.compile(rb"\s*\w+\s+(\d+)\s+([0-9a-fA-F\s]*)", re.DOTALL)
"""How ImageMagick and others store EXIF, IPTC, XMP and profiles as text: name, length, and hexadecimal digits."""
LONGEST_METADATA = 64 << 20
LONGEST_EXIF = (1 << 31) - 1
DIGITS_A_LINE = 72
COMMENT = b"Comment"


def chunk(name: bytes, body: bytes | memoryview) -> bytes:
    """One chunk, whole."""
    checksum = zlib.crc32(body, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(body)), name, body, struct.pack(">I", checksum)))


def texts(chunks: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Keyword and content of the text chunks among these (name, content), unpacked."""
    found = []
    for name, body in chunks:
        keyword, _, rest = body.partition(b"\0")
        if name == b"tEXt":
            found.append((keyword, rest))
        elif name == b"zTXt" and (content := inflate(rest[1:])) is not None:
            found.append((keyword, content))
        elif name == b"iTXt" and len(parts := rest[2:].split(b"\0", 2)) == 3:
            content = inflate(parts[2]) if rest[0] else parts[2]
            if content is not None:
                found.append((keyword, content))
    return found


def raw_profiles(contents: Iterable[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """What texts hold as "Raw profile": EXIF ("exif"), XMP ("xmp"), a colour profile ("icc"), Photoshop's block."""
    found: dict[str, bytes] = {}
    for keyword, content in contents:
        name, body = RAW_PROFILE.fullmatch(keyword), RAW_CONTENT.fullmatch(content)
        if name is None or body is None:
            continue
        data = (
            bytes.fromhex(body[2].decode("ascii"))[: int(body[1])] if len(b"".join(body[2].split())) % 2 == 0 else b""
        )
        kind = name[1].decode().lower()
        if kind in ("exif", "app1"):
            if data.startswith(PACKET):
                found.setdefault("xmp", data.removeprefix(PACKET))
            elif data:
                found.setdefault("exif", data.removeprefix(EXIF_SIGNATURE))
        elif kind in ("iptc", "8bim") and data:
            found.setdefault("photoshop", data if data.startswith(RESOURCE) else with_iptc(b"", data))
        elif kind == "xmp" and data:
            found.setdefault("xmp", data)
        elif kind in ("icc", "icm") and data:
            found.setdefault("icc", data)
    return found


def inflate(data: bytes) -> bytes | None:
    """Decompress metadata, up to 64 MB; None where it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, LONGEST_METADATA)
    except zlib.error:
        return None


def contents_of(source: PngSource) -> list[tuple[bytes, bytes]]:
    """Name and content of a PNG's own chunks."""
    return [(whole[4:8], whole[8:-4]) for whole in (*source.before, *source.after)]


def photoshop_of_png(source: PngSource) -> bytes | None:
    """Photoshop's resource block, which holds IPTC; None where the PNG has none."""
    return raw_profiles(texts(contents_of(source))).get("photoshop")


def profile_of_png(source: PngSource, *, grey: bool) -> bytes | None:
    """A profile of the colours that a PNG states without one; None where it states none, ValueError where none can."""
    statement = stated_colours(dict(reversed(contents_of(source))))
    return statement.profile(grey=grey) if statement else None


def new_chunks(metadata: Metadata) -> tuple[bytes, ...]:
    """Metadata of a photo that was no PNG, as chunks."""
    chunks = []
    if metadata.icc:
        chunks.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    structure = read_structure(metadata.exif)
    dots = resolution_of(structure)
    if dots:
        chunks.append(chunk(b"pHYs", struct.pack(">IIB", *(min(round(value), 2**31 - 1) for value in dots), 1)))
    if exif := embeddable(metadata, LONGEST_EXIF, NOT_FOR_EXIF):
        chunks.append(chunk(b"eXIf", exif))
    if metadata.xmp:
        chunks.append(chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + metadata.xmp))
    if resources := metadata.photoshop or (structure and resources_of(structure.root)):
        chunks.append(chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(_raw_text(b"iptc", resources))))
    chunks += [chunk(b"tEXt", COMMENT + b"\0" + comment) for comment in metadata.comments]
    return tuple(chunks)


def _raw_text(name: bytes, data: bytes) -> bytes:
    digits = data.hex().encode()
    lines = (digits[start : start + DIGITS_A_LINE] for start in range(0, len(digits), DIGITS_A_LINE))
    return b"\n%s\n%8d\n%s\n" % (name, len(data), b"\n".join(lines))


def resolution_of_png(source: PngSource) -> tuple[float, float] | None:
    """Dots per metre as pHYs has them."""
    for name, body in contents_of(PngSource(source.before, ())):
        if name == b"pHYs" and len(body) == 9:
            across, down, unit = struct.unpack(">IIB", body)
            return (float(across), float(down)) if unit == 1 and across and down else None
    return None
