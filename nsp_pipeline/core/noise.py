"""How noisy a photo is, measured from its own flat patches.

In a flat patch all that varies is the noise. The patches of a photo are sorted by brightness; within each brightness
the flat ones are those that vary least, found by a median that discards whatever varies more than twice as much.
Correlated noise is measured in full, since a patch is wider than the correlation is long.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit

PATCH = 16
MAX_PATCHES = 12_000
BRIGHTNESS_BINS = 12
FEWEST_PATCHES = 30
CLIPPED_SHARE = 0.02
FLAT_IF_BELOW = 2.0
ROUNDS = 8


@dataclass(frozen=True)
class NoiseLevel:
    """Noise variance as a function of brightness, for pixel values in 0..1.

    `brightness` (K,) rises; `variance` (K, C) belongs to it; between the nodes it is interpolated.
    """

    brightness: NDArray[np.float32]
    variance: NDArray[np.float32]

    def at(self, brightness: NDArray[np.float32]) -> NDArray[np.float32]:
        """Variance summed over the channels, at each brightness; any shape, same shape out."""
        interpolated = np.interp(brightness, self.brightness, self.variance.sum(1))
        return np.asarray(interpolated, dtype=np.float32)

    @property
    def sigma(self) -> float:
        """Standard deviation over channels and nodes, root mean square, in 8-bit steps (0..255)."""
        return float(np.sqrt(self.variance.mean()) * 255.0)


def measure_noise(pixels: NDArray[np.generic]) -> NoiseLevel:
    """Measure the noise of a photo from its flat patches.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1.

    Returns:
        The noise level; all zero for photos too small (a side under 16 pixels) or too clipped to tell.
    """
    height, width, channels = pixels.shape
    nothing = NoiseLevel(np.zeros(1, np.float32), np.zeros((1, channels), np.float32))
    rows, cols = height // PATCH, width // PATCH
    if rows * cols == 0:
        return nothing
    step = -(-rows * cols // MAX_PATCHES)
    means, variances = [], []
    for row in range(0, rows, step):
        strip = pixels[row * PATCH : (row + 1) * PATCH, : cols * PATCH]
        mean, variance = _patch_statistics(to_unit(strip), channels)
        means.append(mean)
        variances.append(variance)
    mean, variance = np.concatenate(means), np.concatenate(variances)
    usable = ~np.isnan(mean)
    if usable.sum() < 1:
        return nothing
    return _level_by_brightness(mean[usable], variance[usable])


def _patch_statistics(strip: NDArray[np.float32], channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness (P,) of the patches of one strip, NaN where clipped, and variance (P, C) about their best plane."""
    patches = strip.reshape(PATCH, -1, PATCH, channels).transpose(1, 3, 0, 2)
    clipped = ((patches <= 1 / 255) | (patches >= 254 / 255)).mean((1, 2, 3)) > CLIPPED_SHARE
    ramp = (np.arange(PATCH, dtype=np.float32) - (PATCH - 1) / 2) / np.sqrt((PATCH**2 - 1) / 12)
    mean = patches.mean((2, 3))
    down = (patches.mean(3) * ramp).mean(2)
    across = (patches.mean(2) * ramp).mean(2)
    count = PATCH * PATCH
    centred = patches - mean[:, :, None, None]
    variance = ((centred**2).mean((2, 3)) - down**2 - across**2) * (count / (count - 3))
    brightness = np.where(clipped, np.float32(np.nan), mean.mean(1))
    return brightness, np.maximum(variance, 0)


def _level_by_brightness(mean: NDArray[np.float32], variance: NDArray[np.float32]) -> NoiseLevel:
    """Sort patches into brightness bins of equal counts, and find the flat ones of each."""
    order = np.argsort(mean, kind="stable")
    bins = np.array_split(order, max(1, min(BRIGHTNESS_BINS, len(order) // FEWEST_PATCHES)))
    nodes = np.array([mean[chosen].mean() for chosen in bins], dtype=np.float32)
    levels = np.array([_flat_variance(variance[chosen]) for chosen in bins], dtype=np.float32)
    return NoiseLevel(nodes, levels)


def _flat_variance(variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median variance (C,) of the flat patches among (P, C)."""
    total = variance.sum(1)
    level = np.quantile(total, 0.1)
    for _ in range(ROUNDS):
        level = np.median(total[total <= FLAT_IF_BELOW * level])
    flat = total <= FLAT_IF_BELOW * level
    return np.median(variance[flat], axis=0)  # type: ignore[no-any-return]
