"""What an ICC profile says of brightness: its curve from stored values to light."""

import struct
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.colour.curves import LINEAR, Curve, Parametric, Table
from nsp_pipeline.frames.colour.make_profile import Primaries

CURVE_TAGS = (b"gTRC", b"kTRC", b"rTRC")
"""Green's is the one that brightness follows most; of a profile that has three, all are alike in practice."""
COUNTS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Parameters of a parametric curve, by its type."""
LONGEST_TABLE = 65536
D50_WHITE = (0.345703, 0.358539)
SAME_LIGHT, SAME_COLOUR = 0.002, 0.004


def curve_of(profile: bytes | None) -> Curve | None:
    """The curve of a profile; None where it has none (tables of colours), or is damaged."""
    tags = _tags(profile or b"")
    data = next((tags[tag] for tag in CURVE_TAGS if tag in tags), b"")
    try:
        if data.startswith(b"curv"):
            return _sampled(data)
        return _parametric(data) if data.startswith(b"para") else None
    except struct.error:
        return None


def colours_of(profile: bytes | None) -> str | None:
    """The kind of colours that a profile is for: "RGB", "GRAY", "CMYK", "Lab" and so on."""
    if profile is None or len(profile) < 128:
        return None
    return profile[16:20].decode("latin-1").strip()


def equivalent(one: bytes, other: bytes) -> bool:
    """Whether two profiles of matrices and curves say the same of every colour, as far as rounding goes."""
    if one == other:
        return True
    first, second = curve_of(one), curve_of(other)
    if first is None or second is None or colours_of(one) != colours_of(other):
        return False
    ramp = np.linspace(0, 1, 65)
    if np.abs(first.light(ramp) - second.light(ramp)).max() > SAME_LIGHT:
        return False
    columns = [_columns(profile) for profile in (one, other)]
    return columns[0].shape == columns[1].shape and bool((np.abs(columns[0] - columns[1]) < SAME_COLOUR).all())


def primaries_of(profile: bytes) -> Primaries | None:
    """Chromaticities of red, green and blue beside a white of D50, as profiles store them; None where they are none."""
    columns = _columns(profile)
    if columns.shape != (3, 3) or not (columns.sum(1) > 0).all():
        return None
    red, green, blue = (
        (float(x / total), float(y / total)) for (x, y, _), total in zip(columns, columns.sum(1), strict=True)
    )
    return Primaries(red, green, blue, D50_WHITE)


def _columns(profile: bytes) -> NDArray[np.float64]:
    """XYZ of red, green and blue; empty for grey."""
    tags = _tags(profile)
    found = [tags[tag] for tag in (b"rXYZ", b"gXYZ", b"bXYZ") if len(tags.get(tag, b"")) >= 20]
    return np.array([struct.unpack_from(">3i", data, 8) for data in found], dtype=np.float64) / 65536


def _tags(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < 132:
        return {}
    (count,) = struct.unpack_from(">I", profile, 128)
    found = {}
    for place in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        tag, start, size = struct.unpack_from(">4sII", profile, place)
        found[tag] = profile[start : start + size]
    return found


def _sampled(data: bytes) -> Curve | None:
    (count,) = struct.unpack_from(">I", data, 8)
    if count == 0:
        return LINEAR
    if count == 1:
        return Parametric(struct.unpack_from(">H", data, 12)[0] / 256)
    if count > LONGEST_TABLE:
        return None
    values = [value / 65535 for value in struct.unpack_from(f">{count}H", data, 12)]
    rising = all(after >= before for before, after in pairwise(values))
    return Table(tuple(values)) if rising and values[-1] > values[0] else None


def _parametric(data: bytes) -> Curve | None:
    (kind,) = struct.unpack_from(">H", data, 8)
    if kind not in COUNTS:
        return None
    numbers = [value / 65536 for value in struct.unpack_from(f">{COUNTS[kind]}i", data, 12)]
    if kind == 0:
        return Parametric(numbers[0])
    gamma, a, b, *rest = numbers
    if kind == 1:
        return Parametric(gamma, a, b, 0, -b / a) if a else None
    if kind == 2:
        return Parametric(gamma, a, b, 0, -b / a, rest[0], rest[0]) if a else None
    return Parametric(gamma, a, b, *rest)
