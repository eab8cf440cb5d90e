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
    top = 1.0 if before.dtype.kind == "f" else float(np.iinfo(before.dtype.type).max)
    was, is_now = (image.mean((0, 1), dtype=np.float64) / top for image in (before, after))
    moved = np.abs(is_now - was)
    if not (moved <= DRIFT + DRIFT_SHARE * np.abs(was)).all():
        raise UntrustedResultError(f"the result's colours are off by {255 * moved.max():.1f} of 255")
