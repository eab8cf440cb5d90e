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
    CLIPPED_SHARE,
    FEWEST_PATCHES,
    PATCH,
    PLANE,
    NoiseLevel,
    measure_noise,
)
from nsp_pipeline.noise.bent import COLOURED

STRONG, OVERLOOKED = 6 / 255, 1.1
"""What is measured counts where it is as strong as this, and so many times what the network says."""

CALMEST, CALM, MEDIAN = 0.05, 0.25, 0.5
EVEN = 0.5
"""How much larger, as a logarithm, the variance of the median patch is than that of the calmest twentieth, at one
brightness. Noise correlated over 2 or 3 pixels: 0.2 to 0.43; of 42 pieces of photographs that are texture all over,
none below 0.67."""

FEWEST = 100
"""Patches, not clipped, that it takes to tell."""

_LINES = np.stack([np.ones(PATCH), np.arange(PATCH) - (PATCH - 1) / 2]).astype(np.float32)
_LINES /= np.sqrt((_LINES**2).sum(1, keepdims=True))
"""(2, PATCH): a level and a slope, each of length 1."""


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
    brightness, total = _beside_planes(windows)
    if len(total) < FEWEST:
        return None
    spreads, levels = [], []
    for bin_ in np.array_split(np.argsort(brightness), min(BRIGHTNESS_BINS, len(total) // FEWEST_PATCHES)):
        calmest, calm, median = np.log(np.maximum(np.quantile(total[bin_], (CALMEST, CALM, MEDIAN)), 1e-12))
        spreads.append(median - calmest)
        levels.append(calm)
    if np.median(spreads) > EVEN or float(np.exp(np.median(levels) / 2)) < least:
        return None
    measured = measure_noise(windows.transpose(0, 2, 3, 1).reshape(-1, windows.shape[3], 3))
    grey, _, colour, _ = measured.table[0].sum(1)
    # What a mosaic makes of a sensor's noise is coloured, and cobbles or knitwear may be as even as noise.
    return measured if colour >= COLOURED * grey else None


def _least_restless(windows: NDArray[np.float32]) -> float:
    """Standard deviation of the calmest patches, slopes included; a quick look that most photos end with."""
    grey = windows.mean(1)
    variance = cell_means(grey * grey, PATCH) - cell_means(grey, PATCH) ** 2
    # np.quantile would load numpy.ma, which takes longer than all that a small photo's noise does.
    place = int(CALM * (variance.size - 1))
    return float(np.sqrt(max(0.0, np.partition(variance.ravel(), place)[place])))


def _beside_planes(windows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness, and the mean variance beside their best-fitting planes, of the patches that are not clipped."""
    count, channels, _, width = windows.shape
    strips = windows.reshape(-1, PATCH, width)
    # Level and slope down of the columns of each strip, then level and slope across of these.
    down = (_LINES @ strips).reshape(len(strips), 2, -1, PATCH)
    across = down[:, 0] @ _LINES.T
    squares = (strips * strips).sum(1).reshape(len(strips), -1, PATCH).sum(2)
    planes = across[..., 0] ** 2 + across[..., 1] ** 2 + (down[:, 1] @ _LINES[0]) ** 2
    ends = ((windows <= 1 / 255) | (windows >= 254 / 255)).astype(np.float32)
    shape = count, channels, -1
    brightness, variance, clipped = (
        values.reshape(shape).mean(1).ravel()
        for values in (across[..., 0] / PATCH, (squares - planes) / (PATCH**2 - PLANE), _patch_means(ends))
    )
    seen = clipped <= CLIPPED_SHARE
    return brightness[seen], variance[seen]


def _patch_means(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    return cell_means(windows.reshape(-1, *windows.shape[2:]), PATCH)
