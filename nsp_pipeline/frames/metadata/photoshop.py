"""Photoshop's resource block, which holds IPTC (captions, keywords) in JPEG and TIFF."""

import struct
from collections.abc import Iterator

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
    return next((content for number, content, _ in _resources(resources or b"") if number == IPTC_RESOURCE), None)


def without_iptc(resources: bytes) -> bytes:
    """A resource block less its IPTC, for files that have another place for it."""
    found = list(_resources(resources))
    rest = resources[sum(len(whole) for *_, whole in found) :]
    return b"".join(whole for number, _, whole in found if number != IPTC_RESOURCE) + rest


def _resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, content and the whole of each resource, up to one that makes no sense."""
    place = 0
    while place + 12 <= len(block) and block[place : place + 4] in (RESOURCE, b"MeSa", b"PHUT"):
        (number,) = struct.unpack_from(">H", block, place + 4)
        name = 1 + block[place + 6]
        start = place + 6 + name + name % 2
        if start + 4 > len(block):
            return
        (size,) = struct.unpack_from(">I", block, start)
        end = start + 4 + size + size % 2
        yield number, block[start + 4 : start + 4 + size], block[place:end]
        place = end


def _straight(iptc: bytes) -> bytes:
    """Some programs swap the bytes of IPTC as if it were numbers of 32 bits."""
    if iptc.startswith(IPTC_START) or len(iptc) % 4 or iptc[3:4] != IPTC_START:
        return iptc
    return b"".join(iptc[place : place + 4][::-1] for place in range(0, len(iptc), 4))
