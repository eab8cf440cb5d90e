"""Noise that a tone curve has bent: by how much the mean of noisy values is darker than what was photographed.

A sensor errs as often to the bright as to the dark, but a tone curve is steepest in the dark, so that an error to the
dark becomes the larger one. For a curve f, light x and noise of standard deviation s (after the curve)

    E[f(x + n)] - f(x)  =  f''/(2·f'²) · s²  +  ...           the mean is too dark (Jensen's inequality),
    E[(f - E f)³] / s³  =  3·f''/f'² · s     +  ...           and the noise leans to the dark.

In a phone's photo of a dark room the first is 2 to 5 of 255. A network that averages what it sees comes out as dark as
the mean. The second tells whether a curve was there: noise that was put onto a finished picture does not lean.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

NODES = 65
"""Brightnesses 0 to 1, in equal steps, at which a photo's brightening is told."""

STEP, STRONGEST = 2 / 255, 80 / 255
"""Noise that the mean is worked out for; between two steps it is interpolated."""

LEVELS = round(STRONGEST / STEP) + 1

ROUNDS, EASE = 40, 0.7
"""Of the fixed-point iteration that finds the light, and how much of each correction is made."""

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
"""Quadrature over a Gaussian."""

MOST_SPREAD = 1.0
"""Noise in the light, where white is 1, at most."""

BEND_STEPS, SMOOTHED = 513, 17
"""Of the table of the curve's bend, and over how many it is averaged: sRGB's curve has a corner near black."""


def brightening(sigma: NDArray[np.floating]) -> NDArray[np.float64]:
    """By how much the value of the mean light lies above the mean of noisy values on sRGB's curve, not below 0.

    Args:
        sigma: (NODES,) standard deviation of the noise at means of 0 to 1 in equal steps; 0..1.

    Returns:
        (NODES,) in 0..1.
    """
    place = np.minimum(np.asarray(sigma, dtype=np.float64) / STEP, LEVELS - 1)
    below = np.minimum(place.astype(np.intp), LEVELS - 2)
    table = brightenings(_rounded_up(int(below.max()) + 2))
    node = np.arange(NODES)
    return np.asarray(table[below, node] + (place - below) * (table[below + 1, node] - table[below, node]))


def lean(values: NDArray[np.floating], sigma: NDArray[np.floating]) -> NDArray[np.float64]:
    """The skewness of noise that sRGB's curve has bent: below 0; means and standard deviation in 0..1, of one shape."""
    return np.asarray(3 * np.interp(values, np.linspace(0, 1, BEND_STEPS), bend()) * sigma, dtype=np.float64)


def _rounded_up(levels: int) -> int:
    """To a power of two, so that few tables are made; most photos need a fourth of all."""
    return min(LEVELS, 1 << (levels - 1).bit_length())


@cache
def brightenings(levels: int = LEVELS) -> NDArray[np.float64]:
    """What `brightening` gives for noise of 0, STEP, 2·STEP, ...: (levels, NODES) in 0..1."""
    wanted, sigma = (part.ravel() for part in np.meshgrid(np.linspace(0, 1, NODES), np.arange(levels) * STEP))
    weights = WEIGHTS / WEIGHTS.sum()
    light = _light(wanted)
    spread = sigma / _slope(light)
    for _ in range(ROUNDS):
        noisy = _value(light[:, None] + spread[:, None] * POINTS)
        mean = noisy @ weights
        found = np.sqrt((noisy - mean[:, None]) ** 2 @ weights)
        light = _light(np.clip(_value(light) + EASE * (wanted - mean), 0, 1))
        spread = np.minimum(spread * (sigma / np.maximum(found, 1e-9)) ** EASE, MOST_SPREAD)
    return np.asarray(np.maximum(_value(light) - wanted, 0).reshape(levels, NODES))


@cache
def bend() -> NDArray[np.float64]:
    """f''/f'² of sRGB's curve at values of 0 to 1 in equal steps: (BEND_STEPS,), not above 0."""
    light = _light(np.linspace(0, 1, BEND_STEPS))
    curved = np.where(light < 0.0031308, 0, 1.055 / 2.4 * (1 / 2.4 - 1) * np.maximum(light, 1e-9) ** (1 / 2.4 - 2))
    even = np.pad(curved / _slope(light) ** 2, SMOOTHED // 2, mode="edge")
    return np.convolve(even, np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")


def _value(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """The curve of sRGB, which goes on below black as straight as it begins."""
    return np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def _light(value: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.where(value < 0.04045, value / 12.92, ((np.maximum(value, 0) + 0.055) / 1.055) ** 2.4)


def _slope(light: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.where(light < 0.0031308, 12.92, 1.055 / 2.4 * np.maximum(light, 1e-9) ** (1 / 2.4 - 1))
