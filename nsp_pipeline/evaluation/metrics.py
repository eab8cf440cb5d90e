"""PSNR and SSIM between 8-bit photos, computed as the NSP paper's evaluation does."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.errors import MissingCapabilityError

STRIP = 512
"""Rows of a photo whose SSIM is computed at a time: its intermediate images take 100 bytes a sample."""

SSIM_RADIUS = 5
"""Half the side of the Gaussian window (sigma 1.5, cut off at 3.5 sigma), as in Wang et al. 2004."""

SMALLEST_SIDE = 2 * SSIM_RADIUS + 1
"""Of a photo whose SSIM is defined: the window must fit in once."""


def to_eight_bit(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return pixels (H, W, C) as uint8, for which both scores are defined; from uint8, uint16 or float32 in 0..1."""
    return from_unit(to_unit(pixels), np.dtype(np.uint8)).astype(np.uint8, copy=False)


def require_ssim() -> Callable[..., Any]:
    """Raise MissingCapabilityError if SSIM cannot be computed; call it before hours of inference."""
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MissingCapabilityError(
            f"SSIM needs scikit-image ({error}): pip install 'nsp-pipeline[cpu,train]'"
        ) from None
    return cast(Callable[..., Any], structural_similarity)


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB over all channels, peak 255; infinite for equal photos (H, W, C)."""
    squares = sum(
        float(((a.astype(np.float32) - b.astype(np.float32)) ** 2).sum(dtype=np.float64))
        for a, b in zip(first, second, strict=True)
    )
    return psnr_of(squares / first.size, peak=255.0)


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity, mean over channels; Gaussian weights of sigma 1.5 (Wang et al. 2004).

    Variances are those of the population, and the mean leaves out the border where the window does not fit.

    Args:
        first, second: (H, W, C), both sides at least 11 pixels.

    Raises:
        MissingCapabilityError: scikit-image is not installed.
    """
    structural_similarity = require_ssim()
    total, rows = 0.0, 0
    height = first.shape[0]
    # Strips overlap by the window, so that together they give exactly the mean over the whole photo.
    for top in range(SSIM_RADIUS, height - SSIM_RADIUS, STRIP):
        bottom = min(top + STRIP, height - SSIM_RADIUS)
        window = slice(top - SSIM_RADIUS, bottom + SSIM_RADIUS)
        score = structural_similarity(
            first[window],
            second[window],
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        total += float(score) * (bottom - top)
        rows += bottom - top
    return total / rows
