"""A frame's pixels and alpha as one array, as most encoders take them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.frame import Frame


def samples_of(frame: Frame) -> NDArray[Any]:
    """Pixels and alpha (H, W, S), or (H, W) of grey alone; contiguous."""
    planes = [frame.pixels] if frame.alpha is None else [frame.pixels, frame.alpha[..., None]]
    samples = np.concatenate(planes, axis=2) if len(planes) > 1 else frame.pixels
    return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
