"""Canon's CRW: what its heap of records says of the shot (CIFF, as described by Phil Harvey's exiftool)."""

import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from nsp_pipeline.frames.metadata.ifd import Buffer, FileSlices

SIGNATURE = b"HEAPCCDR"
MAKE_MODEL, OWNER, SHOT_INFO, FOCAL_LENGTH, TAKEN = 0x080A, 0x0810, 0x102A, 0x1029, 0x180E
INSIDE = 0x4000
"""Of a record's type: its value stands in the record itself."""
HEAPS = (0x2800, 0x3000)
MOST_RECORDS, DEEPEST = 2000, 8
APERTURE, EXPOSURE_TIME = 21, 22
"""Places in the shot's record."""


def read_ciff(path: Path) -> dict[str, object]:
    """Read make, model, artist, taken, exposure, aperture and focal_length; what is not said is left out.

    Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        content = FileSlices(file)
        head = content[0:14]
        if head[6:14] != SIGNATURE or head[:2] not in (b"II", b"MM"):
            return {}
        order = "<" if head[:2] == b"II" else ">"
        (start,) = struct.unpack_from(order + "I", head, 2)
        try:
            return _facts(dict(_records(content, order, start, path.stat().st_size, 0)), order)
        except struct.error:
            return {}


def _records(content: Buffer, order: str, start: int, end: int, depth: int) -> Iterator[tuple[int, bytes]]:
    """Type and value of every record in a heap and those inside it."""
    (table,) = struct.unpack(order + "I", content[end - 4 : end])
    (count,) = struct.unpack(order + "H", content[start + table : start + table + 2])
    for number in range(min(count, MOST_RECORDS)):
        place = start + table + 2 + 10 * number
        record = content[place : place + 10]
        kind, size, offset = struct.unpack(order + "HII", record)
        if kind & 0xC000 == INSIDE:
            yield kind & 0x3FFF, record[2:]
        elif kind & 0x3800 in HEAPS and depth < DEEPEST:
            yield from _records(content, order, start + offset, start + offset + size, depth + 1)
        elif size <= 1 << 16:
            yield kind & 0x3FFF, content[start + offset : start + offset + size]


def _facts(records: dict[int, bytes], order: str) -> dict[str, object]:
    facts: dict[str, object] = {}
    names = [part.decode("ascii", "replace").strip() for part in records.get(MAKE_MODEL, b"").split(b"\0")]
    facts["make"], facts["model"] = (*names, "", "")[:2]
    facts["artist"] = records.get(OWNER, b"").split(b"\0")[0].decode("latin-1").strip()
    if len(taken := records.get(TAKEN, b"")) >= 4:
        (seconds,) = struct.unpack_from(order + "I", taken)
        facts["taken"] = datetime.fromtimestamp(seconds, UTC).strftime("%Y:%m:%d %H:%M:%S")
    shot = _shorts(records.get(SHOT_INFO, b""), order)
    if len(shot) > EXPOSURE_TIME:
        facts["aperture"] = 2 ** (_stops(shot[APERTURE]) / 2)
        facts["exposure"] = 2 ** -_stops(shot[EXPOSURE_TIME])
    focal = _shorts(records.get(FOCAL_LENGTH, b""), order)
    if len(focal) > 1:
        facts["focal_length"] = focal[1] / 32
    return {name: value for name, value in facts.items() if value}


def _shorts(data: bytes, order: str) -> tuple[int, ...]:
    return struct.unpack(f"{order}{len(data) // 2}h", data[: len(data) // 2 * 2])


def _stops(value: int) -> float:
    """Canon's stops: 32 to one, thirds written as 12 and 20."""
    whole, part = divmod(abs(value), 32)
    exact = {12: 32 / 3, 20: 64 / 3}.get(part, part)
    return math.copysign(whole + exact / 32, value)
