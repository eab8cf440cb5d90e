"""Whether what an engine made of a photo can be its picture: colours hardly move when noise goes."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UntrustedResultError

DRIFT, DRIFT_SHARE = 2 / 255, 0.05
"""How far a channel's mean may move, in 0..1: this much, and this share of it. On photos it moves by 0.4 / 255 or less.
The share lets a black result show even where the photo is nearly black."""

LEAST_SIDE = 32
"""Of a smaller photo the mean is that of its borders, and says little."""


def require_its_colours(before: NDArray[np.generic], after: NDArray[np.generic]) -> None:
    """Raise UntrustedResultError unless the mean of every channel is near what it was.

    Args:
        before: the photo, (H, W, C) as stored.
        after: what was made of it, of the same type and channels, at any size.
    """
    if min(before.shape[:2]) < LEAST_SIDE:
        return
    was, is_now = _means(before), _means(after)
    moved = np.abs(is_now - was)
    if not (moved <= DRIFT + DRIFT_SHARE * was).all():
        raise UntrustedResultError(f"the result's colours are off by {255 * moved.max():.1f} of 255")


def _means(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Mean of every channel, in 0..1."""
    if pixels.dtype.kind == "f":
        # What lies outside is cut off in the result, and must not count in the photo.
        return np.asarray(np.clip(pixels, 0, 1).mean((0, 1), dtype=np.float64))
    top = 2 ** (8 * pixels.dtype.itemsize) - 1
    # Along the columns first, which is ten times as fast as both at once.
    columns = pixels.sum(0, dtype=np.uint64)
    return np.asarray(columns.mean(0) / (pixels.shape[0] * top), dtype=np.float64)
