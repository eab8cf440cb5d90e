"""The noise that a base learns from is as strong as it says, of many kinds, and follows from its seed."""

import pytest
import torch

from nsp_pipeline.calibration.student import any_noise
from nsp_pipeline.calibration.student.any_noise import ANY, REACH, Drawn, draw_levels, make_noisy, varied
from nsp_pipeline.calibration.together.crops import DRAWN


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def middle_grey(count: int = 400, side: int = 64) -> torch.Tensor:
    return torch.full((count, 3, side, side), 0.5)


def noise_of(clean: torch.Tensor, sigma: float, seed: int = 0, drawn: Drawn = ANY) -> torch.Tensor:
    return make_noisy(clean, torch.full((len(clean), 1, 1, 1), sigma), seeded(seed), drawn) - clean


@pytest.mark.parametrize("sigma", [1 / 255, 5 / 255, 25 / 255])
def test_drawn_noise_has_the_stated_sigma(sigma: float) -> None:
    noise = noise_of(middle_grey(), sigma)
    levels = (noise**2).mean((1, 2, 3)).sqrt()
    rounding = 1 / 255 / 12**0.5
    assert float((noise**2).mean().sqrt()) == pytest.approx(sigma, rel=0.02, abs=rounding / 3)
    # A single crop of blotches holds few of them.
    assert float(levels.quantile(0.05)) > 0.9 * sigma
    assert float(levels.quantile(0.95)) < 1.15 * sigma + rounding


def test_some_noise_is_white_and_the_other_of_many_spectra_and_colours() -> None:
    noise = noise_of(middle_grey(), 0.03)
    beside = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / (noise**2).mean((1, 2, 3))
    between = (noise[:, 0] * noise[:, 1]).mean((1, 2)) / (noise[:, :2] ** 2).mean((1, 2, 3))
    white = beside.abs() < 0.03
    assert 0.4 <= float(white.float().mean()) < 0.6
    assert float(beside.quantile(0.9)) > 0.5
    assert float(between.quantile(0.9)) > 0.8
    assert float(between.quantile(0.05)) < -0.1


def test_noise_for_a_network_of_white_noise_is_white_or_nearly_so() -> None:
    noise = noise_of(middle_grey(), 0.03, drawn=DRAWN["white"])
    beside = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / (noise**2).mean((1, 2, 3))
    assert float((beside.abs() < 0.03).float().mean()) > 0.8
    assert float(beside.max()) < 0.7
    assert float(noise_of(middle_grey(), 0.03, drawn=DRAWN["unsmoothed"])[:80].std()) == pytest.approx(0.03, rel=0.03)


def test_half_of_the_noise_depends_on_the_brightness() -> None:
    clean = middle_grey(600)
    clean[..., :32] = 0.1
    clean[..., 32:] = 0.8
    noise = noise_of(clean, 0.02)
    ratio = noise[..., 32:].std((1, 2, 3)) / noise[..., :32].std((1, 2, 3))
    assert 0.4 < float(((ratio - 1).abs() < 0.1).float().mean()) < 0.8
    assert float(ratio.max()) > 2
    assert float(ratio.min()) < 0.7


def test_levels_reach_from_none_to_the_strongest() -> None:
    levels = 255 * draw_levels(middle_grey(4000, 1), seeded()).flatten()
    assert float((levels == 0).float().mean()) == pytest.approx(any_noise.NOISELESS, abs=0.02)
    assert 55 < float(levels.max()) <= 60
    assert float(levels.median()) == pytest.approx(15, abs=2)


def test_a_crop_without_noise_is_the_picture_to_its_last_bit_or_rounded_as_files_are() -> None:
    clean = torch.rand(20, 3, 32, 32, generator=seeded())
    difference = (make_noisy(clean, torch.zeros(20, 1, 1, 1), seeded(1)) - clean).abs().amax((1, 2, 3))
    assert float(difference.max()) <= 0.5 / 255 + 1e-6
    assert 0 < int((difference == 0).sum()) < 20


def test_pictures_vary_in_softness_and_tone_and_stay_pictures() -> None:
    crops = torch.rand(200, 3, 32 + 2 * REACH, 32 + 2 * REACH, generator=seeded())
    pictures = varied(crops, seeded(1))
    assert pictures.shape == (200, 3, 32, 32)
    assert float(pictures.min()) >= 0
    assert float(pictures.max()) <= 1
    untouched = (pictures == crops[..., REACH:-REACH, REACH:-REACH]).all(3).all(2).all(1)
    grey = (pictures == pictures[:, :1]).all(3).all(2).all(1)
    assert 0.1 < float(untouched.float().mean()) < 0.3
    assert 0 < int(grey.sum()) < 30
    # Soft ones have lost what changes from pixel to pixel.
    fine = (pictures[..., 1:] - pictures[..., :-1]).abs().mean((1, 2, 3)) / pictures.std((1, 2, 3))
    assert float(fine.min()) < 0.5 * float(fine.max())


def test_what_is_softened_keeps_its_level() -> None:
    flat = torch.full((50, 3, 16 + 2 * REACH, 16 + 2 * REACH), 0.4)
    softened = any_noise._softened(flat, torch.full((50, 1, 1, 1), 1.6), REACH)
    assert torch.allclose(softened, torch.full_like(softened, 0.4), atol=1e-6)


def test_the_same_seed_draws_the_same() -> None:
    clean = middle_grey(8)
    assert torch.equal(noise_of(clean, 0.1, 5), noise_of(clean, 0.1, 5))
    assert not torch.equal(noise_of(clean, 0.1, 5), noise_of(clean, 0.1, 6))
