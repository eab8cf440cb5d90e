"""What EXIF says of the camera, and the few changes that we make to EXIF."""

import struct
from collections.abc import Iterable
from dataclasses import replace

from nsp_pipeline.frames.frame import Camera, Metadata
from nsp_pipeline.frames.metadata.ifd import (
    CLASSIC,
    EXIF_IFD,
    LONG,
    MAKE,
    MAKER_NOTE,
    MODEL,
    ORIENTATION,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Entry,
    Structure,
    StructureError,
    parse,
    pinned_entry,
    rational_entry,
    repinned,
    serialise,
    short_entry,
)

ISO_SPEED_RATINGS = 34855
OTHER_ISO_TAGS = (34866, 34867, 34865)
"""Recommended exposure index, ISO speed, standard output sensitivity: they hold what 16 bits cannot."""
ISO_OVERFLOW = 65535
HIGHEST_ISO = 10_000_000
"""No camera goes higher: a greater number stands for something else."""
PIXEL_WIDTH, PIXEL_HEIGHT = 40962, 40963
INCH, CENTIMETRE = 2, 3
SELF_CONTAINED = (
    b"Nikon\0\2",
    b"OLYMPUS\0",
    b"OM SYSTEM\0",
    b"FUJIFILM",
    b"PENTAX \0",
    b"Apple iOS\0",
    b"STMN",
    b"HDRP",
)
"""How MakerNotes begin that are true wherever they lie: offsets count from their own beginning, or there are none."""
FARTHEST_NOTE = 1 << 20
"""Embedded EXIF has zeros up to where a MakerNote must lie: those of a TIFF may lie behind 100 MB of pixels."""
METRES_PER_UNIT = {INCH: 0.0254, CENTIMETRE: 0.01}


def read_structure(exif: bytes | None) -> Structure | None:
    """Parse EXIF; None where there is none, or where it is damaged beyond reading."""
    if not exif:
        return None
    try:
        return parse(exif)
    except StructureError:
        return None


def structure_of(metadata: Metadata) -> Structure | None:
    """Parse a photo's EXIF, its MakerNote pinned to where it lay in the photo's file; None where there is none."""
    structure = read_structure(metadata.exif)
    if structure is None or metadata.maker_note_at is None:
        return structure
    return replace(structure, root=repinned(structure.root, metadata.maker_note_at))


def with_structure(metadata: Metadata, structure: Structure | None) -> Metadata:
    """Put other EXIF in the place of a photo's; where its MakerNote must lie is remembered beside it."""
    note = pinned_entry(structure.root) if structure else None
    exif = serialise(replace(structure, root=repinned(structure.root, None))) if structure else None
    return replace(metadata, exif=exif, maker_note_at=note.pinned if note else None)


def camera_of(structure: Structure | None) -> Camera:
    """Read make, model and ISO."""
    if structure is None:
        return Camera()
    root = structure.root
    shot = root.children.get(EXIF_IFD, Directory())
    iso = None
    for entries in (shot.entries, root.entries):
        for tag in (ISO_SPEED_RATINGS, *OTHER_ISO_TAGS):
            values = structure.numbers(entries.get(tag))
            if iso is None and values and 0 < values[0] <= HIGHEST_ISO and values[0] != ISO_OVERFLOW:
                iso = values[0]
    return Camera(structure.text(root.entries.get(MAKE)), structure.text(root.entries.get(MODEL)), iso)


def shot_size_of(structure: Structure | None) -> tuple[int, int] | None:
    """Read the width and height that the camera says it made."""
    if structure is None:
        return None
    entries = structure.root.children.get(EXIF_IFD, Directory()).entries
    across, down = (structure.numbers(entries.get(tag)) for tag in (PIXEL_WIDTH, PIXEL_HEIGHT))
    return (across[0], down[0]) if across and down else None


def upright(structure: Structure) -> Structure:
    """Set the orientation to normal, for pixels that were turned upright."""
    return replace(structure, root=structure.root.having({ORIENTATION: short_entry(structure.order, 1)}))


def resolution_of(structure: Structure | None) -> tuple[float, float] | None:
    """Dots per metre across and down, where EXIF states them in inches or centimetres."""
    if structure is None:
        return None
    entries = structure.root.entries
    unit = (structure.numbers(entries.get(RESOLUTION_UNIT)) or (INCH,))[0]
    dots = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = entries.get(tag)
        if entry is None or len(entry.data) != 8 or unit not in METRES_PER_UNIT:
            return None
        numerator, denominator = struct.unpack(structure.order + "II", entry.data)
        if not numerator or not denominator:
            return None
        dots.append(numerator / denominator / METRES_PER_UNIT[unit])
    return dots[0], dots[1]


def with_resolution(structure: Structure | None, dots_per_metre: tuple[float, float] | None) -> Structure | None:
    """Add a resolution to EXIF (made anew where there is none) unless it has one."""
    if dots_per_metre is None or (structure and X_RESOLUTION in structure.root.entries):
        return structure
    structure = structure or Structure("<", Directory())
    order = structure.order
    across, down = (rational_entry(order, (round(dots * 2.54), 100)) for dots in dots_per_metre)
    inch = short_entry(order, INCH)
    entries = {X_RESOLUTION: across, Y_RESOLUTION: down, RESOLUTION_UNIT: inch}
    return replace(structure, root=structure.root.having(entries))


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """Correct what EXIF says of the picture's size, in place, so that everything else stays where it is."""
    changed = bytearray(exif)
    try:
        structure = parse(exif)
        order = structure.order
        start = struct.unpack_from(order + "I", exif, 4)[0]
        pointer = _row(exif, order, start, EXIF_IFD)
        shot = struct.unpack_from(order + "I", exif, pointer + 8)[0] if pointer else 0
        for tag, size in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if pointer and (row := _row(exif, order, shot, tag)):
                struct.pack_into(order + "HII", changed, row + 2, LONG, 1, size)
    except (StructureError, struct.error):
        return exif
    return bytes(changed)


def _row(exif: bytes, order: str, start: int, tag: int) -> int | None:
    """Where the 12 bytes of a tag stand in the directory at `start`."""
    (count,) = struct.unpack_from(order + "H", exif, start)
    rows = range(start + 2, start + 2 + 12 * count, 12)
    return next((row for row in rows if struct.unpack_from(order + "H", exif, row)[0] == tag), None)


def embeddable(metadata: Metadata, limit: int, unwanted: Iterable[int]) -> bytes | None:
    """A photo's EXIF for another kind of file, without some tags of its main directory, in `limit` bytes at most.

    Byte for byte where nothing has to change, else see `fitted`; None where there is none.
    """
    structure = structure_of(metadata)
    if structure is None:
        return None
    lean = structure.root.without(unwanted)
    as_it_is = metadata.maker_note_at is None and lean == structure.root and structure.magic == CLASSIC
    if as_it_is and metadata.exif and len(metadata.exif) <= limit:
        return metadata.exif
    return fitted(Structure(structure.order, lean), limit)


def fitted(structure: Structure, limit: int) -> bytes:
    """Serialise EXIF into at most `limit` bytes.

    A MakerNote that would have to move for that, or needs a megabyte of zeros before it, is left out, unless its
    offsets count from its own beginning; so are the largest entries where all together are too large.
    """
    note = pinned_entry(structure.root)
    if note and (note.pinned or 0) + len(note.data) > min(limit, FARTHEST_NOTE):
        lean = repinned(structure.root, None)
        structure = replace(structure, root=lean if note.data.startswith(SELF_CONTAINED) else without_maker_note(lean))
    while len(blob := serialise(structure)) > limit:
        structure = replace(structure, root=_without_largest(structure.root))
    return blob


def without_maker_note(directory: Directory) -> Directory:
    """Return a copy of a directory, and of those below it, that lacks the MakerNote."""
    children = {tag: without_maker_note(child) for tag, child in directory.children.items()}
    return Directory(directory.without([MAKER_NOTE]).entries, children)


def _without_largest(root: Directory) -> Directory:
    inside = {tag: max(map(_size, child.entries.values()), default=0) for tag, child in root.children.items()}
    fattest = max(inside, key=lambda tag: inside[tag], default=None)
    if fattest is not None and inside[fattest] >= max(map(_size, root.entries.values()), default=0):
        slimmer = _without_largest(replace(root.children[fattest], children={}))
        return replace(root, children={**root.children, fattest: slimmer})
    return root.without([max(root.entries, key=lambda tag: _size(root.entries[tag]))])


def _size(entry: Entry) -> int:
    return len(entry.data)
