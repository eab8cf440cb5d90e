"""When an exported graph counts as the network; needs no PyTorch."""

from nsp_pipeline.engines.parity import LEAST_PSNR as PARITY
from nsp_pipeline.errors import NspError

TOLERANCE = 1e-4
"""Largest difference of a value in 0..1 from the network's, in float32."""

LEAST_PSNR = PARITY["fp16"]
"""Of float16 against float32, in dB, on a photo-like image."""


EXAMPLE_SIGMA = 0.02
"""Standard deviation (0..1) that fills the noise table of graphs that take one."""


class ParityError(NspError):
    """The exported graph does not compute what the network computes; nothing was published."""
