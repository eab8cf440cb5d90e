"""Crops developed many at once: sensor noise as a camera's steps leave it."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from nsp_pipeline.calibration.simulation import development_batch  # noqa: E402
from nsp_pipeline.calibration.simulation.development_batch import develop_batch  # noqa: E402


def _scenes(count: int, brightness: float, side: int = 64) -> Any:
    return torch.full((count, 3, side, side), brightness)


def _all_or_none(monkeypatch: pytest.MonkeyPatch, **shares: float) -> None:
    for name, share in shares.items():
        monkeypatch.setattr(development_batch, name, share)


def test_pictures_stay_in_range_and_are_the_same_for_the_same_state() -> None:
    scene = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first, again = (develop_batch(scene, torch.Generator().manual_seed(5)) for _ in range(2))
    for part, same in zip(first, again, strict=True):
        assert torch.equal(part, same)
        assert torch.isfinite(part).all()
        assert 0 <= float(part.min()) <= float(part.max()) <= 1


def test_the_clean_picture_of_an_even_scene_is_even() -> None:
    _, clean = develop_batch(_scenes(24, 0.4), torch.Generator().manual_seed(1))
    assert float(clean.std((2, 3)).max()) < 1e-3 or float((clean[:, :, 4:-4, 4:-4]).std((2, 3)).median()) < 1e-3


def test_noise_comes_as_strong_as_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    _all_or_none(monkeypatch, NIGHT=0.0, LINEAR=0.0, BRIGHTENED=0.0, MATRIX=0.0)
    monkeypatch.setattr(development_batch, "DAY_SIGMA", (8.0, 8.0))
    noisy, clean = develop_batch(_scenes(64, 0.4), torch.Generator().manual_seed(2))
    sigma = 255 * float((noisy - clean).square().mean().sqrt())
    assert 5 < sigma < 13


def test_a_mosaic_makes_neighbours_alike_and_no_mosaic_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def correlation(share: float) -> float:
        _all_or_none(monkeypatch, NIGHT=0.0, MOSAIC=share, BRIGHTENED=0.0)
        noisy, clean = develop_batch(_scenes(32, 0.4), torch.Generator().manual_seed(3))
        noise = noisy - clean
        noise = noise - noise.mean((2, 3), keepdim=True)
        return float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())

    assert correlation(1.0) > 0.15
    assert abs(correlation(0.0)) < 0.05


def test_the_dark_is_too_bright_by_what_was_cut_off_at_black(monkeypatch: pytest.MonkeyPatch) -> None:
    _all_or_none(monkeypatch, NIGHT=1.0, LINEAR=0.0, MATRIX=0.0)
    monkeypatch.setattr(development_batch, "NIGHT_SIGMA", (40.0, 40.0))
    noisy, clean = develop_batch(_scenes(32, 0.15), torch.Generator().manual_seed(4))
    assert float((noisy - clean).mean()) > 2 / 255


@pytest.mark.parametrize("way", [0.0, 1.0])
def test_demosaicing_keeps_a_smooth_picture(monkeypatch: pytest.MonkeyPatch, way: float) -> None:
    """A slope in light comes back but for what bells and gradients miss."""
    slope = torch.linspace(0.2, 0.6, 64).view(1, 1, 1, -1).expand(8, 3, 64, 64)
    cells = development_batch._cells(slope, torch.Generator().manual_seed(6))
    made = development_batch._demosaiced(slope, cells, torch.full((8, 1, 1, 1), way > 0), torch.ones(8, 1, 1, 1))
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert float((made - slope)[inside].abs().max()) < 0.004


def test_each_place_of_a_mosaic_has_one_colour_and_green_is_half() -> None:
    cells = development_batch._cells(torch.zeros(16, 3, 32, 32), torch.Generator().manual_seed(7))
    assert torch.equal(cells.sum(1), torch.ones(16, 32, 32))
    assert torch.allclose(cells.mean((2, 3)), torch.tensor([0.25, 0.5, 0.25]).expand(16, 3))
    assert len({tuple(cell[0, :2, :2].flatten().tolist()) for cell in cells}) == 4
