"""What students are told of crops with simulated noise: the truth with the estimator's errors."""

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation import tell
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.simulation.tell import MOST_ESTIMATED, told_of_crops
from nsp_pipeline.core.noise import UNKNOWN

SIGMA = 8 / 255
TOLD = {"within": 0.0, "unknown_share": 0.0}


def flat_and_busy(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy and clean crops (count, 3, 64, 64): half of them flat, half full of strong texture."""
    rng = torch.Generator().manual_seed(1)
    clean = torch.full((count, 3, 64, 64), 0.5)
    clean[count // 2 :] += 0.12 * torch.randn(count - count // 2, 1, 64, 64, generator=rng)
    clean = clean.clamp(0.05, 0.95)
    return (clean + SIGMA * torch.randn(clean.shape, generator=rng)).clamp(0, 1), clean


def test_busy_crops_are_told_wrong_and_flat_ones_nearly_right() -> None:
    noisy, clean = flat_and_busy()
    truth = noise_tables(noisy, clean, torch.ones(1, 1, 1, 1))
    told = told_of_crops(noisy, truth, np.random.default_rng(0), **TOLD)
    off = (told / truth.clamp_min(1e-5))[:, 0, 3:5].log().abs().mean(1)
    assert float(off[:6].max()) < 0.15
    assert float(off[6:].mean()) > 2 * float(off[:6].mean())


def test_no_crop_is_told_more_of_the_estimate_than_a_photo_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, clean = flat_and_busy()
    truth = noise_tables(noisy, clean, torch.ones(1, 1, 1, 1))
    monkeypatch.setattr(tell, "tell_tables", lambda network, image: truth * np.e)
    told = told_of_crops(noisy, truth, np.random.default_rng(0), **TOLD)
    way = (told / truth).log().mean((1, 2))
    assert 0 <= float(way.min()) < 0.3
    assert 0.5 < float(way.max()) <= MOST_ESTIMATED + 1e-4


@pytest.mark.parametrize("side", [16, 48, 80])
def test_crops_of_any_size_are_told(side: int) -> None:
    noisy, clean = (part[..., :side, :side].repeat(1, 1, 2, 2)[..., :side, :side] for part in flat_and_busy())
    truth = noise_tables(noisy, clean, torch.ones(1, 1, 1, 1))
    told = told_of_crops(noisy, truth, np.random.default_rng(0), **TOLD)
    assert told.shape == truth.shape
    assert torch.equal(told, truth) is (side < 32), "the estimator sees nothing in less than a block"


def test_without_a_runtime_the_truth_is_told_with_the_error_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tell, "load_estimator", lambda: None)
    noisy, clean = flat_and_busy()
    truth = noise_tables(noisy, clean, torch.ones(1, 1, 1, 1))
    assert torch.equal(told_of_crops(noisy, truth, np.random.default_rng(0), **TOLD), truth)
    told = told_of_crops(noisy, truth, np.random.default_rng(0), within=0.2, unknown_share=0.5)
    unknown = (told == UNKNOWN).all((1, 2))
    assert 0 < int(unknown.sum()) < len(told)
    assert not torch.allclose(told[~unknown], truth[~unknown], rtol=0.05)
