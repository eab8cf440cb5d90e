"""ICC profiles of the colour spaces that RAW is developed to, made anew, the same bytes every time."""

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

ICC_DATE = slice(24, 36)
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
WHITE_D65, WHITE_D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SPACES = {
    "p3": ("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), WHITE_D65, SRGB_CURVE),
    "adobe": ("Compatible with Adobe RGB (1998)", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), WHITE_D65, (563 / 256,)),
    "prophoto": ("ProPhoto RGB", ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), WHITE_D50, (1.8,)),
    "rec2020": ("Linear Rec. 2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), WHITE_D65, (1.0,)),
}
"""Name, primaries and white in CIE xy, and the curve to linear light: a power, or a power with a linear foot."""


@cache
def profile_of(space: str) -> bytes:
    """The profile of "srgb", "p3", "adobe", "prophoto" or "rec2020" (linear light)."""
    if space == "srgb":
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        # The date of making would differ from run to run.
        profile[ICC_DATE] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
        return bytes(profile)
    name, primaries, white, curve = SPACES[space]
    adapted, matrix = _to_d50(white), _to_xyz(primaries, white)
    columns = (adapted @ matrix).T
    # Rounding must not tint white.
    columns[2] += D50 - columns.sum(0)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(D50),
        b"chad": b"sf32" + bytes(4) + b"".join(_fixed(value) for value in adapted.ravel()),
        **{key: _xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)),
    }
    return _assembled(tags)


def _to_xyz(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> NDArray[np.float64]:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    return np.asarray(columns * np.linalg.solve(columns, _white(white)))


def _to_d50(white: tuple[float, float]) -> NDArray[np.float64]:
    scale = (BRADFORD @ D50) / (BRADFORD @ _white(white))
    return np.asarray(np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD)


def _white(xy: tuple[float, float]) -> NDArray[np.float64]:
    x, y = xy
    return np.array([x / y, 1, (1 - x - y) / y])


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _curve(parameters: tuple[float, ...]) -> bytes:
    kind = 0 if len(parameters) == 1 else 3
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, parameters))


def _assembled(tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 4 for displays."""
    place = 128 + 4 + 12 * len(tags)
    table, body, known = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for key, data in tags.items():
        if data not in known:
            known[data] = place + len(body)
            body += data + bytes(-len(data) % 4)
        table += key + struct.pack(">II", known[data], len(data))
    head = struct.pack(">I4x4s4s4s4s", place + len(body), bytes((4, 0x30, 0, 0)), b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp")
    head += bytes(28) + b"".join(_fixed(value) for value in D50)
    return head.ljust(128, b"\0") + table + body
