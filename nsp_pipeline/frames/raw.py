"""RAW: developed by LibRaw, in a process of its own, to 16-bit sRGB with the camera's white balance."""

import json
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.exif import ISO_SPEED_RATINGS, camera_of, read_structure, upright
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.ifd import (
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
from nsp_pipeline.frames.jpeg import read_jpeg_exif
from nsp_pipeline.frames.limits import size_text
from nsp_pipeline.frames.sniff import DNG_VERSION, picture_directories

DEVELOPER = Path(__file__).with_name("develop.py")
LONGEST_DEVELOPMENT = 600.0
"""Seconds after which LibRaw is taken to hang."""
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


@dataclass(frozen=True)
class Developed:
    """What the developing process delivers: pixels (H, W, C) uint16, and what else LibRaw found."""

    pixels: NDArray[np.uint16]
    preview: bytes
    shot: dict[str, Any]


def read_raw(path: Path) -> Frame:
    """Develop a RAW file; raises PhotoError."""
    _check_whole(path)
    developed = _develop(path)
    structure = upright(_exif(path, developed))
    icc = _srgb_profile() if developed.pixels.shape[2] == 3 else None
    return Frame(developed.pixels, None, Kind.RAW, Metadata(exif=serialise(structure), icc=icc), camera_of(structure))


def read_raw_camera(path: Path) -> Camera:
    """Read make, model and ISO of a RAW file that is no TIFF inside."""
    return camera_of(_exif(path, _develop(path, "--camera")))


def _check_whole(path: Path) -> None:
    """Raise PhotoError for a DNG whose strips or tiles lie outside the file: LibRaw may fill them with garbage."""
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            structure = parse(content)
        except StructureError:
            return
        if DNG_VERSION not in structure.root.entries:
            return
        size = path.stat().st_size
        for directory in picture_directories(structure, content):
            for offsets, lengths in DATA_TAGS:
                spans = (structure.numbers(directory.entries.get(tag)) for tag in (offsets, lengths))
                if any(offset + length > size for offset, length in zip(*spans, strict=False)):
                    raise PhotoError(path, f"the file ends early: {size_text(size)} of DNG, the picture is incomplete")


def _develop(path: Path, *options: str) -> Developed:
    # -P: the folder of this package must not stand in for other packages.
    command = [sys.executable, "-P", str(DEVELOPER), str(path.resolve()), *options]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=silent, stdout=subprocess.PIPE, stderr=silent) as process:
        timer = Timer(LONGEST_DEVELOPMENT, process.kill)
        timer.start()
        try:
            return _received(path, process)
        finally:
            timer.cancel()
            process.kill()


def _received(path: Path, process: "subprocess.Popen[bytes]") -> Developed:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise PhotoError(path, f"LibRaw fails on this RAW file (it ended with code {process.wait()})")
    header = json.loads(line)
    if header.get("refused"):
        raise PhotoError(path, header["refused"])
    preview = process.stdout.read(header["preview"])
    pixels = np.empty(header["shape"], np.uint16)
    flat = pixels.reshape(-1).view(np.uint8)
    filled = 0
    while filled < len(flat):
        count = process.stdout.readinto(flat[filled:].data)  # type: ignore[attr-defined]
        if not count:
            raise PhotoError(path, "LibRaw fails on this RAW file while it delivers the picture")
        filled += count
    return Developed(pixels, preview, header)


def _exif(path: Path, developed: Developed) -> Structure:
    """EXIF of the RAW file if it is a TIFF inside, else that of its preview, else what LibRaw reports."""
    try:
        with path.open("rb") as file:
            return _descriptive(parse(FileSlices(file)))
    except StructureError:
        pass
    if developed.preview.startswith(b"\xff\xd8\xff"):
        structure = read_structure(read_jpeg_exif(path, developed.preview))
        if structure:
            return _descriptive(structure)
    return _reported(developed.shot)


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
