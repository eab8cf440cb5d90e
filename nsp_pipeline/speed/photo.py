"""The photo that is timed: what it shows does not matter, but its noise must be there to be measured."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street

PAINTED = (800, 1200)
"""Rows and columns that are painted; larger photos repeat them."""


def noisy_photo(height: int, width: int) -> NDArray[np.generic]:
    """A street at night at high ISO: (height, width, 3) uint8."""
    clean = night_street(*PAINTED)
    noisy = from_unit(add_camera_noise(clean, shot=0.01, read=0.005, seed=0), np.dtype(np.uint8))
    down, across = -(-height // PAINTED[0]), -(-width // PAINTED[1])
    return np.ascontiguousarray(np.tile(noisy, (down, across, 1))[:height, :width])
