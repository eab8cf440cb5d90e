"""How noisy a photo is, measured from its own flat patches.

In a flat patch all that varies is the noise. The patches of a photo are sorted by brightness; within each brightness
the flat ones are those that vary least, found by a median that discards whatever varies more than twice as much.
Correlated noise is measured in full, since a patch is wider than the correlation is long.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit

PATCH = 16
MAX_PATCHES = 12_000
PATCHES_AT_ONCE = 350
"""So many fit into a processor's cache as numbers."""

BRIGHTNESS_BINS = 12
FEWEST_PATCHES = 30
CLIPPED_SHARE = 0.02
FLAT_IF_BELOW = 2.0
ROUNDS = 8

SUDDEN, STEEPEST, NEAR_WHITE = 0.25, 4.0, 0.75
"""Between two brightnesses of a photo, the logarithm of σ changes by no more than SUDDEN + STEEPEST times their
distance. No camera's noise changes faster; a faster change means that everything of one brightness is texture, which
looks like noise. Patches near white say nothing about darker ones, because tone curves flatten the noise there."""

ROUNDING = 1e-11
"""Variance that float32 leaves in flat patches at most; storing in 16 bits alone leaves twice that."""

PLANE = 3
"""Degrees of freedom that a patch loses to its best plane."""

CELL = 4
"""Pixels of a CELL×CELL block are averaged to see how coarse noise is."""

TABLE_ROWS, TABLE_NODES = 4, 8
"""A noise table's rows: standard deviation of grey noise, of grey noise in CELL×CELL means (times CELL, so that white
noise has the same in both), and both again for colour noise; its columns: brightness 0 to 1 in equal steps."""

PIECE = 1 << 15
"""Values that are brightened at once: as 64-bit numbers they fit into a processor's cache."""

FINE = 1 << 16
"""Steps of brightness in which a picture's noise is looked up."""

UNKNOWN = -0.05
"""Fills a noise table where nothing was measured."""


@dataclass(frozen=True)
class NoiseLevel:
    """Noise variance as a function of brightness, for pixel values in 0..1.

    `brightness` (K,) rises; `variance` (K, C) belongs to it; between the nodes it is interpolated. `kinds` (K, 4) are
    the variances that a noise table has the roots of. `unsure` (K, 4) is the relative error to be expected of those
    roots; None where it was not estimated. `share` (K,) says how much of the photo has each brightness; None: alike.
    `brightening` (65,) is by how much values of 0 to 1, in equal steps, are too dark because a tone curve has bent the
    noise (see bent_noise.py), and `channel_brightening` (C, 65) the same of each channel, None: of each alike; where
    `brightening` is None, none is. `own_means`: networks err in the mean of such noise, and the photo's own local means
    are taken. `known_share` is how much of it is what was known of the camera beforehand, 0..1 (see
    noise_prior.py); None: nothing was, or there is no noise. `told` is what networks and blending go by in its place,
    None: by itself. `of_light`: whether it is that of light, seen through a
    curve; even where it is as fine as white noise, it lies otherwise.
    """

    brightness: NDArray[np.float32]
    variance: NDArray[np.float32]
    kinds: NDArray[np.float32] | None = None
    unsure: NDArray[np.float32] | None = None
    share: NDArray[np.float32] | None = None
    brightening: NDArray[np.float32] | None = None
    channel_brightening: NDArray[np.float32] | None = None
    own_means: bool = False
    known_share: float | None = None
    of_light: bool = False
    told: "NoiseLevel | None" = None

    @property
    def as_told(self) -> "NoiseLevel":
        """What networks and blending go by."""
        return self.told or self

    def at(self, brightness: NDArray[np.float32]) -> NDArray[np.float32]:
        """Variance summed over the channels, at each brightness; any shape, same shape out."""
        interpolated = np.interp(brightness, self.brightness, self.variance.sum(1))
        return np.asarray(interpolated, dtype=np.float32)

    def at_pixels(self, total: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
        """The same for whole pictures, within a ten-thousandth, in a fifth of the time: read off FINE steps.

        Args:
            total: brightness summed over so many channels; any shape, same shape out.
        """
        places = (total * np.float32(FINE / channels)).astype(np.intp)
        return np.asarray(self._fine.take(places, mode="clip"))

    @cached_property
    def _fine(self) -> NDArray[np.float32]:
        """Variance in the middle of each of FINE steps of brightness."""
        return self.at((np.arange(FINE, dtype=np.float32) + np.float32(0.5)) / np.float32(FINE))

    def brightened(self, estimate: NDArray[np.float32]) -> NDArray[np.float32]:
        """What was photographed, where an estimate (C, ...) in 0..1 is the mean of noisy values; same shape out."""
        if self.brightening is None:
            return estimate
        found = np.array(estimate, dtype=np.float32)
        if self.channel_brightening is None:
            _raise_by(found.reshape(-1), self.brightening)
        else:
            for channel, curve in zip(found, self.channel_brightening, strict=True):
                _raise_by(channel.reshape(-1), curve)
        return found

    @property
    def most_brightened(self) -> float:
        """By how much values become brighter at most, in 0..1."""
        curves = self.channel_brightening if self.channel_brightening is not None else self.brightening
        return 0.0 if curves is None else float(curves.max())

    @classmethod
    def unknown(cls, channels: int = 3) -> Self:
        """Return the level of a photo in which nothing can be measured: no noise, and a table of UNKNOWN."""
        return cls(np.zeros(1, np.float32), np.zeros((1, channels), np.float32))

    @property
    def sigma(self) -> float:
        """Standard deviation over channels and the photo's brightnesses, root mean square, in 8-bit steps (0..255)."""
        return float(np.sqrt(np.average(self.variance.mean(1), weights=self.share)) * 255.0)

    @property
    def table(self) -> NDArray[np.float32]:
        """The noise table for a network: (1, TABLE_ROWS, TABLE_NODES), in 0..1; UNKNOWN where nothing was measured."""
        if self.kinds is None:
            return np.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, np.float32)
        nodes = np.linspace(0, 1, TABLE_NODES)
        rows = [np.interp(nodes, self.brightness, kind) for kind in self.kinds.T]
        return np.sqrt(np.array(rows, dtype=np.float32))[None]


def _raise_by(values: NDArray[np.float32], curve: NDArray[np.float32]) -> None:
    """Add to values (N,) in place what a curve over 0..1 has there."""
    for start in range(0, values.size, PIECE):
        piece = values[start : start + PIECE]
        piece[:] = piece + _between_equal_steps(piece, curve)


def variance_of(kinds: NDArray[np.floating[Any]], channels: int) -> NDArray[np.float32]:
    """Variances (K, channels): over the channels, the mean is that of what is grey and that of what differs from it."""
    total = np.asarray(kinds[:, 0] + kinds[:, TABLE_ROWS // 2], dtype=np.float32)
    return total[:, None].repeat(channels, axis=1)


def _between_equal_steps(values: NDArray[np.float32], curve: NDArray[np.float32]) -> NDArray[np.float64]:
    """What np.interp gives of a curve over 0..1 in 2^k equal steps, to the last bit, in a third of the time.

    Times 2^k a value tells without rounding between which two nodes it lies; np.interp looks for them.
    """
    steps, nodes = len(curve) - 1, curve.astype(np.float64)
    slopes = np.append(np.diff(nodes) * steps, 0.0)
    beyond = values.clip(0, 1)
    before = np.floor(beyond * np.float32(steps))
    places = before.astype(np.intp)
    before /= np.float32(steps)
    beyond -= before
    found = slopes.take(places)
    found *= beyond
    found += nodes.take(places)
    return found


def measure_noise(pixels: NDArray[np.generic]) -> NoiseLevel:
    """Measure the noise of a photo from its flat patches.

    Args:
        pixels: (H, W, C) uint8, uint16 or float32 in 0..1.

    Returns:
        The noise level; all zero for photos too small (a side under 16 pixels) or too clipped to tell.
    """
    height, width, channels = pixels.shape
    nothing = NoiseLevel.unknown(channels)
    rows, cols = height // PATCH, width // PATCH
    if rows * cols == 0:
        return nothing
    step = -(-rows * cols // MAX_PATCHES)
    means, variances = [], []
    kinds = []
    strips = pixels[: rows * PATCH, : cols * PATCH].reshape(rows, PATCH, cols * PATCH, channels)[::step]
    together = max(1, PATCHES_AT_ONCE // cols)
    for first in range(0, len(strips), together):
        mean, variance, kind = patch_statistics(to_unit(strips[first : first + together]))
        means.append(mean)
        variances.append(variance)
        kinds.append(kind)
    mean, variance, kind = np.concatenate(means), np.concatenate(variances), np.concatenate(kinds)
    usable = ~np.isnan(mean)
    if usable.sum() < 1:
        return nothing
    return _level_by_brightness(mean[usable], variance[usable], kind[usable])


def patch_statistics(
    strips: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return what the patches of strips (S, PATCH, W, C) show about their best-fitting plane.

    Returns:
        Brightness (P,), NaN where clipped; variance (P, C); and the variances (P, 4) of a noise table.
    """
    count, channels = PATCH * PATCH, strips.shape[3]
    # All that follows are products of small matrices, one for each patch: large ones would be shared between threads,
    # which wait for each other longer than one of them computes.
    patches = strips.reshape(len(strips), PATCH, -1, PATCH, channels).transpose(0, 2, 4, 1, 3)
    patches = patches.reshape(-1, channels, count)
    clipped = ((patches <= 1 / 255) | (patches >= 254 / 255)).sum((1, 2)) > CLIPPED_SHARE * channels * count
    planes = patches @ _PLANES
    brightness = np.where(clipped, np.float32(np.nan), planes[..., 0].mean(1) / np.float32(PATCH))
    residual = np.asarray(patches - planes @ _PLANES.T, dtype=np.float32)
    return brightness, _squares(residual) / np.float32(count - PLANE), _kinds(residual)


def _kinds(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Variances (P, 4) of grey and colour noise, of pixels and of CELL×CELL means, of patches (P, C, PATCH²)."""
    grey = residual.mean(1, keepdims=True)
    kinds = []
    for part in (grey, residual - grey):
        for values, cell in ((part, 1), (part @ _CELLS, CELL)):
            kinds.append(cell**2 * _squares(values).mean(1) / (values.shape[2] - PLANE))
    return np.stack(kinds, 1)


def _squares(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of squares over the last axis."""
    return np.asarray(np.einsum("pcn,pcn->pc", values, values), dtype=np.float32)


def _plane_basis() -> NDArray[np.float32]:
    """(PATCH², 3): a level, a slope down and one across, each of length 1 and at right angles."""
    ramp = (np.arange(PATCH) - (PATCH - 1) / 2) / np.sqrt((PATCH**2 - 1) / 12)
    parts = np.ones((PATCH, PATCH)), np.repeat(ramp[:, None], PATCH, 1), np.repeat(ramp[None], PATCH, 0)
    return np.stack([part.ravel() / PATCH for part in parts], 1).astype(np.float32)


def _cell_means() -> NDArray[np.float32]:
    """(PATCH², cells): takes a patch to the means of its CELL×CELL cells."""
    rows, cols = np.indices((PATCH, PATCH)).reshape(2, -1) // CELL
    across = PATCH // CELL
    return np.asarray(np.eye(across**2)[rows * across + cols] / CELL**2, dtype=np.float32)


_PLANES, _CELLS = _plane_basis(), _cell_means()


def _level_by_brightness(
    mean: NDArray[np.float32], variance: NDArray[np.float32], kinds: NDArray[np.float32]
) -> NoiseLevel:
    """Sort patches into brightness bins of equal counts, and find the flat ones of each."""
    order = np.argsort(mean, kind="stable")
    bins = np.array_split(order, max(1, min(BRIGHTNESS_BINS, len(order) // FEWEST_PATCHES)))
    nodes = np.array([mean[chosen].mean() for chosen in bins], dtype=np.float32)
    levels, tables = [], []
    for chosen in bins:
        flat = chosen[_flat(variance[chosen])]
        levels.append(np.median(variance[flat], axis=0))
        tables.append(np.median(kinds[flat], axis=0))
    # What is left of a picture without noise is rounding, and must not pass for a little noise.
    variances, kinds = (np.array(found, dtype=np.float32) for found in (levels, tables))
    variances[variances < ROUNDING], kinds[kinds < ROUNDING] = 0, 0
    credible = _credible_share(nodes, variances.sum(1))[:, None]
    return NoiseLevel(nodes, variances * credible, kinds * credible)


def _credible_share(brightness: NDArray[np.float32], variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """What of each variance (K,) can be noise, 0 to 1, when that at the other brightnesses is."""
    witnesses = brightness <= NEAR_WHITE
    if not witnesses.any():
        return np.ones_like(variance)
    apart = np.abs(brightness[:, None] - brightness[None, witnesses])
    most = (variance[witnesses] * np.exp(2 * (SUDDEN + STEEPEST * apart))).min(1)
    return np.asarray(np.minimum(1, most / np.maximum(variance, np.float32(1e-12))), dtype=np.float32)


def _flat(variance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which of the patches (P, C) are flat."""
    total = variance.sum(1)
    level = np.quantile(total, 0.1)
    for _ in range(ROUNDS):
        level = np.median(total[total <= FLAT_IF_BELOW * level])
    return np.asarray(total <= FLAT_IF_BELOW * level)
