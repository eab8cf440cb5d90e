"""Simulated noise: as strong as asked for, on every kind of camera, and with targets that it is noise on."""

from typing import Any

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation.camera_noise import NoisyCamera, blurred, halved, through_jpeg
from nsp_pipeline.calibration.simulation.noise_range import NoiseRange
from nsp_pipeline.calibration.student.settings import StudentSettings


def grey(side: int = 128) -> torch.Tensor:
    return torch.full((2, 3, side, side), 0.46)


def exactly(sigma: float) -> dict[str, Any]:
    return {"least_sigma": sigma, "most_sigma": sigma}


def photograph(sharp: torch.Tensor, *, seed: int = 0, **changes: Any) -> tuple[torch.Tensor, ...]:
    noise = NoiseRange(**{"clean_share": 0.0, "jpeg_share": 0.0, **changes})
    return NoisyCamera(noise).photograph(sharp, np.random.default_rng(seed))


@pytest.mark.parametrize("sensor_share", [0.0, 1.0])
def test_middle_grey_is_about_as_noisy_as_asked_for(sensor_share: float) -> None:
    levels = [
        float((noisy - clean).mean(1).std() * 255)
        for noisy, clean, *_ in (
            photograph(grey(), seed=seed, **exactly(8), sensor_share=sensor_share) for seed in range(12)
        )
    ]
    # A camera's own smoothing and sharpening comes after its noise: half to double is "about".
    assert 4 < np.mean(levels) < 16
    assert min(levels) > 1.5


@pytest.mark.parametrize("sensor_share", [0.0, 1.0])
def test_noise_does_not_change_the_mean(sensor_share: float) -> None:
    drifts = []
    for seed in range(12):
        noisy, clean, *_ = photograph(grey(), seed=seed, **exactly(6), sensor_share=sensor_share)
        drifts.append(float((noisy - clean).mean() * 255))
    # A sensor's noise goes through a tone curve that bends down, and darkens a little: by σ²/2 times its curvature.
    assert abs(np.mean(drifts)) < (0.9 if sensor_share else 0.3)


def test_the_finer_target_has_the_clean_ones_means() -> None:
    sharp = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    noisy, clean, finer, _ = photograph(sharp, **exactly(5))
    assert noisy.shape == clean.shape == (3, 3, 32, 48)
    assert finer.shape == sharp.shape
    assert torch.allclose(halved(finer), clean, atol=1e-6)


@pytest.mark.parametrize("sensor_share", [0.0, 1.0])
def test_where_a_camera_spares_texture_its_noise_is_stronger_there(sensor_share: float) -> None:
    sharp = grey(256)
    sharp[..., 128:] += 0.25 * (torch.arange(128) // 4 % 2 - 0.5)
    ratios = []
    for seed in range(8):
        # The same rng with and without: what differs is what texture keeps.
        common = {**exactly(5), "sensor_share": sensor_share, "soft_share": 0.0, "soft_colour_share": 0.0}
        kept_alike = {"adapted_share": 1.0, "most_kept": 1.5, "most_colour_kept": 0.0}
        noisy, clean, _, stronger = photograph(sharp, seed=seed, **common, **kept_alike)
        flat, texture = stronger[..., 16:48], stronger[..., 80:112]
        assert float(flat.max()) < 1.02
        assert 1 <= float(texture.min()) <= float(texture.max()) < 2.5
        spread = [(noisy - clean)[..., part].std() for part in (slice(16, 48), slice(80, 112))]
        ratios.append((float(texture.mean()), float(spread[1] / spread[0])))
    kept, found = np.mean(ratios, 0)
    assert kept > 1.3
    assert found == pytest.approx(kept, rel=0.2)
    *_, everywhere = photograph(sharp, adapted_share=0.0)
    assert everywhere.eq(1).all()


@pytest.mark.parametrize("sensor_share", [0.0, 1.0])
def test_beside_edges_there_is_more_colour_noise_than_grey_on_top_of_that_of_flat_places(sensor_share: float) -> None:
    sharp = grey(256)
    sharp[..., 128:] += 0.25 * (torch.arange(128) // 4 % 2 - 0.5)
    common = {**exactly(5), "sensor_share": sensor_share, "soft_share": 0.0, "soft_colour_share": 0.0}
    ratios: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for seed in range(8):
        kept = {"adapted_share": 1.0, "most_kept": 1.5, "most_colour_kept": 4.0}
        noisy, clean, _, stronger = photograph(sharp, seed=seed, **common, **kept)
        texture, noise = stronger[..., 80:112], noisy - clean
        assert float(texture[:, 0].max()) < float(texture[:, 1].max()) < 2.5 * 5
        for kind, part in enumerate((noise.mean(1), noise - noise.mean(1, keepdim=True))):
            spread = [part[..., place].std() for place in (slice(16, 48), slice(80, 112))]
            ratios[kind].append((float(texture[:, kind].mean()), float(spread[1] / spread[0])))
    for of_kind in ratios:
        expected, found = np.mean(of_kind, 0)
        assert found == pytest.approx(expected, rel=0.2)
    assert np.mean(ratios[1]) > 1.3 * np.mean(ratios[0])


def test_clean_crops_come_back_clean() -> None:
    noisy, clean, *_ = photograph(grey(), clean_share=1.0, sensor_share=0.0)
    assert torch.equal(noisy, clean)


def test_the_same_seed_takes_the_same_picture() -> None:
    first, again, other = (photograph(grey(), seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_jpeg_of_high_quality_changes_little_and_of_low_quality_more() -> None:
    image = blurred(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), 1.5)
    fine, coarse = (float((through_jpeg(image, quality, "4:2:0") - image).abs().mean()) for quality in (98, 50))
    assert fine < 0.01 < coarse


def test_blur_keeps_the_mean_and_takes_the_detail() -> None:
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    soft = blurred(image, 2.0)
    assert soft.mean() == pytest.approx(float(image.mean()), abs=0.02)
    assert soft.std() < 0.3 * image.std()


def test_a_recipe_simulates_the_ranges_of_the_camera_and_no_others() -> None:
    assert issubclass(StudentSettings, NoiseRange)
    stated = {name: field.default for name, field in StudentSettings.model_fields.items()}
    assert {name: stated[name] for name in NoiseRange.model_fields} == NoiseRange().model_dump()


@pytest.mark.parametrize(
    ("given", "simulated"),
    [
        ({}, (0.7, 30.0)),
        ({"least_sigma": 40}, (40, 40)),
        ({"most_sigma": 0.5}, (0.5, 0.5)),
        ({"least_sigma": 2, "most_sigma": 3}, (2, 3)),
    ],
)
def test_one_end_of_the_simulated_noise_may_lie_beyond_what_the_other_is_by_default(
    given: dict[str, float], simulated: tuple[float, float]
) -> None:
    assert NoiseRange.model_validate(given).sigma == simulated
    noisy, *_ = NoisyCamera(NoiseRange.model_validate(given)).photograph(grey(), np.random.default_rng(0))
    assert torch.isfinite(noisy).all()


@pytest.mark.parametrize("name", ["sigma", "colour_left"])
def test_ranges_that_fall_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"least_{name} = 5 is above most_{name} = 2"):
        NoiseRange.model_validate({f"least_{name}": 5, f"most_{name}": 2})
