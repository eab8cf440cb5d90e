"""Noise tables of photos that are not at hand: from one number, or from how noise was measured in others.

A table says more than a level: how much of the noise is grey and how much colour, and how coarse either is. Camera
noise is mostly grey, since demosaicing and the camera's own denoising leave little colour, and that little is coarser.
White noise, as of scans and stars, is the same in all channels by chance only. The coarser noise is, the more it is
camera noise: that is the rule here where nothing else is known. The numbers are medians over 12 JPEGs of four cameras.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import CELL, TABLE_NODES, TABLE_ROWS, UNKNOWN
from nsp_pipeline.core.noise_curve import NoiseCurve

CAMERA_COARSENESS = 2.3
"""Standard deviation of CELL×CELL means, times CELL, over that of pixels; 1 for white noise."""

GREY_SHARE_CAMERA, GREY_SHARE_WHITE = 0.8, 1 / 3
"""Of the variance, the part that all channels have in common."""

COLOUR_COARSER = 1.6
"""How much coarser colour noise of cameras is than grey noise."""


@dataclass(frozen=True, eq=False)
class StatedNoise:
    """A noise table (1, TABLE_ROWS, TABLE_NODES) in 0..1, and in a few words where it comes from."""

    source: str
    table: NDArray[np.float32]

    @classmethod
    def unknown(cls) -> "StatedNoise":
        """What is stated where nothing is known: a network then judges by what it sees."""
        return cls("unknown", np.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, np.float32))


def camera_table(sigma: float) -> NDArray[np.float32]:
    """The table of camera noise of one level at every brightness: (1, TABLE_ROWS, TABLE_NODES).

    Args:
        sigma: standard deviation over the channels, in 8-bit steps.
    """
    return table_from_variance(np.full(TABLE_NODES, (sigma / 255) ** 2), CAMERA_COARSENESS)


def table_from_curves(curves: Sequence[NoiseCurve], by_lag: Sequence[float]) -> NDArray[np.float32]:
    """The table of noise that was measured channel by channel: (1, TABLE_ROWS, TABLE_NODES).

    Args:
        curves: variance by brightness, for each channel.
        by_lag: correlation of noise at 1, 2, ... pixels; none stands for white noise.
    """
    nodes = np.linspace(0, 1, TABLE_NODES)
    variance = np.mean([curve.at(nodes) for curve in curves], axis=0)
    return table_from_variance(variance, _coarseness(by_lag), 1.0 if len(curves) == 1 else None)


def table_from_variance(
    variance: NDArray[np.float64], coarseness: float, grey_share: float | None = None
) -> NDArray[np.float32]:
    """Split a level by brightness, (TABLE_NODES,), into the rows of a table; see `table_from_curves`."""
    like_camera = float(np.clip((coarseness - 1) / (CAMERA_COARSENESS - 1), 0, 1))
    if grey_share is None:
        grey_share = GREY_SHARE_WHITE + like_camera * (GREY_SHARE_CAMERA - GREY_SHARE_WHITE)
    colour_share = 1 - grey_share
    apart = 1 + like_camera * (COLOUR_COARSER - 1)
    # Grey and colour together are as coarse as was measured.
    grey_coarser = coarseness / np.sqrt(grey_share + colour_share * apart**2)
    factors = [1.0, min(grey_coarser, CELL), 1.0, min(grey_coarser * apart, CELL)]
    shares = [grey_share, grey_share, colour_share, colour_share]
    rows = [factor * np.sqrt(share * variance) for factor, share in zip(factors, shares, strict=True)]
    return np.array(rows, dtype=np.float32)[None]


def _coarseness(by_lag: Sequence[float]) -> float:
    """CELL times the standard deviation of a mean of CELL×CELL pixels over that of a pixel.

    Noise is taken to be correlated over both sides as it is along one, and the product of both in between.
    """
    shared = [1.0, *by_lag, *[0.0] * CELL][:CELL]
    return float(shared[0] + 2 * sum((1 - lag / CELL) * shared[lag] for lag in range(1, CELL)))
