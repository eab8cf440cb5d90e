"""RAW: developed by LibRaw, in a process of its own, or demosaiced only, to be stored as DNG."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nsp_pipeline.errors import DamagedPhotoError, DecoderFailedError, PhotoError
from nsp_pipeline.frames.decoders.isolated import Answer, ask
from nsp_pipeline.frames.development import CAMERA_RGB, DEVELOPED, MOSAIC, Development
from nsp_pipeline.frames.dng.colour import colour_tags, lens_tags, seen, to_srgb
from nsp_pipeline.frames.dng.corrections import read_corrections
from nsp_pipeline.frames.dng.mosaic import packed
from nsp_pipeline.frames.dng.tags import raw_directory
from nsp_pipeline.frames.dng.unreadable import COMPLAINT, COMPLAINTS, unreadable
from nsp_pipeline.frames.formats.raw.exif import RawExif, maker_note_of, read_raw_exif
from nsp_pipeline.frames.formats.raw.icc_spaces import profile_of
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata, RawSource
from nsp_pipeline.frames.limits import size_text
from nsp_pipeline.frames.metadata.exif import camera_of, upright, with_structure
from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    ORIENTATION,
    RESOLUTION_UNIT,
    UNDEFINED,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Entry,
    FileSlices,
    Structure,
    StructureError,
    parse,
    rational_entry,
    short_entry,
)
from nsp_pipeline.frames.sniff import DNG_VERSION, picture_directories
from nsp_pipeline.machine.disk_array import Allocate

DEVELOPER = "nsp_pipeline.frames.decoders.develop_raw"
COLOUR_SPACE, SRGB, UNCALIBRATED = 40961, 1, 65535
VERSIONS = {36864: Entry(UNDEFINED, b"0230"), 40960: Entry(UNDEFINED, b"0100")}
"""Of EXIF and FlashPix."""
UNKNOWN_RESOLUTION, INCHES = (72, 1), 2
"""What EXIF has written where nobody knows better."""
DATA_TAGS = ((273, 279), (324, 325))
"""Offsets and lengths, of strips and of tiles."""
ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""TIFF's code for LibRaw's flips."""


def read_raw(
    path: Path, *, keep_damaged: bool = False, development: Development = DEVELOPED, allocate: Allocate = np.zeros
) -> Frame:
    """Develop a RAW file, its pixels into arrays of `allocate`; raises PhotoError as `read_frame` does."""
    damage = _missing_parts(path)
    if damage and not keep_damaged:
        raise DamagedPhotoError(path, damage)
    developed = _developed(path, keep_damaged, development, allocate)
    complaint = COMPLAINT.search(developed.words)
    damage = damage or developed.facts.get("damage") or (COMPLAINTS[complaint.lastgroup or ""] if complaint else None)
    if damage and not keep_damaged:
        raise DamagedPhotoError(path, damage, developed.words)
    exif = read_raw_exif(path, developed.facts, developed.extra)
    if development.colour_space == MOSAIC or (development.colour_space == CAMERA_RGB and developed.facts["gains"]):
        return _undeveloped(path, developed, exif, damage)
    if development.colour_space == CAMERA_RGB:
        development = DEVELOPED
    structure = _with_colour_space(upright(exif.structure), development.colour_space)
    icc = profile_of(development.colour_space) if developed.pixels.shape[2] == 3 else None
    left_out = _left_out(exif, _corrections_left(path, developed.facts))
    source = RawSource(linear=development.colour_space == "rec2020")
    metadata = with_structure(Metadata(None, icc, exif.xmp, source, left_out=left_out), structure)
    return Frame(developed.pixels, None, Kind.RAW, metadata, camera_of(structure), damage)


def read_raw_camera(path: Path) -> Camera:
    """Read make, model and ISO of a RAW file that is no TIFF inside."""
    answer = ask(path, DEVELOPER, "--camera")
    return camera_of(read_raw_exif(path, answer.facts, answer.extra).structure)


def read_raw_size(path: Path) -> tuple[int, int]:
    """Width and height of a RAW file's sensor; raises PhotoError."""
    width, height = ask(path, DEVELOPER, "--camera").facts["sensor"]
    return int(width), int(height)


def _developed(path: Path, keep_damaged: bool, development: Development, allocate: Allocate) -> Answer:
    """LibRaw's answer; where it cannot read the file, with the real reason."""
    arguments = ["--keep"] if keep_damaged else []
    if development != DEVELOPED:
        arguments += ["--as", json.dumps(development.as_json())]
    if reason := unreadable(path, certain=True):
        raise PhotoError(path, reason)
    try:
        return ask(path, DEVELOPER, *arguments, allocate=allocate)
    except (DamagedPhotoError, DecoderFailedError):
        raise
    except PhotoError as error:
        if error.details and error.details.startswith("LibRaw:") and (reason := unreadable(path, certain=False)):
            raise PhotoError(path, reason, error.details) from error
        raise


def _undeveloped(path: Path, developed: Answer, exif: RawExif, damage: str | None) -> Frame:
    """A frame in the sensor's own colours, for a DNG: float32 on sRGB's curve, white-balanced, not turned."""
    facts = developed.facts
    orientation = ORIENTATIONS[facts["flip"] & 7]
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            raw_structure = parse(content)
            picture = raw_directory(raw_structure, content)
        except StructureError:
            raw_structure, picture = None, Directory()
    if raw_structure and DNG_VERSION not in raw_structure.root.entries:
        raw_structure = None
    structure = replace(
        exif.structure,
        root=exif.structure.root.having({ORIENTATION: short_entry(exif.structure.order, orientation)}),
    )
    note = maker_note_of(path)
    cell = facts.get("mosaic")
    gains, pedestal = (cell["gains"], cell["pedestal"]) if cell else (facts["gains"], facts["pedestal"])
    tags = colour_tags(structure, raw_structure, {**facts, "gains": gains})
    matrix = to_srgb(Structure(structure.order, Directory(tags))) if len(gains) > 1 else ()
    source = RawSource(
        gains=tuple(gains),
        pedestal=pedestal,
        mosaic=tuple(cell["colours"]) if cell else (),
        mosaic_size=developed.pixels.shape[:2] if cell else (0, 0),
        orientation=orientation,
        crop=tuple(facts["crop"]) if facts["crop"] else None,
        light=None if cell else developed.pixels,
        to_srgb=tuple(tuple(map(float, row)) for row in matrix),
        tags=_plain(tags),
        lens=_plain(lens_tags(raw_structure, picture)),
        maker_note=(note[0], (note[1].type, note[1].data)) if note else None,
    )
    light = developed.pixels
    pixels = packed(light[..., 0], source, cell["black"], cell["white"]) if cell else seen(light, source)
    left_out = _left_out(exif, facts["left_out"])
    metadata = with_structure(Metadata(None, None, exif.xmp, source, left_out=left_out), structure)
    return Frame(pixels, None, Kind.RAW, metadata, camera_of(structure), damage)


def _plain(entries: Mapping[int, Entry]) -> dict[int, tuple[int, bytes]]:
    return {tag: (entry.type, entry.data) for tag, entry in entries.items()}


def _with_colour_space(structure: Structure, space: str) -> Structure:
    """EXIF that states the colour space, and what the standard wants every file to state."""
    order, root = structure.order, structure.root
    code = short_entry(order, SRGB if space == "srgb" else UNCALIBRATED)
    dots = rational_entry(order, UNKNOWN_RESOLUTION)
    resolution = {X_RESOLUTION: dots, Y_RESOLUTION: dots, RESOLUTION_UNIT: short_entry(order, INCHES)}
    known = root.entries if X_RESOLUTION in root.entries else {**root.entries, **resolution}
    shot = root.children.get(EXIF_IFD, Directory())
    shot = replace(shot, entries={**VERSIONS, **shot.entries, COLOUR_SPACE: code})
    return replace(structure, root=Directory(known, {**root.children, EXIF_IFD: shot}))


def _left_out(exif: RawExif, corrections: Iterable[str]) -> tuple[str, ...]:
    return (*exif.left_out, *(f"{name} (a correction of the picture)" for name in corrections))


def _corrections_left(path: Path, facts: Mapping[str, Any]) -> list[str]:
    """Names of the corrections that the file asks for and that were not made."""
    return [*facts["left_out"], *(opcode.name for opcode in read_corrections(path).after)]


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
