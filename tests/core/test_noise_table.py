"""Noise tables of photos that are not at hand, beside what is measured in photos that are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES, measure_noise
from nsp_pipeline.core.noise_curve import BrokenLine, NoiseCurve
from nsp_pipeline.core.noise_table import camera_table, table_from_curves

SIDE = 640
SIGMA = 8 / 255


def curve(sigma: float) -> NoiseCurve:
    ends = np.array([0.0, 1.0])
    return NoiseCurve(0.0, sigma**2, BrokenLine(ends, np.full(2, sigma**2)), True)


def photo(spread: int, shared: float) -> NDArray[np.float32]:
    """Steps of grey with noise of σ 8: means of spread×spread white pixels, a share of it the same in all channels."""
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((SIDE + spread - 1, SIDE + spread - 1, 4))
    for axis in (0, 1):
        noise = np.lib.stride_tricks.sliding_window_view(noise, spread, axis=axis).sum(-1)
    noise = np.sqrt(shared) * noise[..., :1] + np.sqrt(1 - shared) * noise[..., 1:]
    steps = np.linspace(0.25, 0.75, 10).repeat(SIDE // 10)[:, None, None]
    return np.asarray(steps + SIGMA * noise / noise.std(), dtype=np.float32)


def test_white_noise_has_the_table_that_is_measured_in_it() -> None:
    stated = table_from_curves([curve(SIGMA)] * 3, [])
    measured = measure_noise(photo(1, shared=0.0)).table
    np.testing.assert_allclose(stated, measured, rtol=0.08)
    np.testing.assert_allclose(stated[0, 0], SIGMA / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("by_lag", [[], [0.6, 0.3, 0.2], [1.0, 1.0, 1.0, 1.0]])
def test_grey_and_colour_add_up_to_the_level(by_lag: list[float]) -> None:
    grey, coarse, colour, coarse_colour = table_from_curves([curve(SIGMA)] * 3, by_lag)[0]
    np.testing.assert_allclose(np.hypot(grey, colour), SIGMA, rtol=1e-6)
    assert (coarse <= 4 * grey * (1 + 1e-6)).all()
    assert (coarse_colour <= 4 * colour * (1 + 1e-6)).all()


def test_a_level_alone_stands_for_camera_noise_at_every_brightness() -> None:
    grey, coarse, colour, coarse_colour = camera_table(10.0)[0] * 255
    np.testing.assert_allclose(np.hypot(grey, colour), np.full(TABLE_NODES, 10.0), rtol=1e-6)
    assert (grey > 1.5 * colour).all()
    assert ((coarse / grey > 1.5) & (coarse_colour / colour > coarse / grey)).all()


def test_grey_photos_have_no_colour_noise() -> None:
    table = table_from_curves([curve(SIGMA)], [0.5])[0]
    np.testing.assert_allclose(table[0], SIGMA, rtol=1e-6)
    assert (table[2:] == 0).all()


def test_noise_that_grows_with_brightness_does_so_in_every_row() -> None:
    rising = NoiseCurve(0.01, 0.0, BrokenLine(np.array([0.0, 1.0]), np.array([0.0, 0.01])), True)
    table = table_from_curves([rising] * 3, [0.4])[0]
    assert (table[:, 0] == 0).all()
    np.testing.assert_allclose(table / table[:, -1:], np.tile(np.sqrt(np.linspace(0, 1, 8)), (4, 1)), rtol=1e-5)
