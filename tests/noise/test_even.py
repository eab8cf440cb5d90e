"""Strong noise in coarse blobs is found where it is everywhere alike, and texture is not taken for it."""

import numpy as np
import pytest

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.core.noise import PATCH, patch_statistics
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.even import _beside_planes, measured_where_even
from nsp_pipeline.noise.windows import cut_windows

pytest.importorskip("onnxruntime")


COLOUR = 0.6
"""Of the noise of each channel by itself, beside what all have."""


def blobs(radius: int, sigma: float, shape: tuple[int, int] = (512, 512)) -> np.ndarray:
    """Noise (H, W, 3), its means over so many pixels, of that standard deviation in 8-bit steps; mostly grey."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(*shape, 1)) + COLOUR * rng.normal(size=(*shape, 3))
    for axis in (0, 1):
        noise = np.sum([np.roll(noise, step, axis) for step in range(radius)], 0)
    return np.asarray(noise * sigma / 255 / noise.std())


def eight_bit(picture: np.ndarray) -> np.ndarray:
    return from_unit(picture.astype(np.float32).clip(0, 1), np.dtype(np.uint8))


def scene() -> np.ndarray:
    y, x = np.mgrid[0:512, 0:512] / 512
    picture = 0.3 + 0.4 * x
    picture[(y - 0.3) ** 2 + (x - 0.6) ** 2 < 0.03] = 0.75
    return np.repeat(picture[..., None], 3, 2)


@pytest.mark.parametrize("sigma", [18.0, 25.0])
def test_strong_coarse_noise_is_found(sigma: float) -> None:
    level = estimate_noise(eight_bit(scene() + blobs(3, sigma)))
    grey, coarse = 255 * level.table[0, :2, 2:6].mean(1)
    assert level.sigma == pytest.approx(sigma, rel=0.2)
    assert coarse > 2 * grey


def test_texture_that_is_stronger_in_one_place_than_in_the_other_is_no_noise() -> None:
    strength = 0.3 + 1.4 * np.random.default_rng(1).random((16, 16)).repeat(32, 0).repeat(32, 1)[..., None]
    told = estimate_noise(eight_bit(scene() + blobs(1, 3)))
    even, uneven = (cut_windows(eight_bit(scene() + part * blobs(3, 20))) for part in (1, strength))
    assert measured_where_even(even, told)
    assert measured_where_even(uneven, told) is None


def test_what_is_even_and_grey_may_be_cobbles() -> None:
    told = estimate_noise(eight_bit(scene() + blobs(1, 3)))
    grey = scene() + blobs(3, 20).mean(2, keepdims=True)
    assert measured_where_even(cut_windows(eight_bit(grey)), told) is None


def test_faint_coarse_noise_is_left_to_the_network() -> None:
    assert estimate_noise(eight_bit(scene() + blobs(3, 3))).sigma < 4


def test_what_varies_beside_planes_is_what_is_measured_in_flat_patches() -> None:
    windows = cut_windows(eight_bit(scene() + blobs(2, 12)))
    brightness, variance = _beside_planes(windows)
    strips = np.ascontiguousarray(windows.transpose(0, 2, 3, 1)).reshape(-1, PATCH, windows.shape[3], 3)
    level, measured, _ = patch_statistics(strips)
    seen = ~np.isnan(level)
    assert brightness == pytest.approx(level[seen], abs=1e-5)
    assert variance == pytest.approx(measured[seen].mean(1), rel=1e-3)
