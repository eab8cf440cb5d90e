"""What a photo says besides its pixels, item by item, and which items another file of it lacks or has otherwise."""

import struct
from collections.abc import Iterator, Mapping
from hashlib import sha256
from xml.etree import ElementTree

from PIL import ExifTags

from nsp_pipeline.frames.colour.read_profile import equivalent
from nsp_pipeline.frames.colour.statement import stated_colours
from nsp_pipeline.frames.formats.jpeg_layout import APP0, APP1, APP2, APP13, APP14, COM
from nsp_pipeline.frames.formats.jpeg_segments import (
    EXIF_SIGNATURE,
    ICC_SIGNATURE,
    PHOTOSHOP_SIGNATURE,
    payloads,
    photoshop_resources,
    resolution_of_jpeg,
    segments_of,
)
from nsp_pipeline.frames.formats.png_metadata import (
    COMMENT,
    RAW_PROFILE,
    TEXT_CHUNKS,
    XMP_KEYWORD,
    contents_of,
    photoshop_of_png,
    resolution_of_png,
    texts,
)
from nsp_pipeline.frames.formats.tiff_tags import STRUCTURAL_TAGS, TRANSFER_FUNCTION
from nsp_pipeline.frames.frame import Frame, JpegSource, Kind, Metadata, PngSource, TiffSource
from nsp_pipeline.frames.metadata.exif import (
    PIXEL_HEIGHT,
    PIXEL_WIDTH,
    SELF_CONTAINED,
    resolution_of,
    structure_of,
)
from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    GPS_IFD,
    ICC_PROFILE,
    INTEROP_IFD,
    IPTC,
    MAKER_NOTE,
    ORIENTATION,
    PHOTOSHOP_RESOURCES,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    Directory,
    Entry,
    Order,
    Structure,
)
from nsp_pipeline.frames.metadata.photoshop import iptc_of, resources_of
from nsp_pipeline.frames.metadata.xmp import EXTENSION, PACKET, joined

GROUPS = {EXIF_IFD: "EXIF", GPS_IFD: "GPS", INTEROP_IFD: "interoperability"}
ELSEWHERE = (XMP, ICC_PROFILE, IPTC, PHOTOSHOP_RESOURCES, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
"""Tags that are items of their own."""
OF_STORAGE = STRUCTURAL_TAGS | {PIXEL_WIDTH, PIXEL_HEIGHT, *range(529, 533), TRANSFER_FUNCTION}
"""Tags that speak of the pixels of one file."""
UNIT_SIZES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
THE_INDEX = "the index of further pictures"
SEGMENT_NAMES = {
    b"MPF\0": THE_INDEX,
    b"urn:iso:std:iso:ts:21496": "gain map parameters",
    b"FPXR": "FlashPix",
    b"JFXX": "a JFIF thumbnail",
}
OUR_MARK = b"FPXR\0\0\x03nsp\0"
NAMED_CHUNKS = {b"tIME": "the time of the last change", b"mDCV": "mastering display", b"cLLI": "light levels"}
KNOWN_CHUNKS = frozenset(b"eXIf iCCP sRGB gAMA cHRM cICP pHYs sBIT bKGD nsPM tEXt zTXt iTXt".split())
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
ABOUT = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
NOTE_SPACE = "{http://ns.adobe.com/xmp/note/}"
KEPT_DOTS = 1.0
"""Dots per metre by which a resolution may differ: PNG stores whole ones, JPEG whole dots per inch."""


def lost(before: Frame, after: Frame) -> tuple[str, ...]:
    """Name what a file holds and another file of the same photo does not, or not in the same way; sorted.

    What speaks of how pixels are stored (sizes, sampling, YCbCr) does not count.
    """
    had, has = inventory(before.metadata), inventory(after.metadata)
    if after.kind in (Kind.JXL, Kind.AVIF):
        had.pop("tag Orientation", None)  # its pixels were turned instead
    missing = [name for name in had if name not in has]
    changed = [f"{name} (changed)" for name in had if name in has and not _same(name, had[name], has[name])]
    if before.pixels.dtype.kind == "f" != after.pixels.dtype.kind and _goes_outside(before):
        missing.append("brightness outside of black and white (cut off)")
    if before.depth > after.depth:
        missing.append(f"brightness finer than {after.depth} bits")
    return tuple(sorted({*before.metadata.left_out, *missing, *changed}))


def inventory(metadata: Metadata) -> dict[str, bytes]:
    """Name of each item, and its content, the same whatever kind of file holds it."""
    source, structure = metadata.source, structure_of(metadata)
    items = dict(_tags(structure)) if structure else {}
    if metadata.icc:
        items["the colour profile"] = metadata.icc
    if resolution := _resolution(metadata, structure):
        items["the resolution"] = struct.pack(">dd", *resolution)
    resources = resources_of(structure.root) if structure else None
    packet = metadata.xmp
    if isinstance(source, JpegSource):
        segments = segments_of(source)
        items |= _of_jpeg(segments, source)
        resources = photoshop_resources(segments)
        packet, _ = joined(packet, list(payloads(segments, APP1, EXTENSION)))
        items |= {"the EXIF thumbnail": b""} if _has_thumbnail(metadata.exif, structure) else {}
    elif isinstance(source, PngSource):
        items |= _of_png(source)
        resources = photoshop_of_png(source)
        items |= {"the EXIF thumbnail": b""} if _has_thumbnail(metadata.exif, structure) else {}
        statement = None if metadata.icc else stated_colours(dict(reversed(contents_of(source))))
        if statement and not statement.trouble:
            items["the colour profile"] = b""
    elif isinstance(source, TiffSource):
        items |= {f"the {page.name} page": _digest(b"".join(page.segments)) for page in source.pages}
    if iptc := iptc_of(resources):
        items["captions and keywords (IPTC)"] = iptc.rstrip(b"\0")
    elif resources:
        items["Photoshop's settings"] = b""
    return items | _properties(packet)


def _same(name: str, before: bytes, after: bytes) -> bool:
    if name == "the resolution":
        pairs = zip(struct.unpack(">dd", before), struct.unpack(">dd", after), strict=True)
        return all(abs(one - other) <= max(KEPT_DOTS, 0.02 * one) for one, other in pairs)
    if name == "the colour profile":
        # A statement of a PNG became a profile, or stayed one.
        return not before or equivalent(before, after)
    return before == after


def _goes_outside(frame: Frame) -> bool:
    return bool(frame.pixels.min() < 0 or frame.pixels.max() > 1)


def _tags(structure: Structure) -> Iterator[tuple[str, bytes]]:
    yield from _tags_of(structure.root, structure.order, "tag")
    for pointer, child in structure.root.children.items():
        yield from _tags_of(child, structure.order, GROUPS.get(pointer, "tag"))
        for below, grandchild in child.children.items():
            yield from _tags_of(grandchild, structure.order, GROUPS.get(below, "tag"))


def _tags_of(directory: Directory, order: Order, group: str) -> Iterator[tuple[str, bytes]]:
    for tag, entry in directory.entries.items():
        if tag == MAKER_NOTE:
            place = 0 if entry.data.startswith(SELF_CONTAINED) else entry.pinned or 0
            yield "the maker's notes", entry.data + place.to_bytes(8)
        elif tag == ORIENTATION and entry.data.strip(b"\0") == b"\1":
            continue  # as if nothing were said
        elif tag not in ELSEWHERE and tag not in OF_STORAGE:
            names: Mapping[int, str] = ExifTags.GPSTAGS if group == "GPS" else ExifTags.TAGS
            yield f"{group} {names.get(tag, tag)}", _big_endian(entry, order)


def _big_endian(entry: Entry, order: Order) -> bytes:
    size = UNIT_SIZES.get(entry.type, 1)
    if order == ">" or size == 1:
        return entry.data
    return b"".join(entry.data[place : place + size][::-1] for place in range(0, len(entry.data), size))


def _resolution(metadata: Metadata, structure: Structure | None) -> tuple[float, float] | None:
    source = metadata.source
    if found := resolution_of(structure):
        return found
    if isinstance(source, JpegSource):
        return resolution_of_jpeg(source)
    return resolution_of_png(source) if isinstance(source, PngSource) else None


def _has_thumbnail(exif: bytes | None, structure: Structure | None) -> bool:
    """Whether a second directory follows the first, as EXIF has it for thumbnails."""
    if exif is None or structure is None or structure.big or len(exif) < 8:
        return False
    try:
        (start,) = struct.unpack_from(structure.order + "I", exif, 4)
        (count,) = struct.unpack_from(structure.order + "H", exif, start)
        (following,) = struct.unpack_from(structure.order + "I", exif, start + 2 + 12 * count)
    except struct.error:
        return False
    return bool(following)


def _of_jpeg(segments: list[bytes], source: JpegSource) -> dict[str, bytes]:
    items: dict[str, bytes] = {}
    for segment in segments:
        name = _segment_name(segment)
        if name:
            items[name] = _digest(items.get(name, b"") + segment[4:])
    if THE_INDEX in items:
        items[THE_INDEX] = b""  # where the pictures lie may differ
    if trailer := source.trailer.strip(b"\0"):
        items[_trailer_name(trailer)] = _digest(trailer)
    return items


def _segment_name(segment: bytes) -> str | None:
    """What a segment is that nothing else speaks of; None for the others."""
    marker, content = segment[1], segment[4:]
    if marker == COM:
        return "the comment"
    known = {
        APP0: (b"JFIF\0",),
        APP1: (EXIF_SIGNATURE, PACKET, EXTENSION),
        APP2: (ICC_SIGNATURE, OUR_MARK),
        APP13: (PHOTOSHOP_SIGNATURE,),
        APP14: (b"Adobe",),
    }
    if content.startswith(known.get(marker, ())):
        return None
    words = next((name for start, name in SEGMENT_NAMES.items() if content.startswith(start)), None)
    return words or f"a private segment (APP{marker - APP0})"


def _trailer_name(trailer: bytes) -> str:
    if b"ftyp" in trailer[:64] or b"\0ftypmp4" in trailer or b"ftypisom" in trailer:
        return "the film of a motion photo"
    pictures = trailer.count(b"\xff\xd8\xff")
    return "further pictures behind the photo (previews, gain map)" if pictures else "data behind the photo"


def _of_png(source: PngSource) -> dict[str, bytes]:
    contents = contents_of(source)
    said = texts(entry for entry in contents if entry[0] in TEXT_CHUNKS)
    items = {
        "the comment" if keyword == COMMENT else f"text {keyword.decode('latin-1')}": _digest(content)
        for keyword, content in said
        if keyword != XMP_KEYWORD and not RAW_PROFILE.fullmatch(keyword)
    }
    for name, body in contents:
        if name not in KNOWN_CHUNKS:
            items[NAMED_CHUNKS.get(name, f"a private chunk ({name.decode('latin-1')})")] = _digest(body)
    return items


def _properties(packet: bytes | None) -> dict[str, bytes]:
    """The properties of XMP, by name."""
    if not packet:
        return {}
    try:
        return dict(_said_in(ElementTree.fromstring(packet.strip(b"\0 \t\r\n"))))
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        return {"XMP": packet}


def _said_in(root: ElementTree.Element) -> Iterator[tuple[str, bytes]]:
    """Name and content of each property; raises RecursionError for elements a thousand deep."""
    for description in root.iter(DESCRIPTION):
        for name, value in description.attrib.items():
            if name != ABOUT and not name.startswith(NOTE_SPACE):
                yield f"XMP {_short(name)}", value.encode()
        for child in description:
            if not child.tag.startswith(NOTE_SPACE):
                yield f"XMP {_short(child.tag)}", ElementTree.tostring(child).rstrip()


def _short(name: str) -> str:
    return name.rpartition("}")[2]


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()
