"""A camera's noise by ISO, from what was found in its photos one by one.

In every kind of noise and at every brightness, the logarithm of the noise is taken to be a straight line over the
logarithm of ISO. Photos count by how certain their own noise is; those far off the line (texture from edge to edge, an
edited photo) count less. How far photos of a camera lie off it by themselves is part of what is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_prior import MEASURED_UNSURE, NoisePrior, level_of

RISE, RISE_SPREAD = 0.35, 0.15
"""By how much the logarithm of the noise rises with every doubling of ISO, and by how much cameras differ in it. That
of light alone rises by 0.35; cameras that denoise more at high ISO let it rise less."""

SPREAD, SPREAD_PHOTOS = 0.2, 2
"""How far photos of one camera differ by themselves where nothing is known, and how many photos that is worth."""

LEAST_SPREAD = 0.12
"""Each photo of 25 of the archive, left out in turn, lies 0.11 to 0.29 off what the others of its camera say; with less
than this, those of one camera lay 1.75 times as far off as was said (1.4 times now)."""

FAR = 1.5
"""Standard deviations off the line from which a photo counts less: as much less as it is farther off."""

ROUNDS = 8
HALF_A_STOP = 2**0.5


@dataclass(frozen=True, eq=False)
class CameraNoise:
    """What is known of a camera's noise at some ISO, rising; an ISO of None stands alone, for any.

    `photos` is how many photos of each ISO were looked at.
    """

    isos: tuple[int | None, ...]
    priors: tuple[NoisePrior, ...]
    photos: tuple[int, ...]

    def at(self, iso: int | None) -> NoisePrior | None:
        """What is known at an ISO, between those of the photos as well; None where it is outside, or unknown."""
        if self.isos[0] is None:
            return self.priors[0]
        if iso is None or not self.covers(iso):
            return None
        known = np.log([float(one or 0) for one in self.isos])
        place = float(np.interp(np.log(iso), known, np.arange(len(known))))
        before = min(int(place), len(known) - 1)
        after, share = min(before + 1, len(known) - 1), place - before
        low, high = self.priors[before], self.priors[after]
        return NoisePrior(low.level + share * (high.level - low.level), low.unsure + share * (high.unsure - low.unsure))

    def covers(self, iso: int) -> bool:
        """Whether an ISO lies between those of the photos, or less than half a stop outside."""
        low, high = self.isos[0], self.isos[-1]
        return low is None or high is None or low / HALF_A_STOP <= iso <= high * HALF_A_STOP

    @property
    def usual_iso(self) -> int | None:
        """The ISO of the photo in the middle."""
        halfway = np.searchsorted(np.cumsum(self.photos), sum(self.photos) / 2)
        return self.isos[int(halfway)]


def camera_noise(found: Sequence[tuple[int | None, NoiseLevel]]) -> CameraNoise | None:
    """What is known of a camera after estimating the noise of its photos.

    Args:
        found: of each photo its ISO, and its noise at the brightnesses of a noise table. Photos without noise, which
            are none, do not count; nor do those without ISO where others have one.

    Returns:
        None where no photo is left.
    """
    usable = [(iso, noise) for iso, noise in found if noise.kinds is not None and noise.kinds.any()]
    if any(iso for iso, _ in usable):
        usable = [(iso, noise) for iso, noise in usable if iso]
    if not usable:
        return None
    line = _line(usable)
    isos = sorted({iso for iso, _ in usable}, key=lambda iso: iso or 0)
    photos = [sum(1 for other, _ in usable if other == iso) for iso in isos]
    return CameraNoise(tuple(isos), tuple(line.at(_stops(iso)) for iso in isos), tuple(photos))


def _stops(iso: int | None) -> float:
    return float(np.log2(iso)) if iso else 0.0


@dataclass(frozen=True, eq=False)
class _Line:
    """Level (R, K) at `middle` stops, rise with each, their covariance (2, 2, R, K), and photos' spread (R, 1)."""

    middle: float
    level: NDArray[np.float64]
    rise: NDArray[np.float64]
    covariance: NDArray[np.float64]
    spread: NDArray[np.float64]

    def at(self, stops: float) -> NoisePrior:
        apart = stops - self.middle
        variance = self.covariance[0, 0] + 2 * apart * self.covariance[0, 1] + apart**2 * self.covariance[1, 1]
        return NoisePrior(self.level + apart * self.rise, np.sqrt(variance + self.spread**2))


def _line(found: Sequence[tuple[int | None, NoiseLevel]]) -> _Line:
    """Fit the line, with weights that follow from how far off it photos lie, in turns."""
    stops = np.array([_stops(iso) for iso, _ in found])
    middle = float(stops.mean())
    apart = (stops - middle)[:, None, None]
    level = np.stack([level_of(noise.table[0]) for _, noise in found])
    unsure = np.stack([_unsure(noise) for _, noise in found])
    # A grey photo says nothing of colour.
    said = (unsure**-2.0) * (level > level_of(np.zeros(1, np.float32))) + 1e-6
    spread, counted = np.full((level.shape[1], 1), SPREAD), np.ones_like(level)
    for _ in range(ROUNDS):
        weights = counted / (1 / said + spread**2)
        own, mixed = weights.sum(0), (weights * apart).sum(0)
        square = (weights * apart**2).sum(0) + RISE_SPREAD**-2
        sums, products = (weights * level).sum(0), (weights * level * apart).sum(0) + RISE * RISE_SPREAD**-2
        determinant = own * square - mixed**2
        at_middle = (square * sums - mixed * products) / determinant
        rise = (own * products - mixed * sums) / determinant
        off = level - at_middle - rise * apart
        counted = np.minimum(1, FAR / np.maximum(np.abs(off) / np.sqrt(1 / said + spread**2), 1e-9))
        beyond = ((counted * off**2 - 1 / said) * said).sum((0, 2)) / said.sum((0, 2))
        mean = (SPREAD_PHOTOS * SPREAD**2 + len(level) * np.maximum(beyond, 0)) / (SPREAD_PHOTOS + len(level))
        spread = np.sqrt(np.maximum(mean, LEAST_SPREAD**2))[:, None]
    covariance = np.array([[square, -mixed], [-mixed, own]]) / determinant
    return _Line(middle, at_middle, rise, covariance, spread)


def _unsure(noise: NoiseLevel) -> NDArray[np.float64]:
    if noise.unsure is None:
        return np.full(noise.table.shape[1:], MEASURED_UNSURE)
    return noise.unsure.T.astype(np.float64)
