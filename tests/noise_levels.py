"""Noise levels of one camera, alike at every brightness."""

import numpy as np

from nsp_pipeline.core.noise import NoiseLevel

CAMERA = (4.0, 8.0, 2.0, 5.0)
"""Of 255: grey noise and coarse grey noise, colour noise and coarse colour noise."""


def seen(kinds: tuple[float, ...] = CAMERA, unsure: float | None = 0.2) -> NoiseLevel:
    """A level of these kinds, and how unsure it is; None: nobody said."""
    variances = ((np.array(kinds) / 255) ** 2)[None].repeat(8, 0).astype(np.float32)
    return NoiseLevel(
        np.linspace(0, 1, 8, dtype=np.float32),
        (variances[:, 0] + variances[:, 2])[:, None].repeat(3, 1),
        variances,
        None if unsure is None else np.full((8, 4), unsure, np.float32),
        np.full(8, 1 / 8, np.float32),
    )


def times(factor: float) -> tuple[float, ...]:
    """The camera's noise, so many times as strong."""
    return tuple(factor * kind for kind in CAMERA)


def grey(noise: NoiseLevel) -> float:
    """Grey noise, of 255."""
    return 255 * float(noise.table[0, 0].mean())
