"""Whether an engine may be trusted: its pictures must be those of the float32 reference."""

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import measure_noise
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.engines.engine import Engine

PROBE = 192
LEAST_PSNR = {"fp32": 80.0, "fp16": 55.0, "bf16": 50.0}
"""Of the probe, in dB. On photos bfloat16 keeps about 57; what is broken is far below 50."""

MOST_DRIFT = 0.5 / 255
"""Difference of a channel's mean, in 0..1."""


def probe_image(side: int = PROBE) -> NDArray[np.float32]:
    """A picture to try engines on: (1, 3, side, side) in 0..1, ramps from black to white with edges and noise."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    picture = np.stack([np.add.outer(ramp, ramp) / 2, np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side))])
    picture[:, side // 4 : side // 2, side // 4 : side // 2] = picture[
        ::-1, side // 4 : side // 2, side // 4 : side // 2
    ]
    noisy = picture + rng.normal(0, 0.03, picture.shape)
    return np.asarray(noisy.clip(0, 1), dtype=np.float32)[None]


def disagreement(engine: Engine, reference: Engine) -> str | None:
    """Run both on the probe; None if the engine gives the reference's picture, else what is wrong, for people."""
    multiple = engine.info.multiple
    image = probe_image(-(-PROBE // multiple) * multiple)
    # Noise-conditioned networks get a noise table here as well: that is how photos are denoised.
    noise = (measure_noise(image[0].transpose(1, 2, 0)).table,) if engine.info.noise_conditioned else ()
    expected = reference.run(image, *noise)
    try:
        found = engine.run(image, *noise)
    except Exception as error:  # back ends raise bare classes of their own, and one that fails here is not taken
        return f"it fails: {str(error).strip() or type(error).__name__}"
    if found.shape != expected.shape:
        return f"it gives {found.shape} instead of {expected.shape}"
    if not np.isfinite(found).all():
        return "it gives values that are not numbers"
    drift = float(np.abs((found - expected).mean((0, 2, 3))).max())
    if drift > MOST_DRIFT:
        return f"its colours are off by {255 * drift:.1f} of 255"
    squared = float(((found - expected) ** 2).mean())
    psnr = psnr_of(squared)
    if psnr < LEAST_PSNR[engine.info.precision]:
        return f"it differs from float32 by {psnr:.0f} dB, less than {LEAST_PSNR[engine.info.precision]:.0f}"
    return None
