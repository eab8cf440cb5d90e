"""XMP packets: joined where a JPEG had to split them, split where a JPEG cannot hold them whole, and added to."""

import re
from hashlib import md5

PACKET = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
GUID_LENGTH = 32
PART_HEAD = GUID_LENGTH + 8
"""Bytes before each part of an extended packet: its GUID, its whole length, the part's place in it."""
LONGEST_PART = 65000
LONGEST_WHOLE = 64 << 20
HAS_EXTENDED = re.compile(
    rb"""\s+[\w.-]+:HasExtendedXMP\s*=\s*["']([0-9A-Fa-f]{32})["']|<([\w.-]+:HasExtendedXMP)>([0-9A-Fa-f]{32})</\2>"""
)
RDF = re.compile(rb"<([\w.-]+):RDF\b[^>]*?(?<!/)>(.*)</\1:RDF\s*>", re.DOTALL)
WRAPPER = re.compile(rb"<\?xpacket\b[^>]*\?>\s*")
STUB = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="%s"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def joined(packet: bytes | None, parts: list[bytes]) -> tuple[bytes | None, bool]:
    """A packet with what its extension holds, and whether that could be had.

    Args:
        packet: the main packet of a JPEG.
        parts: what its segments of extended XMP hold behind their signature.
    """
    if packet is None or not parts:
        return packet, not parts
    named = HAS_EXTENDED.search(packet)
    extension = _assembled(parts, (named[1] or named[3]).upper()) if named else None
    ours, theirs = RDF.search(packet), RDF.search(extension or b"")
    if named is None or ours is None or theirs is None or ours[1] != theirs[1]:
        return packet, False
    whole = packet[: ours.end(2)] + _namespaced(theirs, ours) + packet[ours.end(2) :]
    return HAS_EXTENDED.sub(b"", whole, count=1), True


def _namespaced(theirs: "re.Match[bytes]", ours: "re.Match[bytes]") -> bytes:
    """The descriptions of one packet, with the namespaces that its RDF element alone declares put on each."""
    head = theirs.string[theirs.start() : theirs.start(2)]
    known = ours.string[: ours.start(2)]
    wanted = [
        declared[0]
        for declared in re.finditer(rb"""\sxmlns:[\w.-]+\s*=\s*(?:"[^"]*"|'[^']*')""", head)
        if declared[0].strip() not in known
    ]
    opening = b"<" + theirs[1] + b":Description"
    return re.sub(re.escape(opening) + rb"\b", lambda _: opening + b"".join(wanted), theirs[2])


def _assembled(parts: list[bytes], guid: bytes) -> bytes | None:
    """An extended packet from its parts; None where one is missing."""
    mine = [part for part in parts if part[:GUID_LENGTH].upper() == guid and len(part) > PART_HEAD]
    if not mine:
        return None
    size = int.from_bytes(mine[0][GUID_LENGTH : GUID_LENGTH + 4])
    if size > LONGEST_WHOLE:
        return None
    whole, filled = bytearray(size), 0
    for part in mine:
        place, content = int.from_bytes(part[GUID_LENGTH + 4 : PART_HEAD]), part[PART_HEAD:]
        whole[place : place + len(content)] = content
        filled += len(content)
    return bytes(whole) if filled == size == len(whole) else None


def split(packet: bytes, limit: int) -> tuple[bytes, list[bytes]]:
    """A packet of at most `limit` bytes that stands for a longer one, and the parts of its extension, heads included.

    No parts where the packet is short enough as it is.
    """
    if len(packet) <= limit:
        return packet, []
    bare = WRAPPER.sub(b"", packet).strip()
    if len(bare) <= limit:
        return bare, []
    guid = md5(bare, usedforsecurity=False).hexdigest().upper().encode()
    parts = [
        guid + len(bare).to_bytes(4) + place.to_bytes(4) + bare[place : place + LONGEST_PART]
        for place in range(0, len(bare), LONGEST_PART)
    ]
    return STUB % guid, parts


def with_descriptions(packet: bytes, descriptions: bytes) -> bytes | None:
    """A packet with more `rdf:Description` elements in it; None for one without an RDF element to put them in."""
    found = RDF.search(packet)
    if found is None or found[1] != b"rdf":
        return None
    return packet[: found.end(2)] + descriptions + packet[found.end(2) :]
