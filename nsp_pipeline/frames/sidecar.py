"""Sidecars: `photo.xmp` and `photo.jpg.xmp`, in which raw developers and photo managers keep ratings and keywords.

They go along with the photo. What they say of it is also put into a photo that says nothing of the kind itself.
Settings for developing are left out there, and in the sidecar of a photo that was RAW: they would be applied twice.
"""

import errno
import os
import struct
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from nsp_pipeline.frames.find import SIDECAR_SUFFIX
from nsp_pipeline.frames.formats.jpeg_layout import APP0, APP1
from nsp_pipeline.frames.formats.jpeg_segments import EXIF_SIGNATURE, LONGEST_PAYLOAD, segments_of
from nsp_pipeline.frames.formats.png_metadata import XMP_KEYWORD, chunk
from nsp_pipeline.frames.frame import Frame, JpegSource, PngSource
from nsp_pipeline.frames.metadata import xmp

LONGEST = 16 << 20
SPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "cc": "http://creativecommons.org/ns#",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "acdsee": "http://ns.acdsee.com/iptc/1.0/",
}
"""Vocabularies that describe a photo; others are about developing it, or about a file and its history."""
OF_A_FILE = {
    *(
        f"{{{SPACES['xmp']}}}{name}"
        for name in ("CreateDate", "ModifyDate", "MetadataDate", "CreatorTool", "Thumbnails")
    ),
    *(f"{{{SPACES['photoshop']}}}{name}" for name in ("ColorMode", "ICCProfile", "History", "DocumentAncestors")),
    f"{{{SPACES['dc']}}}format",
}
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DESCRIPTION, ABOUT = f"{{{RDF}}}Description", f"{{{RDF}}}about"
for _prefix, _space in {**SPACES, "rdf": RDF, "x": "adobe:ns:meta/"}.items():
    ElementTree.register_namespace(_prefix, _space)


def sidecars_of(photo: Path, output: Path) -> list[tuple[Path, Path]]:
    """The sidecars that lie beside a photo, and where those of its output belong."""
    pairs = [(photo.name, output.name), (photo.stem, output.stem)]
    found = []
    for own, theirs in dict(pairs).items():
        for suffix in (SIDECAR_SUFFIX, SIDECAR_SUFFIX.upper()):
            path = photo.with_name(own + suffix)
            if _is_there(path):
                found.append((path, output.with_name(theirs + suffix)))
                break
    return found


class SidecarNames:
    """The names of sidecars by folder, each folder listed once: of thousands of photos few have one."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str] | None] = {}

    def may_have(self, photo: Path) -> bool:
        """Whether a photo had a sidecar when its folder was first looked at; True where it may not be listed."""
        folder = photo.parent
        if folder not in self._names:
            self._names[folder] = _sidecar_names(folder)
        names = self._names[folder]
        if not names:
            return names is None
        return any((own + SIDECAR_SUFFIX).lower() in names for own in (photo.name, photo.stem))


def _sidecar_names(folder: Path) -> frozenset[str] | None:
    try:
        with os.scandir(folder) as listing:
            names = (entry.name.lower() for entry in listing)
            return frozenset(name for name in names if name.endswith(SIDECAR_SUFFIX))
    except OSError:
        return None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # a photo's name may be as long as the disk allows


def read_sidecar(path: Path) -> bytes:
    """The content of a sidecar; raises OSError, also where it is larger than 16 MB."""
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise OSError(errno.EFBIG, f"larger than {LONGEST >> 20} MB")
    return content


def description_of(packet: bytes, known: bytes | None = None) -> bytes | None:
    """A packet with what another says of the photo, without what a third (`known`) says; None if nothing is left."""
    found, there = _described(packet), _described(known) if known else None
    if found is None or (known and there is None):
        return None
    names = {*there.attrib, *(child.tag for child in there)} if there is not None else set()
    names -= {ABOUT}
    for name in names & found.attrib.keys():
        del found.attrib[name]
    for child in [child for child in found if child.tag in names]:
        found.remove(child)
    if len(found) == 0 and set(found.attrib) <= {ABOUT}:
        return None
    whole = ElementTree.Element("{adobe:ns:meta/}xmpmeta")
    ElementTree.SubElement(whole, f"{{{RDF}}}RDF").append(found)
    try:
        return ElementTree.tostring(whole)
    except RecursionError:
        return None  # elements a thousand deep describe no photo


def _described(packet: bytes) -> ElementTree.Element | None:
    """One description with all that a packet says of the photo; None where it is no XMP."""
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \t\r\n"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    one = ElementTree.Element(DESCRIPTION, {ABOUT: ""})
    for rdf in root.iter(f"{{{RDF}}}RDF"):
        for description in rdf.findall(DESCRIPTION):
            one.attrib.update({name: value for name, value in description.attrib.items() if _describes(name)})
            one.extend(child for child in description if _describes(child.tag))
    return one


def _describes(name: str) -> bool:
    return name[1:].partition("}")[0] in SPACES.values() and name not in OF_A_FILE


def with_sidecar(frame: Frame, packet: bytes) -> Frame:
    """The photo with what a sidecar says of it and it does not say itself."""
    own = frame.metadata.xmp
    added = description_of(packet, own)
    if added is None:
        return frame
    whole: bytes | None = added
    if own is not None:
        inside = xmp.RDF.search(added)
        whole = xmp.with_descriptions(own, inside[2]) if inside else None
    if whole is None:
        return frame
    source = frame.metadata.source
    if isinstance(source, JpegSource):
        source = replace(source, segments=_with_packet(segments_of(source), whole))
    elif isinstance(source, PngSource):
        keep = [
            tuple(part for part in parts if not (part[4:8] == b"iTXt" and part[8:].startswith(XMP_KEYWORD + b"\0")))
            for parts in (source.before, source.after)
        ]
        source = PngSource((*keep[0], chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + whole)), keep[1])
    return replace(frame, metadata=replace(frame.metadata, xmp=whole, source=source))


def _with_packet(segments: list[bytes], packet: bytes) -> bytes:
    """Segments of a JPEG with another XMP packet, behind EXIF; what was extended stays so."""
    main, parts = xmp.split(packet, LONGEST_PAYLOAD - len(xmp.PACKET))
    if parts:
        return b"".join(segments)  # two extensions cannot stand side by side, and no photo manager needs so much
    payload = xmp.PACKET + main
    new = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    old = next((n for n, part in enumerate(segments) if part[1] == APP1 and part.startswith(xmp.PACKET, 4)), None)
    if old is not None:
        return b"".join((*segments[:old], new, *segments[old + 1 :]))
    place = 0
    while place < len(segments) and (
        segments[place][1] == APP0 or (segments[place][1] == APP1 and segments[place].startswith(EXIF_SIGNATURE, 4))
    ):
        place += 1
    return b"".join((*segments[:place], new, *segments[place:]))
