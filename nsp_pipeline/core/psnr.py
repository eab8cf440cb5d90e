"""Peak signal-to-noise ratio."""

import math


def psnr_of(mean_square: float, peak: float = 1.0) -> float:
    """Return the PSNR in dB of a mean squared error of values up to `peak`; infinite for none, NaN for NaN."""
    return math.inf if mean_square == 0 else 10 * math.log10(peak**2 / mean_square)
