"""The noise that photos of one camera and setting have in common: its level by brightness, and its correlation.

Patches that show nothing but a smooth surface scatter about the noise level by an amount that follows from their size;
texture only ever adds. So the flat patches are those around the lower mode of (patch variance / level). Level and mode
are found alternately; the level is a broken line in brightness. Only a window of the scatter is used, and the bias of
that window is known.

Correlated noise makes the variance of a patch scatter far more than its number of pixels says. Once the spectrum of the
noise is known, weighting a patch's frequencies by its inverse makes every one of them count alike: so there are two
rounds, one for the spectrum and one for the level.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.correlation import LAGS, autocovariance, unbiased
from nsp_pipeline.core.noise_curve import NoiseCurve, fit_broken_line, fit_curve
from nsp_pipeline.core.patches import LEAST_VARIANCE, Patches

LOW, HIGH = -3.0, 1.0
"""The window of flat patches about the mode, in standard deviations of their scatter: above it texture begins."""

WIDEST_SCATTER = 0.3
FEWEST_FLAT = 40
ROUNDS = 12
CLIPPED_SIGMAS = 3.0
"""A channel whose mean lies nearer to black or white, in standard deviations, loses part of its noise there."""

SPECTRUM_FLOOR = 0.1
"""Frequencies with less of the mean power are left out: there, texture and rounding outweigh the noise."""

CHUNK = 512


@dataclass(frozen=True)
class NoiseField:
    """Noise of a camera at one setting.

    `curves` has one for each channel; `correlation` is (C, 2·LAGS + 1, 2·LAGS + 1) with 1 in the middle;
    `flat_patches` says how many it rests on. `colour` (C, C) is the correlation of the channels at one pixel.
    """

    curves: tuple[NoiseCurve, ...]
    correlation: NDArray[np.float64]
    flat_patches: int
    colour: NDArray[np.float64]

    @property
    def sigma(self) -> float:
        """Standard deviation over channels and brightness, root mean square, in 8-bit steps (0..255)."""
        return float(np.sqrt(np.mean([curve.at(curve.knots.x).mean() for curve in self.curves]))) * 255.0

    @property
    def by_lag(self) -> NDArray[np.float64]:
        """Correlation at 1, 2 ... LAGS pixels, (LAGS,): RMS over channels, in the direction of the most."""
        strength = np.sqrt((self.correlation**2).mean(0))
        distance = np.abs(np.arange(-LAGS, LAGS + 1))
        ring = np.maximum.outer(distance, distance)
        return np.array([strength[ring == lag].max() for lag in range(1, LAGS + 1)])


@dataclass(frozen=True)
class _Settled:
    """Which patches (P,) are flat, the variance (P, C) expected of them, and their scatter about it."""

    flat: NDArray[np.bool_]
    expected: NDArray[np.float64]
    scatter: float


def measure_field(photos: Sequence[Patches]) -> NoiseField | None:
    """Measure the noise that photos of one camera and setting have in common; None if too little of them is flat.

    The photos must have the same number of channels.
    """
    mean, residuals, usable, level = (
        np.concatenate([getattr(photo, name) for photo in photos]) for name in ("mean", "residuals", "usable", "level")
    )
    guess = np.repeat(level[:, None], mean.shape[1], axis=1).astype(np.float64)
    variance = np.where(usable, (residuals**2).mean((2, 3)), np.nan)
    first = _settle(mean, variance, guess, WIDEST_SCATTER / 2)
    if first is None:
        return None
    even = _evened(residuals, variance, first)
    found = _settle(mean, even, first.expected, first.scatter)
    if found is None:
        return None
    known = found.flat[:, None] & usable & _clear_of_clipping(mean, found.expected)
    if known.sum(0).min() < FEWEST_FLAT:
        return None
    quantisation = float(np.mean([photo.quantisation for photo in photos]))
    curves, correlations = [], []
    for c in range(mean.shape[1]):
        here, expected = known[:, c], found.expected[known[:, c], c]
        scaled = residuals[here, c] / np.sqrt(expected)[:, None, None]
        seen = autocovariance(scaled[:, None].astype(np.float32))[0]
        true = unbiased(seen)
        # In units of `expected`, so in it is what the removal of shading took, and the even measure has any scale.
        scale = true[LAGS, LAGS] / ((even[here, c] / expected).mean() * _mean_in_window(found.scatter))
        curves.append(fit_curve(mean[here, c], even[here, c] * scale - quantisation, expected))
        correlations.append(true / true[LAGS, LAGS])
    colour = _among_channels(residuals, known.all(1))
    return NoiseField(tuple(curves), np.stack(correlations), int(found.flat.sum()), colour)


def _among_channels(residuals: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Correlation (C, C) of the channels of residuals (P, C, SIDE, SIDE), over the patches that are known in all."""
    if not known.any():
        return np.eye(residuals.shape[1])
    covariance = np.zeros((residuals.shape[1],) * 2)
    places = np.flatnonzero(known)
    for start in range(0, len(places), CHUNK):
        some = residuals[places[start : start + CHUNK]].astype(np.float64)
        both = np.einsum("pcyx,pdyx->pcd", some, some)
        # Every patch counts alike, however strong the noise is at its brightness.
        covariance += (both / np.trace(both, axis1=1, axis2=2)[:, None, None]).sum(0)
    strength = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(strength, strength), dtype=np.float64)


def _settle(
    mean: NDArray[np.float32], variance: NDArray[np.floating], expected: NDArray[np.float64], scatter: float
) -> _Settled | None:
    """Find flat patches and noise level alternately, from a first guess; None where too few are flat.

    Args:
        mean: (P, C) brightness.
        variance: (P, C), NaN where clipped.
        expected: (P, C).
    """
    flat = np.zeros(len(mean), dtype=bool)
    for _ in range(ROUNDS):
        excess = _mean_of_known(variance / expected)
        flat = (excess > 1 + LOW * scatter) & (excess < 1 + HIGH * scatter)
        if flat.sum() < FEWEST_FLAT:
            return None
        expected = np.stack(
            [
                _level(mean[:, c], variance[:, c] / _mean_in_window(scatter), expected[:, c], flat)
                for c in range(mean.shape[1])
            ],
            axis=1,
        )
        scatter = min(_scatter(_mean_of_known(variance / expected)), WIDEST_SCATTER)
    return _Settled(flat, expected, scatter)


def _level(
    mean: NDArray[np.float32],
    variance: NDArray[np.floating],
    expected: NDArray[np.float64],
    flat: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Level (P,) that the flat patches of one channel show; as it was expected where all of them are clipped."""
    known = flat & ~np.isnan(variance)
    if not known.any():
        return expected
    return np.maximum(fit_broken_line(mean[known], variance[known], expected[known]).at(mean), LEAST_VARIANCE)


def _evened(residuals: NDArray[np.float32], variance: NDArray[np.float64], settled: _Settled) -> NDArray[np.float64]:
    """Variance (P, C), up to a factor, from all frequencies alike: each is divided by its mean in flat patches."""
    even = np.full(variance.shape, np.nan)
    for c in range(variance.shape[1]):
        known = ~np.isnan(variance[:, c])
        flat = settled.flat & known
        if not flat.any():
            continue
        total = sum(
            (power / settled.expected[chosen, c][:, None, None]).sum(0)
            for chosen, power in _powers(residuals[:, c], np.flatnonzero(flat))
        )
        typical = total / flat.sum()
        # All columns of a half spectrum but the first and the last stand for two.
        weight = np.full(typical.shape, 2.0)
        weight[:, [0, -1]] = 1.0
        weight[typical < SPECTRUM_FLOOR * np.average(typical, weights=weight)] = 0.0
        inverse = weight / np.where(weight > 0, typical, 1.0) / weight.sum()
        for chosen, power in _powers(residuals[:, c], np.flatnonzero(known)):
            even[chosen, c] = (power * inverse).sum((1, 2))
    return even


def _powers(
    residuals: NDArray[np.float32], wanted: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Power spectra of the wanted ones among residuals (P, SIDE, SIDE), some at a time, with their places."""
    for start in range(0, len(wanted), CHUNK):
        chosen = wanted[start : start + CHUNK]
        spectrum = np.fft.rfft2(residuals[chosen])
        yield chosen, spectrum.real**2 + spectrum.imag**2


def _mean_of_known(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the channels (P, C) that are not NaN; infinite where all are."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(1)
    mean = np.divide(total, known.sum(1), out=np.full(len(values), np.inf), where=known.any(1))
    return np.asarray(mean, dtype=np.float64)


def _scatter(excess: NDArray[np.float64]) -> float:
    """Standard deviation of flat patches about 1, from those below it: texture lies above."""
    below = 1 - excess[excess < 1]
    return 1.4826 * float(np.median(below)) if len(below) >= FEWEST_FLAT else WIDEST_SCATTER


def _mean_in_window(scatter: float) -> float:
    """Mean of what is normally distributed about 1 with that scatter, of which only the window is taken."""
    density = [exp(-z * z / 2) / sqrt(2 * pi) for z in (LOW, HIGH)]
    share = [0.5 * (1 + erf(z / sqrt(2))) for z in (LOW, HIGH)]
    return 1 + scatter * (density[0] - density[1]) / (share[1] - share[0])


def _clear_of_clipping(mean: NDArray[np.float32], variance: NDArray[np.float64]) -> NDArray[np.bool_]:
    reach = CLIPPED_SIGMAS * np.sqrt(variance)
    return np.asarray((mean - reach >= 0) & (mean + reach <= 1))
