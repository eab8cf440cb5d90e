"""What a DNG wants done to its picture that LibRaw leaves undone: gain maps, baseline exposure, crop.

What cannot be done is named.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nsp_pipeline.frames.dng.opcodes import Opcode, apply_gain_maps, parse_opcodes
from nsp_pipeline.frames.dng.tags import (
    ACTIVE_AREA,
    BASELINE_EXPOSURE,
    COMPRESSION,
    DEFAULT_CROP_ORIGIN,
    DEFAULT_CROP_SIZE,
    DNG_VERSION,
    OPCODE_LIST_1,
    OPCODE_LIST_2,
    OPCODE_LIST_3,
    raw_directory,
)
from nsp_pipeline.frames.metadata.ifd import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    Entry,
    FileSlices,
    Structure,
    StructureError,
    parse,
)

if TYPE_CHECKING:
    import rawpy

LOSSY_JPEG = 34892
MOST_STOPS = 8.0
_LISTS = (OPCODE_LIST_1, OPCODE_LIST_2, OPCODE_LIST_3)


@dataclass(frozen=True)
class Corrections:
    """What a DNG asks for; nothing where the file is none.

    `exposure` is in stops. `area` is the active area (top, left, bottom, right) and `crop` the picture in it (left,
    top, width, height), both in pixels of the sensor. `before` are the opcodes for the mosaic, `after` those for the
    demosaiced picture.
    """

    exposure: float = 0.0
    area: tuple[int, int, int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    before: tuple[Opcode, ...] = ()
    after: tuple[Opcode, ...] = ()


def read_corrections(path: Path) -> Corrections:
    """Read what a RAW file asks for; raises OSError."""
    with path.open("rb") as file:
        content = FileSlices(file)
        try:
            structure = parse(content)
        except StructureError:
            return Corrections()
        if DNG_VERSION not in structure.root.entries:
            return Corrections()
        picture = raw_directory(structure, content).entries
    exposure = (*fractions(structure, structure.root.entries.get(BASELINE_EXPOSURE)), 0.0)[0]
    width, height = (structure.numbers(picture.get(tag)) for tag in (IMAGE_WIDTH, IMAGE_LENGTH))
    whole = (0, 0, height[0], width[0]) if width and height else None
    stated = structure.numbers(picture.get(ACTIVE_AREA))
    area = (stated[0], stated[1], stated[2], stated[3]) if len(stated) == 4 else whole
    # In a lossy DNG LibRaw follows the second list itself, without which its values mean nothing.
    lossy = LOSSY_JPEG in structure.numbers(picture.get(COMPRESSION))
    lists = {tag: parse_opcodes(picture[tag].data) if tag in picture else [] for tag in _LISTS}
    return Corrections(
        exposure=exposure if abs(exposure) <= MOST_STOPS else 0.0,
        area=area,
        crop=_crop(structure, picture, area) if area else None,
        before=tuple(lists[OPCODE_LIST_1] + ([] if lossy else lists[OPCODE_LIST_2])),
        after=tuple(lists[OPCODE_LIST_3]),
    )


def correct(raw: "rawpy.RawPy", corrections: Corrections) -> list[str]:
    """Apply to an opened RAW file what must be applied before demosaicing; gives the names of what was not."""
    if not corrections.before or corrections.area is None:
        return [opcode.name for opcode in corrections.before]
    top, left, bottom, right = corrections.area
    stored = raw.raw_image[top:bottom, left:right]
    black = np.array(raw.black_level_per_channel, np.float32)
    if stored.ndim == 2:
        colours = raw.raw_colors[top:bottom, left:right]
        levels = black[np.minimum(colours, len(black) - 1)][..., None]
    else:
        levels = black[: stored.shape[2]]
    values = stored.reshape(*stored.shape[:2], -1).astype(np.float32)
    full = values >= raw.white_level
    signal = values - levels
    names = list(apply_gain_maps(signal, list(corrections.before)))
    # Where the sensor was full nothing is known, and a smaller factor would tint what is white.
    corrected = np.where(full, values, np.clip(np.rint(signal + levels), 0, raw.white_level))
    stored[...] = corrected.astype(np.uint16).reshape(stored.shape)
    return names


def fractions(structure: Structure, entry: Entry | None) -> tuple[float, ...]:
    """The values of an entry of fractions, signed or not, or integers; none for anything else, or where one is 0/0."""
    if entry is None:
        return ()
    if entry.type in (5, 10):
        parts = struct.unpack(f"{structure.order}{2 * entry.count}{'I' if entry.type == 5 else 'i'}", entry.data)
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        return tuple(above / below for above, below in pairs) if all(below for _, below in pairs) else ()
    return tuple(map(float, structure.numbers(entry)))


def _crop(
    structure: Structure, picture: Mapping[int, Entry], area: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    origin, size = (fractions(structure, picture.get(tag)) for tag in (DEFAULT_CROP_ORIGIN, DEFAULT_CROP_SIZE))
    if len(size) != 2 or len(origin) != 2:
        return None
    left, top, width, height = (round(value) for value in (*origin, *size))
    if not (0 <= left < left + width <= area[3] - area[1] and 0 <= top < top + height <= area[2] - area[0]):
        return None
    return area[1] + left, area[0] + top, width, height
