"""Strong noise that is coarser than what the estimator's network takes for noise: told by being alike everywhere.

Blobs of some pixels look like texture, and the network calls them that, even on a wall. But texture is never as even:
of patches of one brightness, some are calmer than others. Noise varies from patch to patch only as chance has it. So
where the calm patches of a photo are all about as restless, and much more so than the network says, that is noise, and
its level is what is measured in them. Only where it is coloured too: some fabrics and stones are as even as noise.
"""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.blend import cell_means
from nsp_pipeline.core.noise import (
    BRIGHTNESS_BINS,
    FEWEST_PATCHES,
    PATCH,
    PATCHES_AT_ONCE,
    NoiseLevel,
    measure_noise,
    patch_variances,
)
from nsp_pipeline.noise.bent import COLOURED

STRONG, OVERLOOKED = 6 / 255, 1.25
"""What is measured counts where it is as strong as this, and so many times what the network says."""

CALMEST, CALM, MEDIAN = 0.05, 0.25, 0.5
EVEN = 0.5
"""How much larger, as a logarithm, the variance of the median patch is than that of the calmest twentieth, at one
brightness. Noise correlated over 2 or 3 pixels: 0.2 to 0.43; of 42 pieces of photographs that are texture all over,
none below 0.67."""

FEWEST = 100
"""Patches, not clipped, that it takes to tell."""


def measured_where_even(windows: NDArray[np.float32], told: NoiseLevel) -> NoiseLevel | None:
    """The noise as measured in the calm patches, where the network has overlooked it; None everywhere else.

    Args:
        windows: (N, 3, h, w) in 0..1, of the photo, N of at least 1.
        told: what the network says.
    """
    expected = float(np.sqrt(np.average(told.variance.mean(1), weights=told.share)))
    least = max(STRONG, OVERLOOKED * expected)
    if _least_restless(windows) < least:
        return None
    strips = _strips(windows)
    together = max(1, PATCHES_AT_ONCE // (strips.shape[2] // PATCH))
    parts = [patch_variances(strips[first : first + together]) for first in range(0, len(strips), together)]
    brightness, variance = (np.concatenate(part) for part in zip(*parts, strict=True))
    seen = ~np.isnan(brightness)
    if seen.sum() < FEWEST:
        return None
    total = variance[seen].mean(1)
    spreads, levels = [], []
    for bin_ in np.array_split(np.argsort(brightness[seen]), min(BRIGHTNESS_BINS, seen.sum() // FEWEST_PATCHES)):
        calmest, calm, median = np.log(np.maximum(np.quantile(total[bin_], (CALMEST, CALM, MEDIAN)), 1e-12))
        spreads.append(median - calmest)
        levels.append(calm)
    if np.median(spreads) > EVEN or float(np.exp(np.median(levels) / 2)) < least:
        return None
    measured = measure_noise(strips.reshape(-1, strips.shape[2], 3))
    grey, _, colour, _ = measured.table[0].sum(1)
    # What a mosaic makes of a sensor's noise is coloured, and cobbles or knitwear may be as even as noise.
    return measured if colour >= COLOURED * grey else None


def _least_restless(windows: NDArray[np.float32]) -> float:
    """Standard deviation of the calmest patches, slopes included; a quick look that most photos end with."""
    grey = windows.mean(1)
    variance = cell_means(grey * grey, PATCH) - cell_means(grey, PATCH) ** 2
    return float(np.sqrt(max(0.0, np.quantile(variance, CALM))))


def _strips(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows (N, 3, h, w) in strips of patches: (S, PATCH, w, 3)."""
    turned = np.ascontiguousarray(windows.transpose(0, 2, 3, 1))
    return turned.reshape(-1, PATCH, windows.shape[3], 3)
