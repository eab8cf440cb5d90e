"""The patches of a photo that may show nothing but noise on a smooth surface."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nsp_pipeline.core.correlation import SIDE, without_shading
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.noise import measure_noise

CANDIDATE_BELOW = 2.5
"""A patch whose variance is a larger multiple of the photo's level at its brightness is texture."""

CLIPPED_SHARE = 0.005
DENSE_BELOW = 2000
"""Photos with fewer patches side by side are cut into overlapping ones."""

MOST_LOOKED_AT = 20_000
LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class Patches:
    """Candidates for flat patches of one photo, values in 0..1.

    `mean` (P, C) is their brightness; `residuals` (P, C, SIDE, SIDE) is what a smooth surface leaves of them; `usable`
    (P, C) is False where a channel is clipped. `level` (P,) is a first guess of the noise variance per channel.
    `quantisation` is the variance that rounding to the photo's depth adds, and `clipped` the share of the photo, 0..1,
    where no channel is usable.
    """

    mean: NDArray[np.float32]
    residuals: NDArray[np.float32]
    usable: NDArray[np.bool_]
    level: NDArray[np.float32]
    quantisation: float
    clipped: float


def cut_patches(pixels: NDArray[np.generic], most: int) -> Patches:
    """Cut the patches of a photo that may be flat.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1; there are no patches where a side is shorter than SIDE.
        most: number of patches to keep, evenly over the photo.
    """
    channels = pixels.shape[2]
    places, mean, variance, usable = _look(pixels)
    level = np.maximum(measure_noise(pixels).at(mean.mean(1)) / channels, np.float32(LEAST_VARIANCE))
    known = usable.sum(1)
    excess = np.where(usable, variance, 0).sum(1) / (np.maximum(known, 1) * level)
    candidates = np.flatnonzero((known > 0) & (excess <= CANDIDATE_BELOW))
    chosen = candidates[np.linspace(0, len(candidates) - 1, min(most, len(candidates))).astype(int)]
    residuals = np.empty((len(chosen), channels, SIDE, SIDE), np.float32)
    for place, (top, left) in zip(range(len(chosen)), places[chosen], strict=True):
        residuals[place] = to_unit(pixels[top : top + SIDE, left : left + SIDE]).transpose(2, 0, 1)
    step = 0.0 if pixels.dtype.kind == "f" else 1.0 / float(np.iinfo(pixels.dtype.name).max)
    clipped = float((known == 0).mean()) if len(known) else 0.0
    return Patches(mean[chosen], without_shading(residuals), usable[chosen], level[chosen], step**2 / 12, clipped)


def _look(
    pixels: NDArray[np.generic],
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Place (P, 2), mean, variance and usability (P, C) of patches all over a photo."""
    height, width, channels = pixels.shape
    across, down = width // SIDE, height // SIDE
    step = SIDE if across * down >= DENSE_BELOW else SIDE // 2
    rows = range(0, height - SIDE + 1, step * -(-across * down // MOST_LOOKED_AT) or step)
    columns = np.arange(0, width - SIDE + 1, step)
    places, means, variances, usables = [np.zeros((0, 2), np.intp)], *([np.zeros((0, channels))] for _ in range(3))
    for top in rows if len(columns) else ():
        strip = sliding_window_view(to_unit(pixels[top : top + SIDE]), (SIDE, SIDE), axis=(0, 1))[0, ::step]
        places.append(np.stack([np.full_like(columns, top), columns], 1))
        means.append(strip.mean((2, 3)))
        variances.append((without_shading(strip) ** 2).mean((2, 3)))
        usables.append(((strip <= 0) | (strip >= 1)).mean((2, 3)) <= CLIPPED_SHARE)
    return (
        np.concatenate(places),
        np.concatenate(means).astype(np.float32),
        np.concatenate(variances).astype(np.float32),
        np.concatenate(usables).astype(np.bool_),
    )
