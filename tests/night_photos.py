"""Photos of a dark room: noise in the light, bent by a tone curve, and cut off at black where it is darkest."""

import numpy as np

from nsp_pipeline.core.depth import from_unit


def curve(light: np.ndarray) -> np.ndarray:
    seen = np.maximum(light, 0)
    return np.asarray(np.where(seen < 0.0031308, 12.92 * seen, 1.055 * np.maximum(seen, 1e-9) ** (1 / 2.4) - 0.055))


def dark_room(side: int = 512) -> np.ndarray:
    """Light (H, W, 3): soft shades from 2 to 12 % of white, with discs."""
    y, x = np.mgrid[0:side, 0:side] / side
    light = 0.02 + 0.06 * x + 0.02 * y
    light[(y - 0.4) ** 2 + (x - 0.3) ** 2 < 0.02] = 0.12
    return np.asarray(light[..., None] * np.array([1.0, 0.8, 0.7]))


def eight_bit(picture: np.ndarray) -> np.ndarray:
    return from_unit(picture.astype(np.float32).clip(0, 1), np.dtype(np.uint8))


def shared(noise: np.ndarray) -> np.ndarray:
    """Between neighbours, as demosaicing does; as strong as it was."""
    return np.asarray((noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2)


def night_photo(strength: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Noise in the light, more where there is more, under sRGB's curve; and what it is of."""
    light = dark_room()
    noise = shared(np.random.default_rng(0).normal(size=light.shape))
    return eight_bit(curve(light + strength * np.sqrt(light / 0.06) * noise)), eight_bit(curve(light))


def cut_off_at_black() -> np.ndarray:
    """As dark in its left half that much of the noise lies below black."""
    light = dark_room() / 12
    light[:, 256:] = dark_room()[:, 256:]
    noise = shared(np.random.default_rng(3).normal(size=light.shape))
    return eight_bit(curve(np.maximum(light + 0.012 * noise, 0)))
