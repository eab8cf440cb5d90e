"""Photoshop's resource block, which holds IPTC (captions, keywords) in JPEG and TIFF."""

import struct

from nsp_pipeline.frames.metadata.ifd import IPTC, PHOTOSHOP_RESOURCES, Directory

RESOURCE, IPTC_RESOURCE = b"8BIM", 0x0404
IPTC_START = b"\x1c"
"""How every record of IPTC begins."""


def resources_of(root: Directory) -> bytes | None:
    """The resource block that tags hold, with the IPTC that stands in a tag of its own; None where there is neither."""
    held = [root.entries[tag].data if tag in root.entries else b"" for tag in (PHOTOSHOP_RESOURCES, IPTC)]
    return with_iptc(held[0], _straight(held[1])) or None


def with_iptc(resources: bytes, iptc: bytes) -> bytes:
    """A resource block that holds this IPTC, unless it has IPTC already."""
    iptc = iptc.rstrip(b"\0")
    if not iptc or struct.pack(">4sH", RESOURCE, IPTC_RESOURCE) in resources:
        return resources
    block = struct.pack(">4sHHI", RESOURCE, IPTC_RESOURCE, 0, len(iptc)) + iptc
    return resources + b"\0" * (len(resources) % 2) + block + b"\0" * (len(iptc) % 2)


def iptc_of(resources: bytes | None) -> bytes | None:
    """The IPTC that a resource block holds; None where there is none, or the block is damaged."""
    place = 0
    while resources and place + 12 <= len(resources) and resources[place : place + 4] in (RESOURCE, b"MeSa", b"PHUT"):
        (number,) = struct.unpack_from(">H", resources, place + 4)
        name = 1 + resources[place + 6]
        start = place + 6 + name + name % 2
        if start + 4 > len(resources):
            return None
        (size,) = struct.unpack_from(">I", resources, start)
        if number == IPTC_RESOURCE:
            return resources[start + 4 : start + 4 + size]
        place = start + 4 + size + size % 2
    return None


def _straight(iptc: bytes) -> bytes:
    """Some programs swap the bytes of IPTC as if it were numbers of 32 bits."""
    if iptc.startswith(IPTC_START) or len(iptc) % 4 or iptc[3:4] != IPTC_START:
        return iptc
    return b"".join(iptc[place : place + 4][::-1] for place in range(0, len(iptc), 4))
