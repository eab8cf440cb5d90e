"""One array of pixels through an engine, as `nsp denoise` would run a photo, and the time it took."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.noise.estimate import estimate_noise


@dataclass(frozen=True)
class Denoised:
    """Pixels (H, W, C) of the type that came in, the mean strength, and seconds of inference."""

    pixels: NDArray[Any]
    strength: float
    seconds: float


def denoise_pixels(
    pixels: NDArray[np.generic], engine: Engine, settings: InferenceSettings, known: NoisePrior | None = None
) -> Denoised:
    """Denoise (or enlarge) pixels (H, W, C) uint8, uint16 or float32 in 0..1; `known` is of their noise beforehand."""
    frame = Frame(pixels, None, Kind.PNG, Metadata(), Camera())
    begun = time.perf_counter()
    noise = estimate_noise(pixels, prior=known) if known and not tone_for(frame, settings.light) else None
    result = denoise_frame(frame, engine, settings, noise=noise)
    return Denoised(result.frame.pixels, result.strength, time.perf_counter() - begun)
