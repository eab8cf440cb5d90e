"""New noise like the measured: as strong at every brightness, as correlated, and as colourful."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.correlation import LAGS
from nsp_pipeline.core.noise_field import NoiseField


def draw_noise(field: NoiseField, brightness: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw Gaussian noise of mean zero.

    Args:
        field: as measured, of C channels.
        brightness: (C, H, W) in 0..1, smooth; sides longer than twice the longest lag.

    Returns:
        (C, H, W) float32, on the scale of `brightness`.
    """
    channels, height, width = brightness.shape
    white = rng.standard_normal(brightness.shape)
    mixed = np.tensordot(_root(field.colour), white, 1)
    noise = np.empty(brightness.shape, np.float32)
    for c in range(channels):
        spectrum = _spectrum(field.correlation[c], height, width)
        shaped = np.fft.irfft2(np.fft.rfft2(mixed[c]) * np.sqrt(spectrum), s=(height, width))
        variance = field.curves[c].at(brightness[c].ravel()).reshape(height, width)
        noise[c] = shaped * np.sqrt(variance)
    return noise


def _spectrum(correlation: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Power by frequency (H, W // 2 + 1), mean 1; what measurement made negative is none."""
    kernel = np.zeros((height, width))
    kernel[: 2 * LAGS + 1, : 2 * LAGS + 1] = correlation
    power = np.fft.fft2(np.roll(kernel, (-LAGS, -LAGS), (0, 1))).real.clip(min=0)
    return np.asarray((power / power.mean())[:, : width // 2 + 1], dtype=np.float64)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A square root (C, C) of a covariance that need not have full rank."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(values.clip(min=0)), dtype=np.float64)
