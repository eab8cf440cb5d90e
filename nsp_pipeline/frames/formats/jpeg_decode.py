"""Decode the picture of a JPEG, and notice what is wrong with it.

libjpeg mends what it can and only warns; the picture may be wrong from there to its end. Its warnings, and what its
markers say of scans that are missing or overwritten with zeros, make a JPEG a damaged one.
"""

import re
import struct
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.formats.jpeg_layout import APP14, PROGRESSIVE, Layout, Scan, ends_early

COMPLAINTS = (
    (
        re.compile(r"premature end of data segment"),
        "its picture data end before the picture does, or in the midst of it",
    ),
    (
        re.compile(r"(?P<count>\d+) extraneous bytes"),
        "{count} bytes of its picture data belong to no part of the picture",
    ),
    (re.compile(r"bad Huffman code"), "its picture data hold codes that mean nothing"),
    (re.compile(r"found marker .* instead of RST"), "parts of its picture data are missing or out of order"),
    (re.compile(r"Inconsistent progression"), "the passes of its picture data contradict each other"),
)
"""What libjpeg warns of, and what that means."""
OTHER_COMPLAINT = "its picture data make no sense in places"
ZERO_RUN = bytes(96)
"""Four blocks of coefficients that are all -1, in the usual tables: an edge may make one such block."""
ZERO_SECTOR = re.compile(rb"\0{500,}")
"""Of a disk or a card: 512 bytes, less what began or ended with zeros anyway."""
BLOCK = 64


def decode(
    path: Path, data: bytes, layout: Layout, *, stored_as_rgb: bool, keep_damaged: bool
) -> tuple[NDArray[np.uint8], str | None]:
    """Decode the picture: (H, W, C) uint8, and what is wrong with it (None where nothing is).

    Raises DamagedPhotoError for a picture that is damaged, unless those are wanted, and PhotoError for one of which
    nothing can be had.
    """
    stream = _picture_alone(data, layout, stored_as_rgb)
    shape = (layout.height, layout.width, len(layout.components))
    colours = "RGB" if shape[2] == 3 else "GRAY"
    damage = _doubt_scans(data, layout)
    details = None
    pixels: NDArray[np.uint8]
    try:
        pixels = simplejpeg.decode_jpeg(stream, colours)
    except ValueError as error:
        details = f"libjpeg: {error}"
        words = f"the JPEG is damaged: {_in_words(str(error))}" if layout.end else ends_early(data)
        damage = damage or words
        if keep_damaged:
            pixels = _what_is_left(path, stream, colours)
    if damage and not keep_damaged:
        raise DamagedPhotoError(path, damage, details)
    if pixels.shape != shape:
        raise PhotoError(path, "the JPEG is damaged: its header contradicts its picture")
    return pixels, damage


def _what_is_left(path: Path, stream: bytes, colours: str) -> NDArray[np.uint8]:
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(stream, colours, strict=False)
    except ValueError as error:
        raise PhotoError(
            path, "the JPEG is damaged: nothing of its picture can be read", f"libjpeg: {error}"
        ) from error
    return pixels


def _in_words(complaint: str) -> str:
    for pattern, words in COMPLAINTS:
        if found := pattern.search(complaint):
            return words.format(**found.groupdict())
    return OTHER_COMPLAINT


def _picture_alone(data: bytes, layout: Layout, stored_as_rgb: bool) -> bytes:
    """The JPEG without its metadata, whose oddities say nothing of the picture, and with an end marker.

    What libjpeg would read from the JFIF and Adobe segments, the kind of colours, is said again.
    """
    adobe = struct.pack(">BBH5sHHHB", 0xFF, APP14, 14, b"Adobe", 100, 0, 0, 0 if stored_as_rgb else 1)
    colours = adobe if len(layout.components) == 3 else b""
    body = data[layout.scans_start : layout.end - 2] if layout.end else data[layout.scans_start :].rstrip(b"\xff")
    return b"".join((b"\xff\xd8", colours, *layout.coding, body, b"\xff\xd9"))


def _doubt_scans(data: bytes, layout: Layout) -> str | None:
    """What the scans show without being decoded."""
    if layout.end is None and (layout.process == PROGRESSIVE or _zeros_at_end(data) > BLOCK):
        return ends_early(data)
    if layout.process == PROGRESSIVE and not _is_complete(layout):
        return "the JPEG is damaged or incomplete: some passes of its picture data are missing"
    if any(_holds_zeros(data, scan) for scan in layout.scans):
        return "the JPEG is damaged: part of its picture data was overwritten with zeros"
    return None


def _holds_zeros(data: bytes, scan: Scan) -> bool:
    """Whether zeros stand in a scan where no picture puts them."""
    if not scan.zeros_are_empty:
        return data.find(ZERO_RUN, scan.start, scan.end) >= 0
    if not scan.is_pass or 0 in scan.coefficients:
        return False
    # Passes write flat picture in a few bits. Bits of finer steps may all be zero, but then throughout the picture.
    run = ZERO_SECTOR.search(data, scan.start, scan.end)
    return run is not None and data.count(0, scan.start, scan.end) < len(run[0]) + (scan.end - scan.start) // 8


def _zeros_at_end(data: bytes) -> int:
    return len(data) - len(data.rstrip(b"\0"))


def _is_complete(layout: Layout) -> bool:
    """Whether the passes of a progressive JPEG give every coefficient of every channel to its last bit."""
    missing = {(identifier, place) for identifier, *_ in layout.components for place in range(BLOCK)}
    for scan in layout.scans:
        if scan.is_last_bit:
            missing -= {(channel, place) for channel in scan.channels for place in scan.coefficients}
    return not missing
