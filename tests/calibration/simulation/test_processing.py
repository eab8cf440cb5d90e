"""What a simulated camera does to a finished picture, each step by itself."""

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation.camera_noise import blurred
from nsp_pipeline.calibration.simulation.processing import ProcessingRange, processed, unevenly
from nsp_pipeline.calibration.simulation.shot import Shot

SIDE, SIGMA = 96, 5 / 255
FAR = 20
"""Pixels from an edge at which nothing of it is left."""


def two_halves(left: float, right: float) -> torch.Tensor:
    """A picture (1, 3, SIDE, SIDE) of two even greys, with an upright edge in its middle."""
    picture = torch.full((1, 3, SIDE, SIDE), left)
    picture[..., SIDE // 2 :] = right
    return picture


def white(sigma: float = SIGMA) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(4).normal(0, sigma, (1, 3, SIDE, SIDE)).astype(np.float32))


def shot_of(clean: torch.Tensor, noise: torch.Tensor) -> Shot:
    return Shot(clean + noise, clean, noise)


def after(step: str, shot: Shot, seed: int, **most: float) -> Shot:
    """A shot after one step alone."""
    none = dict.fromkeys(("smoothed_share", "colour_share", "sharpened_share", "halved_colour_share", "hot_share"), 0.0)
    chosen = ProcessingRange(**{**none, f"{step}_share": 1.0, **most})
    return processed(shot, chosen, np.random.default_rng(seed))


def colour_of(image: torch.Tensor) -> torch.Tensor:
    return image - image.mean(1, keepdim=True)


@pytest.mark.parametrize("seed", range(8))
def test_sharpening_overshoots_at_an_edge_and_leaves_what_is_even(seed: int) -> None:
    clean = two_halves(0.3, 0.7)
    shot = after("sharpened", shot_of(clean, 0 * clean), seed)
    across = shot.clean[0, 0, SIDE // 2]
    middle = SIDE // 2
    assert float(across[middle - 1]) < 0.3 - 0.02
    assert float(across[middle]) > 0.7 + 0.02
    assert float(across.argmin()) == middle - 1
    assert float(across.argmax()) == middle
    even = torch.cat([across[: middle - FAR] - 0.3, across[middle + FAR :] - 0.7])
    assert float(even.abs().max()) < 1e-4
    assert torch.equal(shot.noisy, shot.clean), "where there is no noise, there is none after it"


def test_sharpening_makes_noise_stronger_everywhere_or_where_there_is_something_to_sharpen() -> None:
    noise = white()
    gains, spared = [], 0
    for seed in range(16):
        shot = after("sharpened", shot_of(two_halves(0.3, 0.7), noise), seed)
        left = shot.noisy - shot.clean
        even, edge = left[..., : SIDE // 2 - FAR], left[..., SIDE // 2 - 1 : SIDE // 2 + 1]
        told = float(shot.flat[..., : SIDE // 2 - FAR].std() / noise[..., : SIDE // 2 - FAR].std())
        gains.append(told)
        assert told == pytest.approx(float(even.std() / noise[..., : SIDE // 2 - FAR].std()), rel=0.02)
        spared += float(edge.std() / noise[..., SIDE // 2 - 1 : SIDE // 2 + 1].std()) > 1.15 * told
    assert min(gains) > 1
    assert 0 < spared < 16


def test_colours_at_half_the_size_keep_grey_and_lose_what_is_finer() -> None:
    coarse = 0.1 * torch.sin(torch.arange(SIDE) * 2 * torch.pi / 48).view(1, 1, 1, -1)
    fine = 0.1 * (1 - 2 * ((torch.arange(SIDE).view(-1, 1) + torch.arange(SIDE)) % 2)).view(1, 1, SIDE, SIDE)
    red = torch.tensor([2.0, -1.0, -1.0]).view(1, 3, 1, 1) / 3
    grey = 0.5 + fine.expand(1, 3, SIDE, SIDE)
    shot = after("halved_colour", Shot(grey + red * (coarse + fine), grey + red * coarse, red * fine), 0)
    for part, before in ((shot.noisy, grey), (shot.clean, grey), (shot.flat, 0 * grey)):
        torch.testing.assert_close(part.mean(1), before.mean(1), atol=1e-6, rtol=0)
    inner = (..., slice(FAR, -FAR), slice(FAR, -FAR))
    kept = (red * coarse).expand_as(grey)[inner]
    assert float((colour_of(shot.clean)[inner] - kept).abs().max()) < 0.003
    assert float((colour_of(shot.noisy)[inner] - kept).abs().max()) < 0.003, "of single pixels nothing is left"
    assert float(shot.flat.abs().max()) < 1e-6


def test_hot_pixels_are_single_samples_brighter_than_before_and_as_many_as_drawn() -> None:
    clean, most = torch.full((1, 3, 256, 256), 0.4), 2e-3
    densities = []
    for seed in range(40):
        shot = after("hot", shot_of(clean, 0 * clean), seed, most_hot=most)
        hot = shot.noisy != clean
        densities.append(float(hot.float().mean()))
        assert torch.equal(shot.clean, clean)
        if hot.any():
            assert float(shot.noisy[hot].min()) >= 0.4 + 0.3 * 0.6 - 1e-6, "at least 0.3 of the way to white"
            assert float(shot.noisy.max()) <= 1
            assert float((hot.sum(1) > 1).sum()) <= 0.05 * float(hot.sum()), "of one channel, but by chance"
    assert max(densities) < 1.3 * most
    assert np.mean(densities) == pytest.approx(most / 2, rel=0.25)


def test_smoothing_of_colour_noise_keeps_its_grey_and_the_clean_picture() -> None:
    clean, noise = torch.full((1, 3, SIDE, SIDE), 0.5), white()
    for seed in range(12):
        shot = after("colour", shot_of(clean, noise), seed)
        left = shot.noisy - shot.clean
        assert torch.equal(shot.clean, clean)
        torch.testing.assert_close(left, shot.flat, atol=1e-6, rtol=0)
        torch.testing.assert_close(left.mean(1), noise.mean(1), atol=1e-6, rtol=0)
        fine = colour_of(left) - blurred(colour_of(left), 1.0)
        before = colour_of(noise) - blurred(colour_of(noise), 1.0)
        assert float(fine.std()) < 0.5 * float(before.std())


def test_blotches_of_colour_are_as_strong_everywhere_or_stronger_in_the_dark() -> None:
    # The same noise on both sides, so that only brightness tells them apart.
    half = white()[..., : SIDE // 2]
    noise = torch.cat([half, half], 3)
    ratios = []
    for seed in range(40):
        shot = after("colour", shot_of(two_halves(0.15, 0.85), noise), seed)
        coarse = blurred(colour_of(shot.noisy - shot.clean), 3.0)
        dark, bright = coarse[..., FAR : SIDE // 2 - 8], coarse[..., SIDE // 2 + FAR : -8]
        ratios.append(float(dark.std() / bright.std()))
    even = [ratio for ratio in ratios if abs(ratio - 1) < 0.15]
    stronger = [ratio for ratio in ratios if ratio >= 1.15]
    assert len(even) + len(stronger) == 40, "weaker in the dark nowhere"
    assert len(even) > 5
    assert len(stronger) > 5


@pytest.mark.parametrize("most", [1.5, 3.0])
def test_uneven_noise_is_stronger_by_place_and_never_by_more_than_asked(most: float) -> None:
    clean, noise = two_halves(0.3, 0.7), torch.full((1, 3, SIDE, SIDE), 0.01)
    strongest = []
    for seed in range(20):
        shot = unevenly(shot_of(clean, noise), most, np.random.default_rng(seed))
        gain = (shot.noisy - shot.clean) / noise
        assert torch.equal(shot.clean, clean)
        torch.testing.assert_close(shot.flat, gain * noise, atol=1e-6, rtol=0)
        assert float(gain.min()) > 1 - 1e-4
        assert float(gain.max()) < most + 1e-4
        torch.testing.assert_close(gain, gain[:, :1].expand_as(gain), atol=1e-4, rtol=0)
        assert float(gain.diff(dim=3).abs().max()) < 0.2, "smooth"
        strongest.append(float(gain.max() - gain.min()))
    assert max(strongest) > 0.5 * (most - 1)
