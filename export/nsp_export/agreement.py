"""When an exported graph counts as the network, and on what it is tried; needs no PyTorch."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.parity import LEAST_PSNR as PARITY
from nsp_pipeline.engines.tensorrt.size_range import Size
from nsp_pipeline.errors import NspError
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street

TOLERANCE = 1e-4
"""Largest difference of a value in 0..1 from the network's, in float32."""

LEAST_PSNR = PARITY["fp16"]
"""Of float16 against float32, in dB, on a photo-like image."""

CHECK_SIZE = (128, 192)

BRIGHTENED_SIZE = (384, 576)
"""Of a photo-like image that shows enough flat shadow to tell that a tone curve has bent its noise; the smaller one
does not."""

EXAMPLE_SIGMA = 0.02
"""Standard deviation (0..1) that fills the noise table of graphs that take one."""


class ParityError(NspError):
    """The exported graph does not compute what the network computes; nothing was published."""


def check_size(multiple: int, size: Size = CHECK_SIZE) -> Size:
    """A size rounded up to what a network takes."""
    height, width = (-(-side // multiple) * multiple for side in size)
    return height, width


def photo_like(size: Size) -> NDArray[np.float32]:
    """A noisy photo-like image (1, 3, H, W) in 0..1; repeated where it must be larger than it was drawn."""
    drawn = add_camera_noise(night_street(256, 384), shot=0.01, read=0.005, seed=0)
    height, width = size
    rows, cols = np.arange(height) % drawn.shape[0], np.arange(width) % drawn.shape[1]
    return np.ascontiguousarray(drawn[np.ix_(rows, cols)].transpose(2, 0, 1)[None], dtype=np.float32)
