"""What is told of a camera's noise: less by as much as the estimate may be off.

A network that has learnt how much more noise cameras leave in texture needs no more than what is there for sure. Told
too much it takes texture for noise, and what it takes is gone; told too little it leaves some grain.
"""

from dataclasses import replace

import numpy as np

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_kind import NoiseKind, noise_kind

LIKELY_ERRORS = 1.0
"""So many times its likely error is taken off the logarithm of the noise."""


def with_told(noise: NoiseLevel) -> NoiseLevel:
    """The same noise, and less of it told, all kinds alike, where a camera has smoothed it and its error is known."""
    if noise.kinds is None or noise.unsure is None or noise.own_means:
        return noise
    if not noise.kinds[:, 0].any() or noise_kind(noise.table) is not NoiseKind.SMOOTHED:
        return noise
    less = np.exp(-2 * LIKELY_ERRORS * noise.unsure[:, :1]).astype(np.float32)
    return replace(noise, told=replace(noise, kinds=less * noise.kinds, variance=less * noise.variance))
