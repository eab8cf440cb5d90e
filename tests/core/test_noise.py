"""Noise measured from a photo's flat patches is the noise that was put there."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN, NoiseLevel, measure_noise


def scene(side: int = 512) -> np.ndarray:
    """A photo-like picture (H, W, 3) in 0..1: a ramp, discs, and fine texture in one quarter."""
    y, x = np.mgrid[0:side, 0:side] / side
    picture = 0.2 + 0.5 * x
    picture[(y - 0.3) ** 2 + (x - 0.6) ** 2 < 0.03] = 0.7
    picture[side // 2 :, : side // 2] += 0.1 * np.sin(np.arange(side // 2) * 1.7)
    return np.repeat(picture[..., None], 3, 2)


def correlated(noise: np.ndarray) -> np.ndarray:
    """Noise (H, W, C) averaged over 2×2 pixels, brought back to its variance."""
    mixed = sum(np.roll(noise, (dy, dx), (0, 1)) for dy in (0, 1) for dx in (0, 1)) / 2
    return np.asarray(mixed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [2.0, 6.0, 15.0])
@pytest.mark.parametrize("kind", ["white", "correlated"])
def test_sigma_is_found_within_a_tenth(sigma: float, kind: str, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, sigma / 255, (512, 512, 3))
    noisy = scene() + (noise if kind == "white" else correlated(noise))
    pixels = from_unit(noisy.astype(np.float32), np.dtype(np.uint8))

    assert measure_noise(pixels).sigma == pytest.approx(sigma, rel=0.1)


def test_noise_that_grows_with_brightness_is_found_at_each_brightness() -> None:
    clean = scene()
    noisy = clean + np.random.default_rng(0).normal(0, 1, clean.shape) * np.sqrt(2e-3 * clean + 1e-4)
    level = measure_noise(from_unit(noisy.astype(np.float32), np.dtype(np.uint16)))

    found = level.at(np.array([0.25, 0.65], dtype=np.float32)) / 3
    assert found == pytest.approx([6e-4, 1.4e-3], rel=0.15)


def test_what_has_texture_at_one_brightness_alone_is_not_noisier_there() -> None:
    clean = scene()
    cobbles = np.random.default_rng(7).normal(0.5, 0.05, (512, 128, 1)).repeat(3, 2)
    clean[:, 192:320] = cobbles
    noisy = clean + np.random.default_rng(0).normal(0, 3 / 255, clean.shape)
    level = measure_noise(from_unit(noisy.astype(np.float32), np.dtype(np.uint8)))

    found = 255 * np.sqrt(level.at(np.array([0.25, 0.5], np.float32)) / 3)
    assert found[0] == pytest.approx(3, rel=0.15)
    assert found[1] < 3 * 2.5, "the cobbles' own is 12"


def test_a_photo_without_noise_has_almost_none() -> None:
    assert measure_noise(from_unit(scene().astype(np.float32), np.dtype(np.uint8))).sigma < 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_drawing_has_none_at_all(dtype: type) -> None:
    drawing = np.full((200, 300, 3), 0.78, np.float32)
    drawing[40:90, 60:200] = [0.2, 0.4, 0.9]
    drawing[120:122] = 0.1
    level = measure_noise(from_unit(drawing, np.dtype(dtype)) if dtype is not np.float32 else drawing)
    assert not level.variance.any()
    assert not level.table.any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 1), (15, 4000, 3)])
def test_a_photo_too_small_to_measure_counts_as_noiseless(shape: tuple[int, int, int]) -> None:
    assert measure_noise(np.full(shape, 100, np.uint8)).sigma == 0.0


def test_clipped_patches_are_not_measured() -> None:
    assert measure_noise(np.full((64, 64, 3), 255, np.uint8)).sigma == 0.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_stored_value_survives_the_way_to_unit_and_back(dtype: type) -> None:
    values: NDArray[Any] = np.arange(np.iinfo(dtype).max + 1).astype(dtype)

    assert np.array_equal(from_unit(to_unit(values), values.dtype), values)


@pytest.mark.parametrize(("kind", "coarse"), [("white", 6.0), ("correlated", 10.5)])
def test_the_table_distinguishes_coarse_noise_from_fine(kind: str, coarse: float) -> None:
    noise = np.random.default_rng(1).normal(0, 6 / 255, (512, 512, 1)).repeat(3, 2)
    noisy = scene() + (noise if kind == "white" else correlated(noise))
    (table,) = measure_noise(from_unit(noisy.astype(np.float32), np.dtype(np.uint16))).table

    grey, grey_coarse, colour, colour_coarse = 255 * table[:, 3:6].mean(1)
    assert grey == pytest.approx(6, rel=0.1)
    # A mean over 4×4 pixels leaves a quarter of white noise's deviation, and 7/4 as much of what 2×2 means make of it.
    assert grey_coarse == pytest.approx(coarse, rel=0.1)
    assert max(colour, colour_coarse) < 0.2


def test_the_table_of_a_photo_too_small_says_that_nothing_is_known() -> None:
    table = measure_noise(np.full((8, 8, 3), 100, np.uint8)).table
    assert table.shape == (1, TABLE_ROWS, TABLE_NODES)
    assert np.all(table == np.float32(UNKNOWN))


def test_a_pictures_noise_is_looked_up_as_exactly_as_it_matters() -> None:
    level = NoiseLevel(
        np.array([0.1, 0.3, 0.8], np.float32), np.array([[1e-4, 2e-4, 0], [9e-4, 1e-4, 3e-5], [1e-5, 0, 0]], np.float32)
    )
    picture = np.random.default_rng(0).uniform(-0.1, 1.1, (3, 40, 50)).astype(np.float32)
    found, exact = level.at_pixels(picture.sum(0), 3), level.at(picture.mean(0))
    assert np.abs(found - exact).max() < 1e-4 * exact.max()
    assert level.at_pixels(np.array([-1.0, 9.0], np.float32), 3) == pytest.approx(level.at(np.array([0.0, 1.0])))
