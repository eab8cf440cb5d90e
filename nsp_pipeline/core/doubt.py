"""How likely it is that what a network removed as noise was texture: what a natural look goes by.

Texture that a network takes for noise is weak: what is much stronger it knows. So of weak noise a good part of what
goes may be texture, of strong noise next to nothing. And where the noise itself is not known for sure, as much as that
may be off may be texture as well. With texture of variance t and noise of variance σ² that cannot be told apart, the
mix with the least squared error keeps t / (t + σ²) of both (the Wiener filter).
"""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.blend import GRAIN_NATURAL
from nsp_pipeline.core.noise import FINE, NoiseLevel
from nsp_pipeline.core.noise_prior import MEASURED_UNSURE

WEAK_TEXTURE = 3 / 255
"""Standard deviation of the texture that passes for noise. Cameras' own photos up to ISO 3200 have noise of 1.6 to 6 of
255, and keep all that GRAIN_NATURAL says; phones' sensors at night have 15 to 40, and hardly keep any (see
docs/quality.md)."""


def doubt(estimate: NDArray[np.float32], noise: NoiseLevel) -> NDArray[np.float32]:
    """Return how much of a natural look each place of an estimate (C, H, W) is due: (1, H, W) in 0..1.

    All of it where so much of what was removed may be texture that GRAIN_NATURAL of it is to stay.

    Args:
        noise: of the photo, as it was found.
    """
    brightness = (np.arange(FINE, dtype=np.float32) + np.float32(0.5)) / np.float32(FINE)
    share = np.interp(brightness, noise.brightness, _texture_share(noise) / GRAIN_NATURAL).astype(np.float32)
    places = (estimate.sum(0) * np.float32(FINE / len(estimate))).astype(np.intp)
    return np.asarray(share.take(places, mode="clip")[None], dtype=np.float32)


def _texture_share(noise: NoiseLevel) -> NDArray[np.float64]:
    """Of what is removed as noise, the share that may be texture: (K,), GRAIN_NATURAL at most."""
    variance = noise.variance.mean(1, dtype=np.float64)
    unsure = np.full(len(variance), MEASURED_UNSURE) if noise.unsure is None else noise.unsure[:, 0]
    texture = WEAK_TEXTURE**2 + unsure**2 * variance
    return np.asarray(np.minimum(texture / (texture + variance), GRAIN_NATURAL), dtype=np.float64)
