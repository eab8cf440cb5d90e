"""Photos whose noise is known: a scene of shading, objects and textures, and noise of level a·x + b on it."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 768
LARGEST = {"uint8": 255, "uint16": 65535}


# Noise of every reach is put on the same scenes, one after the other.
@lru_cache(maxsize=8)
def scene(seed: int, side: int = SIDE) -> NDArray[np.float64]:
    """A grey scene (side, side) in 0..1, from deep shadow to a blown sky, a good third of it textured."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    turn = rng.uniform(0, 2 * np.pi)
    picture = np.clip(0.45 + 0.5 * ((x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)) * 1.3, 0.03, 0.92)
    for _ in range(14):
        across, down, radius = *rng.uniform(0, 1, 2), rng.uniform(0.05, 0.16)
        inside = (x - across) ** 2 + (y - down) ** 2 < radius**2
        shade = 1 + 0.25 * ((x - across) * rng.uniform(-1, 1) + (y - down) * rng.uniform(-1, 1)) / radius
        picture[inside] = (rng.uniform(0.03, 0.85) * shade)[inside]
    for _ in range(6):
        across, down, radius = *rng.uniform(0, 1, 2), rng.uniform(0.1, 0.2)
        inside = (np.abs(x - across) < radius) & (np.abs(y - down) < radius)
        right, below = x[inside], y[inside]
        stripes = np.sin((right * np.cos(turn) + below * np.sin(turn)) * side * rng.uniform(0.2, 2))
        cloth = np.sin(right * side * rng.uniform(0.2, 1)) * np.sin(below * side * rng.uniform(0.2, 1))
        picture[inside] += rng.uniform(0.01, 0.12) * (stripes if rng.random() < 0.5 else cloth)
    picture[: side // 12, : side // 5] = 1.0
    picture = np.asarray(np.clip(picture, 0, 1))
    picture.setflags(write=False)
    return picture


def correlated(rng: np.random.Generator, shape: tuple[int, int], reach: int) -> NDArray[np.float64]:
    """Noise of variance 1, (H, W), correlated up to `reach` pixels and no farther: a moving mean of independent."""
    padded = rng.standard_normal((shape[0] + reach, shape[1] + reach))
    for axis in (0, 1):
        padded = np.lib.stride_tricks.sliding_window_view(padded, reach + 1, axis=axis).sum(-1)
    return np.asarray(padded / (reach + 1))


def photo(
    seed: int, a: float, b: float, reach: int = 0, *, side: int = SIDE, channels: int = 1, dtype: str = "uint8"
) -> NDArray[Any]:
    """A noisy photo (side, side, channels): every channel the same scene with noise of its own."""
    rng = np.random.default_rng(10_000 + seed)
    clean = scene(seed, side)
    level = np.sqrt(a * clean + b)
    noisy = [clean + correlated(rng, clean.shape, reach) * level for _ in range(channels)]
    return np.rint(np.clip(np.stack(noisy, -1), 0, 1) * LARGEST[dtype]).astype(dtype)
