"""Make an ICC profile (version 4, matrix and curve) of primaries and a curve: what a PNG states in other ways."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.colour.curves import Parametric

D50 = (0.9642, 1.0, 0.8249)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
Chromaticity = tuple[float, float]


@dataclass(frozen=True)
class Primaries:
    """Chromaticities x, y of red, green, blue and white."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity


D65 = (0.3127, 0.3290)
SRGB_PRIMARIES = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)


def rgb_profile(primaries: Primaries, curve: Parametric, name: str) -> bytes:
    """An RGB display profile; raises ValueError for primaries that span no colours."""
    to_d50 = _adaptation(primaries.white)
    columns = to_d50 @ _matrix(primaries)
    tags = {
        b"rXYZ": _xyz(*columns[:, 0]),
        b"gXYZ": _xyz(*columns[:, 1]),
        b"bXYZ": _xyz(*columns[:, 2]),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)),
    }
    return _profile(b"RGB ", tags, to_d50, name)


def grey_profile(white: Chromaticity, curve: Parametric, name: str) -> bytes:
    """A profile of grey pictures."""
    return _profile(b"GRAY", {b"kTRC": _curve(curve)}, _adaptation(white), name)


def _matrix(primaries: Primaries) -> NDArray[np.float64]:
    """XYZ of light in red, green and blue."""
    if any(y <= 0 for _, y in (primaries.red, primaries.green, primaries.blue, primaries.white)):
        raise ValueError("primaries that make no sense")
    columns = np.array([_to_xyz(xy) for xy in (primaries.red, primaries.green, primaries.blue)]).T
    try:
        return np.asarray(columns * np.linalg.solve(columns, _to_xyz(primaries.white)))
    except np.linalg.LinAlgError:
        raise ValueError("primaries that make no sense") from None


def _to_xyz(xy: Chromaticity) -> NDArray[np.float64]:
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _adaptation(white: Chromaticity) -> NDArray[np.float64]:
    """Bradford's adaptation from a white to D50."""
    source, target = BRADFORD @ _to_xyz(white), BRADFORD @ np.array(D50)
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(target / source) @ BRADFORD)


def _profile(colours: bytes, tags: dict[bytes, bytes], to_d50: NDArray[np.float64], name: str) -> bytes:
    content = {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(*D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*to_d50.ravel()),
        **tags,
    }
    table, data, places = b"", b"", {}
    start = 128 + 4 + 12 * len(content)
    for tag, value in content.items():
        if value not in places:
            places[value] = start + len(data)
            data += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, places[value], len(value))
    body = struct.pack(">I", len(content)) + table + data
    date = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"\0\0\0\0", 0x04300000, b"mntr", colours, b"XYZ ")
    header += date + b"acsp" + bytes(28) + _fixed(*D50)
    return header.ljust(128, b"\0") + body


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _curve(curve: Parametric) -> bytes:
    if (curve.a, curve.b, curve.c, curve.d, curve.e, curve.f) == (1, 0, 0, 0, 0, 0):
        return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(curve.gamma)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(curve.gamma, curve.a, curve.b, curve.c, curve.d)


def _text(text: str) -> bytes:
    words = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(words), 28) + words
