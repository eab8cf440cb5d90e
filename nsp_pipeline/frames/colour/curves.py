"""Curves from stored values to light: parametric ones as ICC has them, and tables."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Curve(Protocol):
    """From stored values to light, both 0..1, rising."""

    def light(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """Light of stored values in 0..1, of any shape."""


@dataclass(frozen=True)
class Parametric:
    """(a·x + b)^gamma + e from x = d on, c·x + f below: type 4 of ICC's parametric curves (ICC.1:2022, 10.18)."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 0.0
    f: float = 0.0

    def light(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Curve."""
        power = np.maximum(self.a * stored + self.b, 0) ** self.gamma + self.e
        return np.asarray(np.where(stored >= self.d, power, self.c * stored + self.f))


@dataclass(frozen=True)
class Table:
    """Light at equal steps of stored values."""

    values: tuple[float, ...]

    def light(self, stored: NDArray[np.float64]) -> NDArray[np.float64]:
        """See Curve."""
        return np.interp(stored, np.linspace(0, 1, len(self.values)), self.values)


SRGB = Parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LINEAR = Parametric(1.0)
BT709 = Parametric(1 / 0.45, 1 / 1.099296826809442, 0.099296826809442 / 1.099296826809442, 1 / 4.5, 0.0812428582986)
SMPTE240 = Parametric(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0912)
GREY_CARD = 0.18
PERCEPTUAL_FROM = 0.3
"""A curve that stores a grey card (18 % of the light) below this is too near to light to denoise in: sRGB stores it at
0.46, ProPhoto RGB at 0.39, light itself at 0.18."""
LIGHTEST = 0.35
"""More light than this at PERCEPTUAL_FROM, where light itself has 0.3, means a gamma that was stated upside down."""
ROUNDING, ENDS = 1e-3, 0.05
"""How far a curve may fall between two values, and how far its ends may be from black and white."""


def is_credible(curve: Curve) -> bool:
    """Whether photos can be stored so: rising from black to white, and no darker than the light itself."""
    with np.errstate(all="ignore"):
        light = curve.light(np.linspace(0, 1, 1025))
        (middle,) = curve.light(np.array([PERCEPTUAL_FROM]))
    rises = bool(np.isfinite(light).all() and (np.diff(light) >= -ROUNDING).all())
    return rises and abs(light[0]) <= ENDS and abs(light[-1] - 1) <= ENDS and bool(middle <= LIGHTEST)


def is_near_linear(curve: Curve) -> bool:
    """Whether stored values are light, or nearly so."""
    return bool(curve.light(np.array([PERCEPTUAL_FROM]))[0] > GREY_CARD)
