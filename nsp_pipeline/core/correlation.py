"""How far noise is correlated: its autocorrelation, from patches whose shading was taken away.

Taking a smooth surface out of a patch takes the slow part of correlated noise along: what is left looks weaker and
less correlated than it is. How much is a matter of geometry alone, so it can be undone: `as_seen` says what a true
autocovariance looks like after the removal, and `unbiased` finds the true one that looks like the measured one.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 32
"""Side of a patch in pixels: three times as wide as the longest correlation that is looked for."""

LAGS = 10
"""Longest lag, in pixels, that is measured; correlation beyond is taken to be none."""

TRANSFORM = 64
ROUNDS = 60
CHUNK = 256


@cache
def shading() -> NDArray[np.float32]:
    """Orthonormal surfaces of second degree on a patch, (6, SIDE, SIDE): constant, two slopes, three bends."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) * 2 - 1
    surfaces = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y]).reshape(6, -1)
    orthonormal, _ = np.linalg.qr(surfaces.T)
    return np.ascontiguousarray(orthonormal.T.reshape(6, SIDE, SIDE), dtype=np.float32)


def without_shading(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return patches minus their best-fitting surface of second degree; (..., SIDE, SIDE) in and out."""
    surfaces = shading().reshape(6, -1)
    flat = patches.reshape(-1, SIDE * SIDE)
    return np.asarray(flat - (flat @ surfaces.T) @ surfaces, dtype=np.float32).reshape(patches.shape)


def autocovariance(residuals: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean autocovariance of patches.

    Args:
        residuals: (P, C, SIDE, SIDE), of mean zero.

    Returns:
        (C, 2·LAGS + 1, 2·LAGS + 1), lag zero in the middle; the mean square stands there.
    """
    count, channels = residuals.shape[:2]
    power = np.zeros((channels, TRANSFORM, TRANSFORM // 2 + 1))
    for start in range(0, count, CHUNK):
        spectrum = np.fft.rfft2(residuals[start : start + CHUNK], s=(TRANSFORM, TRANSFORM))
        power += (spectrum.real**2 + spectrum.imag**2).sum(0)
    return _centred(np.fft.irfft2(power / max(1, count), s=(TRANSFORM, TRANSFORM))) / _overlap()


def as_seen(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what an autocovariance (2·LAGS + 1)² looks like in patches after `without_shading`; same shape."""
    surfaces = np.fft.rfft2(shading(), s=(TRANSFORM, TRANSFORM))
    kernel = np.zeros((TRANSFORM, TRANSFORM))
    kernel[: 2 * LAGS + 1, : 2 * LAGS + 1] = covariance
    kernel = np.roll(kernel, (-LAGS, -LAGS), (0, 1))
    # R q for each surface q: a convolution, for R holds the autocovariance of the pixels of one patch.
    spread = np.fft.irfft2(surfaces * np.fft.rfft2(kernel), s=(TRANSFORM, TRANSFORM))[:, :SIDE, :SIDE]
    among = np.tensordot(shading(), spread, ((1, 2), (1, 2)))
    # (1 - QQ')R(1 - QQ') = R - Q(RQ)' - (RQ)Q' + Q(Q'RQ)Q', its entries summed along each lag.
    once = np.fft.rfft2(spread - np.tensordot(among, shading(), 1) / 2, s=(TRANSFORM, TRANSFORM))
    crossed = _centred(np.fft.irfft2((np.conj(surfaces) * once).sum(0), s=(TRANSFORM, TRANSFORM)))
    return np.asarray(covariance - (crossed + crossed[::-1, ::-1]) / _overlap(), dtype=np.float64)


def unbiased(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the autocovariance for which `as_seen` gives the measured one; (2·LAGS + 1, 2·LAGS + 1) in and out."""
    found = seen.copy()
    for _ in range(ROUNDS):
        found += seen - as_seen(found)
    return found


def _centred(wrapped: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lags -LAGS..LAGS of a circular correlation (..., TRANSFORM, TRANSFORM)."""
    shifted = np.roll(wrapped, (LAGS, LAGS), (-2, -1))
    return np.asarray(shifted[..., : 2 * LAGS + 1, : 2 * LAGS + 1])


@cache
def _overlap() -> NDArray[np.float64]:
    """How many pairs of pixels of a patch are each lag apart."""
    along = SIDE - np.abs(np.arange(-LAGS, LAGS + 1))
    return np.outer(along, along).astype(np.float64)
