"""Opcodes of a DNG: corrections that its maker leaves to whoever develops it; and how to apply a gain map.

Lists are big-endian whatever the file is (DNG 1.7, chapter 7).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAIN_MAP = 9
NAMES = {
    1: "WarpRectilinear",
    2: "WarpFisheye",
    3: "FixVignetteRadial",
    4: "FixBadPixelsConstant",
    5: "FixBadPixelsList",
    6: "TrimBounds",
    7: "MapTable",
    8: "MapPolynomial",
    GAIN_MAP: "GainMap",
    10: "DeltaPerRow",
    11: "DeltaPerColumn",
    12: "ScalePerRow",
    13: "ScalePerColumn",
    14: "WarpRectilinear2",
}
VERSION = 0x01030000
OPTIONAL = 1
MOST_OPCODES = 1000


@dataclass(frozen=True)
class Opcode:
    """One correction: its number, version, flags and parameters as stored."""

    number: int
    version: int
    flags: int
    parameters: bytes

    @property
    def name(self) -> str:
        """What the specification calls it."""
        return NAMES.get(self.number, f"opcode {self.number}")


@dataclass(frozen=True)
class GainMap:
    """Factors over an area of the picture, interpolated between the points of a grid.

    `area` is top, left, bottom, right in pixels; `pitch` takes every so many rows and columns of it; `planes` are the
    first plane and their number; `spacing` and `origin` of the grid (V, H) are shares of the picture's height and
    width; `gains` is (V, H, P).
    """

    area: tuple[int, int, int, int]
    pitch: tuple[int, int]
    planes: tuple[int, int]
    spacing: tuple[float, float]
    origin: tuple[float, float]
    gains: NDArray[np.float32]

    def over(self, height: int, width: int) -> tuple[slice, slice, NDArray[np.float32]]:
        """Rows and columns of a picture (height, width) that it is for, and its factors (h, w, P) there."""
        top, left, bottom, right = self.area
        rows = slice(top, min(bottom, height), max(1, self.pitch[0]))
        columns = slice(left, min(right, width), max(1, self.pitch[1]))
        across = _places(np.arange(width)[columns], width, self.spacing[1], self.origin[1], self.gains.shape[1])
        down = _places(np.arange(height)[rows], height, self.spacing[0], self.origin[0], self.gains.shape[0])
        return rows, columns, _interpolated(self.gains, down, across)


def parse_opcodes(data: bytes) -> list[Opcode]:
    """Read a list of opcodes; what is behind the first that makes no sense is left out."""
    found: list[Opcode] = []
    if len(data) < 4:
        return found
    (count,), place = struct.unpack_from(">I", data), 4
    for _ in range(min(count, MOST_OPCODES)):
        if place + 16 > len(data):
            break
        number, version, flags, size = struct.unpack_from(">4I", data, place)
        place += 16
        if place + size > len(data):
            break
        found.append(Opcode(number, version, flags, data[place : place + size]))
        place += size
    return found


def serialise_opcodes(opcodes: list[Opcode]) -> bytes:
    """Write a list of opcodes."""
    parts = [struct.pack(">I", len(opcodes))]
    for opcode in opcodes:
        parts.append(struct.pack(">4I", opcode.number, opcode.version, opcode.flags, len(opcode.parameters)))
        parts.append(opcode.parameters)
    return b"".join(parts)


def gain_map_of(opcode: Opcode) -> GainMap | None:
    """Read the parameters of a GainMap; None where they make no sense."""
    try:
        numbers = struct.unpack_from(">10I4dI", opcode.parameters)
    except struct.error:
        return None
    down, across, depth = numbers[8], numbers[9], numbers[14]
    gains = opcode.parameters[struct.calcsize(">10I4dI") :]
    if not down or not across or not depth or len(gains) < 4 * down * across * depth:
        return None
    values = np.frombuffer(gains, ">f4", down * across * depth).reshape(down, across, depth).astype(np.float32)
    if not (np.isfinite(values).all() and (values > 0).all()):
        return None
    return GainMap(numbers[0:4], numbers[6:8], numbers[4:6], numbers[10:12], numbers[12:14], values)


def opcode_of(gain_map: GainMap) -> Opcode:
    """The opcode of a gain map, one that a reader may leave out."""
    down, across, depth = gain_map.gains.shape
    head = struct.pack(
        ">10I4dI",
        *(*gain_map.area, *gain_map.planes, *gain_map.pitch, down, across),
        *(*gain_map.spacing, *gain_map.origin, depth),
    )
    return Opcode(GAIN_MAP, VERSION, OPTIONAL, head + gain_map.gains.astype(">f4").tobytes())


def apply_gain_maps(samples: NDArray[np.float32], opcodes: list[Opcode]) -> Iterator[str]:
    """Multiply samples (H, W, P), black at 0, by all gain maps of a list, in place; give the names of other opcodes."""
    for opcode in opcodes:
        gain_map = gain_map_of(opcode) if opcode.number == GAIN_MAP else None
        if gain_map is None:
            yield opcode.name
            continue
        rows, columns, gains = gain_map.over(*samples.shape[:2])
        first, count = gain_map.planes
        for plane in range(first, min(first + count, samples.shape[2])):
            samples[rows, columns, plane] *= gains[..., min(plane - first, gains.shape[2] - 1)]


def _places(
    pixels: NDArray[np.int64], size: int, spacing: float, origin: float, points: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For pixels of a row or column: the grid point before each, and how far it is to the next (0..1)."""
    if points == 1 or not spacing > 0:
        return np.zeros(len(pixels), np.int64), np.zeros(len(pixels), np.float32)
    where = np.clip(((pixels + 0.5) / size - origin) / spacing, 0, points - 1)
    before = np.minimum(where.astype(np.int64), points - 2)
    return before, (where - before).astype(np.float32)


def _interpolated(
    gains: NDArray[np.float32],
    down: tuple[NDArray[np.int64], NDArray[np.float32]],
    across: tuple[NDArray[np.int64], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Bilinear interpolation of (V, H, P) at rows and columns."""
    (row, below), (column, right) = down, across
    next_row, next_column = np.minimum(row + 1, len(gains) - 1), np.minimum(column + 1, gains.shape[1] - 1)
    lines = gains[row] * (1 - below)[:, None, None] + gains[next_row] * below[:, None, None]
    return np.asarray(lines[:, column] * (1 - right)[:, None] + lines[:, next_column] * right[:, None], np.float32)
