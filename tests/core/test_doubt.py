"""A natural look fades where noise is strong and known to be noise, and stays where it may be texture."""

from dataclasses import replace

import numpy as np
import pytest
from noise_levels import CAMERA, seen

from nsp_pipeline.core.blend import natural_weight, weight_of_change
from nsp_pipeline.core.doubt import doubt

MIDDLE = np.full((3, 32, 32), 0.5, np.float32)


def due(sigma: float, unsure: float | None) -> float:
    """How much of a natural look noise of that standard deviation in a channel, of 255, is due."""
    strength = sigma / float(np.hypot(CAMERA[0], CAMERA[2]))
    return float(doubt(MIDDLE, seen(tuple(strength * kind for kind in CAMERA), unsure)).mean())


@pytest.mark.parametrize("sigma", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("unsure", [0.12, 0.3, None])
def test_noise_of_cameras_own_photos_is_due_all_of_a_natural_look(sigma: float, unsure: float | None) -> None:
    assert due(sigma, unsure) == 1


def test_the_stronger_noise_is_the_more_a_natural_look_is_a_smooth_one() -> None:
    shares = [due(sigma, 0.13) for sigma in (6, 8, 12, 20, 40)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert 0.05 < shares[-1] < 0.15


def test_strong_noise_that_may_be_texture_keeps_grain() -> None:
    assert due(20, 0.5) == due(20, None) == 1
    assert due(20, 0.3) > 2 * due(20, 0.13)


def test_what_is_due_goes_by_the_noise_of_each_brightness() -> None:
    noise = seen()
    rising = (np.linspace(2, 40, 8)[:, None].repeat(3, 1) / 255).astype(np.float32)
    dark_and_bright = np.stack([np.linspace(0, 1, 64, dtype=np.float32)[None]] * 3)
    found = doubt(dark_and_bright, replace(noise, variance=rising**2))
    assert found.shape == (1, 1, 64)
    assert found.dtype == np.float32
    assert (np.diff(found[0, 0]) <= 0).all()
    assert found[0, 0, 0] > 0.99
    assert found[0, 0, -1] < 0.3


def test_a_photo_of_one_channel_is_due_the_same() -> None:
    noise = seen(tuple(4 * kind for kind in CAMERA))
    one = replace(noise, variance=noise.variance[:, :1])
    assert doubt(MIDDLE[:1], one) == pytest.approx(doubt(MIDDLE, noise))


def test_flat_places_of_a_night_photo_come_out_nearly_as_smooth_as_in_a_smooth_look() -> None:
    noise = seen(tuple(5 * kind for kind in CAMERA), 0.13)
    change = np.random.default_rng(0).normal(0, 22 / 255, MIDDLE.shape).astype(np.float32)
    smooth, natural = (
        weight_of_change(change, MIDDLE, noise, blind=False),
        natural_weight(change, MIDDLE, noise),
    )
    weight = smooth + doubt(MIDDLE, noise) * (natural - smooth)
    assert natural.max() <= np.float32(0.8)
    assert weight.mean() > 0.95
