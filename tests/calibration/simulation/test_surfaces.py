"""Surfaces: texture from edge to edge, as faint as noise, whose colours change together."""

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation import surfaces
from nsp_pipeline.calibration.simulation.camera_noise import blurred
from nsp_pipeline.calibration.simulation.surfaces import CONTRAST, surface

SCENE = torch.linspace(0.1, 0.9, 160).view(1, 1, 1, -1).expand(1, 3, 160, -1).contiguous()


def drawn(seed: int) -> torch.Tensor:
    return surface(SCENE, np.random.default_rng(seed))


def fine(picture: torch.Tensor) -> torch.Tensor:
    return (picture - blurred(picture, 12.0))[..., 20:-20, 20:-20]


def test_pictures_are_of_the_scenes_size_and_the_same_seed_draws_the_same() -> None:
    for seed in range(8):
        picture = drawn(seed)
        assert picture.shape == SCENE.shape
        assert picture.dtype == torch.float32
        assert float(picture.min()) >= 0
        assert float(picture.max()) <= 1
        assert torch.equal(picture, drawn(seed))
    assert not torch.equal(drawn(0), drawn(1))


def test_there_is_texture_of_every_contrast_on_photos_and_on_single_colours() -> None:
    contrasts = [float(fine(drawn(seed)).std() / drawn(seed).mean()) for seed in range(60)]
    assert min(contrasts) < 2 * CONTRAST[0], "as faint as noise of 1 of 255"
    assert max(contrasts) > CONTRAST[1] / 2
    bent = [float((blurred(drawn(seed), 12.0) - blurred(SCENE, 12.0)).std()) for seed in range(60)]
    assert min(bent) < 0.03, "some lie on what is in the scene"
    assert max(bent) > 0.15, "some on a colour of their own"


def test_the_shading_of_a_surface_changes_its_colours_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "TINTED", 0.0)
    for seed in range(12):
        picture = drawn(seed)
        ground = blurred(picture, 12.0).clamp_min(1e-3)
        shading = fine(picture) / ground[..., 20:-20, 20:-20]
        inside = ((picture > 0) & (picture < 1)).all(1)[..., 20:-20, 20:-20]
        red, green, blue = (shading[0, channel][inside[0]] for channel in range(3))
        for other in (green, blue):
            assert float(torch.corrcoef(torch.stack([red, other]))[0, 1]) > 0.9
