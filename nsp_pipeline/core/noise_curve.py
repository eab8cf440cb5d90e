"""The level of noise by brightness: a·x + b for a sensor, a broken line where a tone curve bends it."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

KNOTS, VALUES_PER_KNOT, STIFFNESS = 8, 60, 1e-4
NARROWEST = 1e-3
"""Brightnesses that lie closer together, in 0..1, are one."""

BENT_FROM = 0.1
"""Relative distance (root mean square) of broken from straight line from which noise counts as bent."""


@dataclass(frozen=True)
class BrokenLine:
    """Straight pieces between knots: `x` (K,) rises, `y` (K,) belongs to it. The last pieces go on beyond the ends."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def at(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Value at each x, (N,) in and out."""
        return np.asarray(_hats(x, self.x) @ self.y, dtype=np.float64)


@dataclass(frozen=True)
class NoiseCurve:
    """Noise variance of one channel by its own brightness x, both for values in 0..1.

    `straight` says that a·x + b describes it; otherwise the broken line through `knots` does, and a and b are no more
    than the nearest line.
    """

    a: float
    b: float
    knots: BrokenLine
    straight: bool

    def at(self, brightness: NDArray[np.floating]) -> NDArray[np.float64]:
        """Variance at each brightness, (N,) in and out; outside the range that was seen, that of its nearest end."""
        seen = np.clip(brightness, self.knots.x[0], self.knots.x[-1])
        return np.maximum(self.a * seen + self.b if self.straight else self.knots.at(seen), 0.0)


def fit_curve(
    brightness: NDArray[np.floating], variance: NDArray[np.floating], expected: NDArray[np.floating]
) -> NoiseCurve:
    """Fit a straight and a broken line through variances of patches.

    Args:
        brightness: (N,) in 0..1.
        variance: (N,) as measured.
        expected: (N,) about what it should be; a variance scatters in proportion to itself.
    """
    weight = 1 / expected
    matrix = np.stack([brightness, np.ones_like(brightness)], 1) * weight[:, None]
    (a, b), *_ = np.linalg.lstsq(matrix, variance * weight, rcond=None)
    broken = fit_broken_line(brightness, variance, expected)
    apart = (broken.at(brightness) - (a * brightness + b)) * weight
    straight = float(np.sqrt((apart**2).mean())) < BENT_FROM
    return NoiseCurve(float(a), float(b), BrokenLine(broken.x, np.maximum(broken.y, 0.0)), straight)


def fit_broken_line(x: NDArray[np.floating], y: NDArray[np.floating], expected: NDArray[np.floating]) -> BrokenLine:
    """Fit a broken line by least squares, its knots where the values lie; arguments as of `fit_curve`.

    Bends are discouraged just enough to bridge brightnesses at which there is nothing.
    """
    weight = 1 / expected
    count = max(2, min(KNOTS, len(x) // VALUES_PER_KNOT + 2))
    knots = np.unique(np.quantile(x.astype(np.float64), np.linspace(0.002, 0.998, count)))
    if knots[-1] - knots[0] < NARROWEST:
        middle = float(x.mean())
        return BrokenLine(np.array([middle - NARROWEST, middle + NARROWEST]), np.full(2, np.average(y, weights=weight)))
    bends = np.zeros((len(knots) - 2, len(knots)))
    for row, (left, right) in enumerate(zip(np.diff(knots)[:-1], np.diff(knots)[1:], strict=True)):
        bends[row, row : row + 3] = 1 / left, -1 / left - 1 / right, 1 / right
    bends *= sqrt(STIFFNESS * len(x)) * (knots[-1] - knots[0]) / float(y.mean())
    matrix = np.concatenate([_hats(x, knots) * weight[:, None], bends])
    values, *_ = np.linalg.lstsq(matrix, np.concatenate([y * weight, np.zeros(len(bends))]), rcond=None)
    return BrokenLine(knots, values)


def _hats(x: NDArray[np.floating], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight (N, K) of each knot at each x."""
    piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    share = (x - knots[piece]) / (knots[piece + 1] - knots[piece])
    matrix = np.zeros((len(x), len(knots)))
    rows = np.arange(len(x))
    matrix[rows, piece], matrix[rows, piece + 1] = 1 - share, share
    return matrix
