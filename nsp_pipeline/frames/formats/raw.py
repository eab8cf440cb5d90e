"""RAW: developed by LibRaw, in a process of its own, to 16-bit sRGB with the camera's white balance."""

import re
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ImageCms

from nsp_pipeline.errors import DamagedPhotoError
from nsp_pipeline.frames.decoders.isolated import Answer, ask
from nsp_pipeline.frames.formats.jpeg import read_jpeg_exif
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.limits import size_text
from nsp_pipeline.frames.metadata.exif import ISO_SPEED_RATINGS, camera_of, read_structure, upright
from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    GPS_IFD,
    MAKE,
    MAKER_NOTE,
    MODEL,
    RESOLUTION_UNIT,
    SOFTWARE,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Entry,
    FileSlices,
    Structure,
    StructureError,
    parse,
    rational_entry,
    serialise,
    short_entry,
    text_entry,
)
from nsp_pipeline.frames.sniff import DNG_VERSION, picture_directories

DEVELOPER = "nsp_pipeline.frames.decoders.develop_raw"
DESCRIPTION, DATE_TIME, ARTIST, COPYRIGHT = 270, 306, 315, 33432
KEPT_TAGS = (
    *(DESCRIPTION, MAKE, MODEL, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, SOFTWARE, DATE_TIME, ARTIST, COPYRIGHT),
)
"""The other tags of a RAW file's main directory are about the sensor's data."""
EXPOSURE_TIME, F_NUMBER, DATE_TAKEN, FOCAL_LENGTH, COLOUR_SPACE = 33434, 33437, 36867, 37386, 40961
STALE_TAGS = (MAKER_NOTE, 40962, 40963, 41730, 40965)
"""Of the EXIF directory: what has offsets into the RAW file, or describes its sensor's pixels."""
SRGB = 1
DATA_TAGS = ((273, 279), (324, 325))
"""Offsets and lengths, of strips and of tiles."""
ICC_DATE = slice(24, 36)
COMPLAINTS = {
    "early": "the RAW file ends early: its picture is incomplete",
    "corrupt": "the RAW file is damaged: parts of its picture data make no sense",
}
COMPLAINT = re.compile(
    r"(?P<early>Premature end of JPEG file|Unexpected end of file)|(?P<corrupt>Corrupt JPEG data|data corrupted at)"
)
"""What LibRaw, and libjpeg inside it, print of a picture that they deliver all the same."""


def read_raw(path: Path, *, keep_damaged: bool = False) -> Frame:
    """Develop a RAW file; raises PhotoError as `read_frame` does."""
    damage = _missing_parts(path)
    if damage and not keep_damaged:
        raise DamagedPhotoError(path, damage)
    developed = ask(path, DEVELOPER, *(["--keep"] if keep_damaged else []))
    complaint = COMPLAINT.search(developed.words)
    damage = damage or developed.facts.get("damage") or (COMPLAINTS[complaint.lastgroup or ""] if complaint else None)
    if damage and not keep_damaged:
        raise DamagedPhotoError(path, damage, developed.words)
    structure = upright(_exif(path, developed))
    icc = _srgb_profile() if developed.pixels.shape[2] == 3 else None
    metadata = Metadata(exif=serialise(structure), icc=icc)
    return Frame(developed.pixels, None, Kind.RAW, metadata, camera_of(structure), damage)


def read_raw_camera(path: Path) -> Camera:
    """Read make, model and ISO of a RAW file that is no TIFF inside."""
    return camera_of(_exif(path, ask(path, DEVELOPER, "--camera")))


def read_raw_size(path: Path) -> tuple[int, int]:
    """Width and height of a RAW file's sensor; raises PhotoError."""
    width, height = ask(path, DEVELOPER, "--camera").facts["sensor"]
    return int(width), int(height)


def _missing_parts(path: Path) -> str | None:
    """Say so where strips or tiles of a DNG lie outside the file: LibRaw may fill them with garbage."""
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            structure = parse(content)
        except StructureError:
            return None
        if DNG_VERSION not in structure.root.entries:
            return None
        size = path.stat().st_size
        for directory in picture_directories(structure, content):
            for offsets, lengths in DATA_TAGS:
                spans = (structure.numbers(directory.entries.get(tag)) for tag in (offsets, lengths))
                if any(offset + length > size for offset, length in zip(*spans, strict=False)):
                    return f"the file ends early: {size_text(size)} of DNG, the picture is incomplete"
    return None


def _exif(path: Path, developed: Answer) -> Structure:
    """EXIF of the RAW file if it is a TIFF inside, else that of its preview, else what LibRaw reports."""
    try:
        with path.open("rb") as file:
            return _descriptive(parse(FileSlices(file)))
    except StructureError:
        pass
    if developed.extra.startswith(b"\xff\xd8\xff"):
        structure = read_structure(read_jpeg_exif(path, developed.extra))
        if structure:
            return _descriptive(structure)
    return _reported(developed.facts)


def _descriptive(structure: Structure) -> Structure:
    """Keep what describes the shot, and leave out what describes the RAW file."""
    root = structure.root
    entries = {tag: entry for tag, entry in root.entries.items() if tag in KEPT_TAGS}
    children = {tag: child for tag, child in root.children.items() if tag in (EXIF_IFD, GPS_IFD)}
    if EXIF_IFD in children:
        shot = children[EXIF_IFD].without(STALE_TAGS)
        children[EXIF_IFD] = shot.having({COLOUR_SPACE: short_entry(structure.order, SRGB)})
    return replace(structure, root=Directory(entries, children))


def _reported(shot: dict[str, Any]) -> Structure:
    entries: dict[int, Entry] = {COLOUR_SPACE: short_entry("<", SRGB)}
    numbers = ((EXPOSURE_TIME, "exposure"), (F_NUMBER, "aperture"), (FOCAL_LENGTH, "focal_length"))
    for tag, name in numbers:
        if 0 < shot[name] < 4000:
            entries[tag] = rational_entry("<", (round(shot[name] * 1_000_000), 1_000_000))
    if 0 < shot["iso"] < 65535:
        entries[ISO_SPEED_RATINGS] = short_entry("<", shot["iso"])
    if shot["taken"]:
        entries[DATE_TAKEN] = text_entry(shot["taken"])
    named = {ARTIST: text_entry(shot["artist"])} if shot["artist"] else {}
    return Structure("<", Directory(named, {EXIF_IFD: Directory(entries)}))


@cache
def _srgb_profile() -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The date of making would differ from run to run.
    profile[ICC_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)
