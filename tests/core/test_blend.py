"""The blend follows the noise: all of the estimate where a photo is flat, the photo itself where it holds detail."""

import numpy as np
import pytest

from nsp_pipeline.core.blend import (
    GRAIN_NATURAL,
    box_mean,
    cell_means,
    enlarged,
    faded,
    local_weight,
    natural_weight,
    weight_of_change,
)
from nsp_pipeline.core.noise import NoiseLevel

NOISE = NoiseLevel(np.array([0.5], np.float32), np.full((1, 3), 1e-4, np.float32))


def test_box_mean_is_the_mean_of_the_window_that_exists() -> None:
    image = np.random.default_rng(0).random((9, 14)).astype(np.float32)
    expected = [[image[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() for x in range(14)] for y in range(9)]

    assert box_mean(image, 2) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("blind", [False, True])
def test_weight_is_near_one_in_flat_parts_and_small_on_detail(blind: bool) -> None:
    rng = np.random.default_rng(0)
    clean = np.full((3, 64, 128), 0.5)
    clean[:, :, 64:] += 0.1 * np.sin(np.arange(64) * 2.0)
    noisy = (clean + rng.normal(0, 1e-2, clean.shape)).astype(np.float32)
    estimate = np.full_like(noisy, 0.5)

    weight = local_weight(noisy, estimate, NOISE, blind=blind)[0]

    assert weight[:, :58].mean() > 0.95
    assert weight[:, 70:].mean() < 0.05


def test_a_network_that_sees_every_pixel_is_trusted_with_more_than_the_measured_noise() -> None:
    noisy = np.random.default_rng(0).normal(0.5, 1e-2 * 1.45**0.5, (3, 64, 64)).astype(np.float32)
    seeing, blind = (local_weight(noisy, np.full_like(noisy, 0.5), NOISE, blind=each).mean() for each in (False, True))
    assert seeing > 0.98
    assert blind == pytest.approx(1.25 / 1.45, abs=0.04)


def test_a_photo_without_noise_is_left_alone() -> None:
    noiseless = NoiseLevel(np.zeros(1, np.float32), np.zeros((1, 3), np.float32))
    photo = np.random.default_rng(0).random((3, 20, 20)).astype(np.float32)

    for blind in (False, True):
        assert not local_weight(photo, np.zeros_like(photo), noiseless, blind=blind).any()
        assert not local_weight(photo, photo, noiseless, blind=blind).any()


def test_more_noise_at_edges_passes_for_lost_detail_only_where_the_network_is_blind() -> None:
    edges = np.tile(np.repeat([0.3, 0.7], 8), 8).astype(np.float32) * np.ones((3, 64, 1), np.float32)
    noise = np.random.default_rng(0).normal(0, 2e-2, edges.shape)
    noisy = (edges + noise).astype(np.float32)

    seeing, blind = (float(local_weight(noisy, edges, NOISE, blind=flag).mean()) for flag in (False, True))

    assert seeing > 0.95
    assert blind < 0.5


def test_what_is_enlarged_keeps_its_means() -> None:
    image = box_mean(np.random.default_rng(0).random((24, 30)).astype(np.float32), 2)[None]

    assert cell_means(enlarged(image, 2), 2) == pytest.approx(image, abs=0.02)


def test_a_natural_look_keeps_some_grain_everywhere_and_more_where_texture_is_as_weak_as_noise() -> None:
    rng = np.random.default_rng(2)
    clean = np.full((3, 48, 96), 0.5, np.float32)
    weave = np.zeros_like(clean)
    weave[:, :, 48:] = 0.01 * (-1.0) ** np.arange(48)
    noisy = (clean + weave + rng.normal(0, 0.01, clean.shape)).astype(np.float32)
    natural, smooth = natural_weight(clean - noisy, clean, NOISE)[0], local_weight(noisy, clean, NOISE, blind=False)[0]
    assert natural.max() <= np.float32(1 - GRAIN_NATURAL)
    assert natural[8:-8, 8:40].mean() > 0.7
    assert natural[8:-8, 56:-8].mean() < 0.45
    assert smooth[8:-8, 8:40].mean() > 0.99
    assert smooth[8:-8, 56:-8].mean() > 0.75


def test_colour_noise_that_is_stronger_beside_edges_is_no_lost_detail() -> None:
    rng = np.random.default_rng(5)
    clean = np.full((3, 64, 64), 0.5, np.float32)
    noise = rng.normal(0, 1e-2, clean.shape).astype(np.float32)
    colour = noise - noise.mean(0)
    noisy = clean + noise.mean(0) + 5 * colour
    weight = local_weight(noisy, clean, NOISE, blind=False)
    assert weight.min() == 1
    assert local_weight(noisy, clean, NOISE, blind=True).max() < 0.3, "a blind network's colours may be wrong"
    assert faded(clean - noisy, weight, blind=False) == pytest.approx(clean - noisy)


@pytest.mark.parametrize("blind", [False, True])
def test_of_texture_that_was_taken_brightness_comes_back(blind: bool) -> None:
    rng = np.random.default_rng(6)
    change = rng.normal(0, 0.05, (3, 16, 16)).astype(np.float32)
    weight = np.full((1, 16, 16), 0.25, np.float32)
    left = faded(change, weight, blind=blind)
    assert left.mean(0) == pytest.approx(0.25 * change.mean(0), abs=1e-6)
    colour, before = left - left.mean(0), change - change.mean(0)
    assert colour == pytest.approx((0.25 if blind else 1.0) * before, abs=1e-6)
    weight[:, :8] = 0
    assert not faded(change, weight, blind=blind)[:, :8].any(), "there is no noise"
    assert faded(change[:1], weight, blind=blind) == pytest.approx(weight * change[:1])


def test_a_natural_look_too_leaves_a_photo_without_noise_alone() -> None:
    clean = np.full((3, 20, 20), 0.5, np.float32)
    assert (natural_weight(np.full_like(clean, 0.01), clean, NoiseLevel.unknown()) == 0).all()


def test_the_blend_leaves_what_it_is_given_as_it_is() -> None:
    rng = np.random.default_rng(3)
    change, estimate = (rng.random((3, 30, 40), dtype=np.float32) for _ in range(2))
    kept = change.copy(), estimate.copy()
    for blind in (False, True):
        weight_of_change(change, estimate, NOISE, blind=blind)
    natural_weight(change, estimate, NOISE)
    box_mean(estimate[0], 5)
    assert np.array_equal(change, kept[0])
    assert np.array_equal(estimate, kept[1])


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
def test_a_box_mean_is_to_the_last_bit_that_of_the_window_wherever_it_lies(radius: int) -> None:
    image = np.random.default_rng(4).random((40, 50), dtype=np.float32)
    whole, part = box_mean(image, radius), box_mean(image[7:33, 9:45], radius)
    inner = slice(radius, -radius)
    assert np.array_equal(whole[7:33, 9:45][inner, inner], part[inner, inner])
    for small in (image[:1, :1], image[:2], image[:, :3]):
        windows = [
            [small[_near(y, radius), _near(x, radius)] for x in range(small.shape[1])] for y in range(len(small))
        ]
        expected = [[window.mean() for window in row] for row in windows]
        assert box_mean(small, radius) == pytest.approx(np.array(expected), abs=1e-6)


def _near(place: int, radius: int) -> slice:
    return slice(max(0, place - radius), place + radius + 1)
