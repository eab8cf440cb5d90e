"""Whether what an engine made of a photo can be its picture: colours hardly move when noise goes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UntrustedResultError
from nsp_pipeline.machine.disk_array import pieces

DRIFT, DRIFT_SHARE = 2 / 255, 0.05
"""How far a channel's mean may move, in 0..1: this much, and this share of it. On photos it moves by 0.4 / 255 or less.
The share lets a black result show even where the photo is nearly black."""

BRIGHTENED, DARK = 0.7, 2.0
"""Noise that is cut off at black brightens what is black by 0.7 times the standard deviation that is left of it
(0.40 / 0.58 for a Gaussian), and hardly what is brighter than twice that."""

BLACK = 3 / 255
"""A JPEG leaves black no darker than about this."""

LEAST_SIDE = 32
"""Of a smaller photo the mean is that of its borders, and says little."""


def require_its_colours(
    before: NDArray[np.generic], after: NDArray[np.generic], sigma: float = 0.0, brightened: float = 0.0
) -> None:
    """Raise UntrustedResultError unless the mean of every channel is near what it was.

    It may fall further where noise was cut off at black, which had made the dark brighter.

    Args:
        before: the photo, (H, W, C) as stored, or brought to a perceptual encoding where it stores light.
        after: what was made of it, of the same type and channels, at any size.
        sigma: the photo's noise, in 8-bit steps.
        brightened: by how much values were meant to become brighter, at most; 0..1.
    """
    if min(before.shape[:2]) < LEAST_SIDE:
        return
    was, is_now = _means(before), _means(after)
    moved = is_now - was
    allowed = DRIFT + DRIFT_SHARE * was
    if (np.abs(moved) <= allowed).all():
        return
    if not ((moved <= allowed + brightened) & (-moved <= allowed + _cut_off(before, after, sigma / 255))).all():
        raise UntrustedResultError(f"the result's colours are off by {255 * np.abs(moved).max():.1f} of 255")


def _cut_off(before: NDArray[Any], after: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    """By how much noise that was cut off at black can have brightened each channel, 0..1.

    It was cut off where the result is dark, and no more often than the photo has black samples: every other one.
    """
    top = 1.0 if after.dtype.kind == "f" else 2 ** (8 * after.dtype.itemsize) - 1
    dark = _share(after, DARK * sigma * top)
    cut = 2 * _share(before, BLACK * top)
    return np.asarray(BRIGHTENED * sigma * np.minimum(dark, cut), dtype=np.float64)


def _share(pixels: NDArray[Any], limit: float) -> NDArray[np.float64]:
    """Of each channel's samples, how many are no more than a limit, 0..1."""
    count = sum((pixels[rows] <= limit).sum((0, 1), dtype=np.float64) for rows in pieces(pixels))
    return np.asarray(count / (pixels.shape[0] * pixels.shape[1]), dtype=np.float64)


def _means(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Mean of every channel, in 0..1."""
    if pixels.dtype.kind == "f":
        # What lies outside is cut off in the result, and must not count in the photo.
        total = sum(np.clip(pixels[rows], 0, 1).sum((0, 1), dtype=np.float64) for rows in pieces(pixels))
        return np.asarray(total / (pixels.shape[0] * pixels.shape[1]), dtype=np.float64)
    bits = 8 * pixels.dtype.itemsize
    top = 2**bits - 1
    # So many rows add up to numbers twice as wide at most, which adds them three times as fast as the widest would.
    together, wider = 1 << bits, np.dtype(f"u{2 * pixels.dtype.itemsize}")
    columns = np.zeros(pixels.shape[1:], np.uint64)
    for rows in pieces(pixels):
        piece = pixels[rows]
        for first in range(0, len(piece), together):
            columns += piece[first : first + together].sum(0, dtype=wider)
    return np.asarray(columns.mean(0) / (pixels.shape[0] * top), dtype=np.float64)
