"""What is known of a camera's noise, and what is seen in a photo, taken together."""

from typing import Any

import numpy as np
import pytest
from noise_levels import CAMERA, grey, seen, times

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_prior import NoisePrior, level_of, sigma_of, with_prior


def known(kinds: tuple[float, ...] = CAMERA, unsure: float = 0.1) -> NoisePrior:
    return NoisePrior(level_of(np.array(kinds)[:, None].repeat(8, 1) / 255), np.full((4, 8), unsure))


def test_the_more_certain_of_both_counts_for_more() -> None:
    both = with_prior(seen(times(1.2), unsure=0.2), known(unsure=0.1))
    # Inverse variances of 25 and 100: four fifths of the way, in the logarithm.
    assert grey(both) == pytest.approx(4 * 1.2**0.2, rel=1e-3)
    assert both.known_share == pytest.approx(0.8, abs=1e-3)
    assert both.unsure is not None
    np.testing.assert_allclose(both.unsure, 125**-0.5, rtol=1e-3)
    np.testing.assert_allclose(both.variance[:, 0], both.table[0, 0] ** 2 + both.table[0, 2] ** 2, rtol=1e-4)
    assert with_prior(seen(times(1.2), unsure=0.05), known()).known_share == pytest.approx(0.2, abs=1e-3)


def test_noise_that_is_finer_and_weaker_than_the_camera_s_is_of_a_photo_that_was_shrunk() -> None:
    shrunk = seen((2.8, 4.5, 1.4, 2.6))
    both = with_prior(shrunk, known())
    assert both.known_share == 0
    np.testing.assert_array_equal(both.table, shrunk.table)


def test_grey_noise_alone_may_be_texture_and_stronger_noise_of_both_kinds_is_noise() -> None:
    texture = with_prior(seen((7.0, 14.0, 2.1, 5.3)), known())
    assert texture.known_share is not None
    assert texture.known_share > 0.3
    assert grey(texture) < 6
    another = with_prior(seen(times(1.8)), known())
    assert another.known_share == 0
    assert grey(another) == pytest.approx(4 * 1.8, rel=1e-3)


def test_a_grey_photo_has_no_witness_but_its_level_and_gets_no_colour_noise() -> None:
    both = with_prior(seen((4.2, 8.4, 0, 0)), known())
    assert both.known_share is not None
    assert both.known_share > 0.5
    assert (both.table[0, 2:] == 0).all()
    assert with_prior(seen((7.2, 14.4, 0, 0)), known()).known_share == 0


@pytest.mark.parametrize("nothing", [NoiseLevel.unknown(), seen((0, 0, 0, 0))])
def test_what_has_no_noise_gets_none(nothing: NoiseLevel) -> None:
    both = with_prior(nothing, known())
    assert both.known_share is None
    np.testing.assert_array_equal(both.table, nothing.table)


def test_what_was_measured_in_flat_patches_is_hardly_believed() -> None:
    measured = seen(times(1.3), unsure=None)
    part: Any = slice(1, 6, 2)
    coarse = NoiseLevel(measured.brightness[part], measured.variance[part], measured.kinds[part])  # type: ignore[index]
    both = with_prior(coarse, known())
    assert both.known_share == pytest.approx(1 - 0.04 / 1.04, abs=0.01)
    assert both.brightness.shape == (8,)


def test_a_level_is_the_noise_again() -> None:
    sigma = np.array([0, 1e-3, 0.5])
    np.testing.assert_allclose(sigma_of(level_of(sigma)), sigma, atol=1e-9)
