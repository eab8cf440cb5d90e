"""Simulated shots: what is clean stays clean, and the noise that tables tell is that of flat places."""

import numpy as np
import torch

from nsp_pipeline.calibration.simulation.cameras import KINDS, ShotRange, take_shot
from nsp_pipeline.calibration.simulation.developing import DevelopingRange, developed
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, patch_levels
from nsp_pipeline.calibration.simulation.processing import ProcessingRange, processed
from nsp_pipeline.calibration.simulation.scenes import clean_scene
from nsp_pipeline.calibration.simulation.shot import Shot, stored


def half_textured(side: int = 128) -> torch.Tensor:
    """(1, 3, side, side): flat grey on the left, strong stripes on the right."""
    picture = torch.full((1, 3, side, side), 0.4)
    picture[..., side // 2 :] += 0.25 * torch.sign(torch.sin(torch.arange(side // 2) * 1.2))
    return picture


def test_the_same_numbers_give_the_same_shot_and_every_kind_comes() -> None:
    sharp, kinds = half_textured(), set()
    for seed in range(60):
        first, second = (take_shot(sharp, ShotRange(), np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(first[0].noisy, second[0].noisy)
        assert all(part.isfinite().all() for part in (first[0].noisy, first[0].clean, first[0].flat))
        kinds.add(first[1])
    assert kinds == set(KINDS)


def test_a_shot_without_noise_is_its_clean_picture() -> None:
    chosen = ShotRange(none_share=1.0, jpeg_share=0.0)
    for seed in range(8):
        shot, kind = take_shot(half_textured(), chosen, np.random.default_rng(seed))
        assert kind == "none"
        assert not shot.flat.any()
        # Hot pixels apart, only rounding differs.
        assert float(((shot.noisy - shot.clean).abs() > 0.003).float().mean()) < 0.01


def test_at_night_noise_below_black_is_lost_and_the_dark_gets_brighter() -> None:
    dark = torch.full((1, 3, 64, 64), 0.12)
    night = DevelopingRange(night_share=1.0, night_sigma=(25.0, 40.0), night_light=(0.1, 0.2), linear_share=0.0)
    rises = [
        255 * float((shot.noisy - shot.clean).mean())
        for shot in (developed(dark, night, np.random.default_rng(seed)) for seed in range(12))
    ]
    assert min(rises) > 1
    assert 2 < np.median(rises) < 25


def test_smoothing_takes_more_noise_from_flat_places_and_tables_tell_those() -> None:
    clean = half_textured()
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 8 / 255, clean.shape).astype(np.float32))
    chosen = ProcessingRange(
        smoothed_share=1.0, again_share=0, colour_share=0, sharpened_share=0, halved_colour_share=0, hot_share=0
    )
    for seed in range(6):
        shot = processed(Shot(clean + noise, clean, noise), chosen, np.random.default_rng(seed))
        left = (shot.noisy - shot.clean).std((0, 1, 2))
        flat, textured = float(left[8:56].mean()), float(left[72:120].mean())
        assert flat < textured
        assert abs(float(patch_levels(shot.flat)[0, 0].mean()) * 3**0.5 / flat - 1) < 0.35


def test_noise_that_a_jpeg_swallows_in_flat_places_is_not_told() -> None:
    clean = half_textured()
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 1.5 / 255, clean.shape).astype(np.float32))
    shot = Shot(clean + noise, clean, noise)
    kept = stored(shot, np.random.default_rng(0), jpeg_share=1.0, quality=(60, 61))
    before, after = (float(patch_levels(part.flat)[0, 0].mean()) for part in (shot, kept))
    assert after < 0.6 * before
    assert float((kept.noisy - kept.clean)[..., 72:120].std()) > after, "texture has the JPEG's own errors"


def test_the_table_of_a_shot_tells_white_noise_alike_in_fine_and_coarse_rows() -> None:
    clean = torch.full((1, 3, 256, 256), 0.5)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 5 / 255, clean.shape).astype(np.float32))
    table = 255 * noise_tables(clean + noise, clean, torch.ones(1, 1, 1, 1))[0, :, 3:5].mean(1)
    expected = torch.tensor([5 / 3**0.5] * 2 + [5 * (2 / 3) ** 0.5] * 2)
    assert torch.allclose(table, expected, rtol=0.05)


def test_a_noisy_photo_is_shrunk_further_than_a_textured_one() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(110 + rng.normal(0, 4, (480, 480, 3)), 0, 255).astype(np.uint8)
    stripes = (110 + 60 * np.sign(np.sin(np.arange(480) / 9)))[None, :, None].repeat(480, 0).repeat(3, 2)
    shrunk, textured = clean_scene(noisy), clean_scene(stripes.astype(np.uint8))
    assert shrunk is not None
    assert textured is not None
    assert len(shrunk) < len(textured) == 240


def test_a_photo_that_stays_noisy_is_not_used() -> None:
    noise = np.random.default_rng(0).normal(0, 30, (480, 480, 3))
    assert clean_scene(np.clip(110 + noise, 0, 255).astype(np.uint8)) is None
