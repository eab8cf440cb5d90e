"""From what is said of a photo's blocks to the noise of the photo by brightness.

Every block tells the logarithm of its noise and how far off that may be. Blocks are averaged by brightness with the
inverse square of their uncertainty as weight, so that flat ones speak and textured ones are hardly heard. Brightnesses
that no block has are filled in from their neighbours, the less surely the further they are away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES

SHARED_ERROR = 0.06
"""Blocks of one photo err together by about this: many of them are not as sure as their number says."""

ALIKE_ERROR = 0.1
"""The least that all blocks of a photo err by together, beside what each of them says. So found in 252 pieces of
512×512 of 28 photos, compared with the whole photos: they are off by √(ALIKE_ERROR² + the square of what a block says),
however many blocks there are."""

PIECE, LESS, LEAST_SHARE = 512 * 512, -0.15, 0.6
"""Pixels of those pieces. Of a larger picture blocks are not as hard all over: what a block says of itself counts times
the number of pieces in it to the power LESS, and no less than LEAST_SHARE. Whole photos of 5 to 9 megapixels lie so
near to the other photos of their camera, and simulated shots of 2 to 3 to the truth."""

DRIFT = 1.2
"""From black to white, the logarithm of a camera's noise changes by about this; less between nearer brightnesses."""


@dataclass(frozen=True)
class Blocks:
    """What is said of N blocks.

    `brightness` (N,) lies in 0..1; `level` (N, TABLE_ROWS) is the logarithm of the noise in 0..1, and `unsure`
    (N, TABLE_ROWS) the mean absolute error of that.
    """

    brightness: NDArray[np.float32]
    level: NDArray[np.float32]
    unsure: NDArray[np.float32]


def nearness(brightness: NDArray[np.float32]) -> NDArray[np.float64]:
    """How near each brightness (N,) is to the nodes of a noise table, (N, TABLE_NODES): two shares that add up to 1."""
    places = np.clip(brightness, 0, 1).astype(np.float64)[:, None] * (TABLE_NODES - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(places - np.arange(TABLE_NODES))), dtype=np.float64)


def pooled(blocks: Blocks) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Average blocks by brightness: logarithm of the noise and its uncertainty, (TABLE_ROWS, TABLE_NODES) each.

    The uncertainty takes blocks to err each by itself; `likely_error` does not. At least one block.
    """
    means = _means(blocks)
    level = (means.share * means.level[:, None, :]).sum(2) / means.share.sum(2)
    return level.astype(np.float32), (1 / np.sqrt(means.share.sum(2))).astype(np.float32)


def likely_error(blocks: Blocks, pixels: int = PIECE) -> NDArray[np.float32]:
    """By how much the average of blocks may be off, since what is hard about a photo is so in all of its blocks.

    Standard deviation of the logarithm of the noise, (TABLE_ROWS, TABLE_NODES). At least one block.

    Args:
        pixels: of the picture that the blocks are of.
    """
    means = _means(blocks)
    typical = shared_doubt(pixels) * means.typical
    error = np.sqrt(ALIKE_ERROR**2 + typical[:, None, :] ** 2 + means.apart[None] ** 2)
    return np.asarray((means.share * error).sum(2) / means.share.sum(2), dtype=np.float32)


def shared_doubt(pixels: int) -> float:
    """The share of what a block says of its own error that all of a picture's blocks err by together, 0..1."""
    return float(np.clip((max(pixels, 1) / PIECE) ** LESS, LEAST_SHARE, 1.0))


def grey_doubt(blocks: Blocks) -> float:
    """By how much a typical block says that the logarithm of its grey noise may be off. At least one block."""
    return float(np.mean(blocks.unsure[:, 0].astype(np.float64) ** -2) ** -0.5)


@dataclass(frozen=True)
class _Means:
    """Of the blocks near each node (R, K): the level, and the uncertainty of a typical one.

    `share` (R, K, K) is how much each node counts at another, and `apart` (K, K) how much their noise may differ.
    """

    level: NDArray[np.float64]
    typical: NDArray[np.float64]
    share: NDArray[np.float64]
    apart: NDArray[np.float64]


def _means(blocks: Blocks) -> _Means:
    places, near = np.arange(TABLE_NODES), nearness(blocks.brightness)
    weights = blocks.unsure.astype(np.float64) ** -2
    precision = weights.T @ near
    level = np.divide((weights * blocks.level).T @ near, precision, out=np.zeros_like(precision), where=precision > 0)
    typical = np.sqrt(np.divide(near.sum(0), precision, out=np.zeros_like(precision), where=precision > 0))
    error = SHARED_ERROR**2 + 1 / np.maximum(precision, 1e-9)
    apart = DRIFT * np.abs(places[:, None] - places[None]) / (TABLE_NODES - 1)
    share = 1 / (error[:, None, :] + apart[None] ** 2)
    share[np.broadcast_to((precision <= 0)[:, None, :], share.shape)] = 0
    return _Means(level, typical, share, apart)
