"""Strong noise that is coarser than what the estimator's network takes for noise: told by being alike everywhere.

Blobs of some pixels look like texture, and the network calls them that, even on a wall. But texture is never as even:
of patches of one brightness, some are calmer than others. Noise varies from patch to patch only as chance has it. So
where the calm patches of a photo are all about as restless, and much more so than the network says, that is noise, and
its level is what is measured in them. Only where it is coloured too: some fabrics and stones are as even as noise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import BRIGHTNESS_BINS, FEWEST_PATCHES, PATCH, NoiseLevel, measure_noise, patch_statistics
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


def measured_where_even(windows: Sequence[NDArray[np.float32]], told: NoiseLevel) -> NoiseLevel | None:
    """The noise as measured in the calm patches, where the network has overlooked it; None everywhere else.

    Args:
        windows: (3, h, w) in 0..1 each, of the photo.
        told: what the network says.
    """
    expected = float(np.sqrt(np.average(told.variance.mean(1), weights=told.share)))
    if not windows or _least_restless(windows) < max(STRONG, OVERLOOKED * expected):
        return None
    parts = [patch_statistics(_strips(window)) for window in windows]
    brightness, variance, _ = (np.concatenate(part) for part in zip(*parts, strict=True))
    seen = ~np.isnan(brightness)
    if seen.sum() < FEWEST:
        return None
    total = variance[seen].mean(1)
    spreads, levels = [], []
    for bin_ in np.array_split(np.argsort(brightness[seen]), min(BRIGHTNESS_BINS, seen.sum() // FEWEST_PATCHES)):
        calmest, calm, median = np.log(np.maximum(np.quantile(total[bin_], (CALMEST, CALM, MEDIAN)), 1e-12))
        spreads.append(median - calmest)
        levels.append(calm)
    level = float(np.exp(np.median(levels) / 2))
    if np.median(spreads) > EVEN or level < max(STRONG, OVERLOOKED * expected):
        return None
    measured = measure_noise(np.concatenate([_in_rows(window) for window in windows]))
    grey, _, colour, _ = measured.table[0].sum(1)
    # What a mosaic makes of a sensor's noise is coloured, and cobbles or knitwear may be as even as noise.
    return measured if colour >= COLOURED * grey else None


def _least_restless(windows: Sequence[NDArray[np.float32]]) -> float:
    """Standard deviation of the calmest patches, slopes included; a quick look that most photos end with."""
    found = []
    for window in windows:
        rows, columns = window.shape[1] // PATCH, window.shape[2] // PATCH
        grey = window[:, : rows * PATCH, : columns * PATCH].mean(0).reshape(rows, PATCH, columns, PATCH)
        found.append(grey.std((1, 3)).ravel())
    return float(np.quantile(np.concatenate(found), CALM))


def _in_rows(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """A window (3, h, w) as patches in one column: (n·PATCH, PATCH, 3)."""
    strips = _strips(window)
    return strips.reshape(len(strips), PATCH, -1, PATCH, 3).transpose(0, 2, 1, 3, 4).reshape(-1, PATCH, 3)


def _strips(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """A window (3, h, w) in strips of patches: (S, PATCH, w, 3), what is left over cut off."""
    rows, columns = window.shape[1] // PATCH, window.shape[2] // PATCH
    cut = window[:, : rows * PATCH, : columns * PATCH].transpose(1, 2, 0)
    return np.ascontiguousarray(cut).reshape(rows, PATCH, columns * PATCH, 3)
