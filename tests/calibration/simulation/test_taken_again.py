"""Pictures that cameras made are taken again at their own size."""

import numpy as np
import torch

from nsp_pipeline.calibration.simulation.cameras import ShotRange, take_again
from nsp_pipeline.calibration.simulation.noise_range import SOFT_ALREADY, NoiseRange
from nsp_pipeline.calibration.simulation.scenes import Scenes

SIDE = 64
ALWAYS = {"jpeg_share": 0.0, "clean_share": 0.0, "least_sigma": 3.0, "most_sigma": 8.0, **SOFT_ALREADY}
CAMERAS = ShotRange(none_share=0, camera_share=1, developed_share=0, camera=NoiseRange.model_validate(ALWAYS))


def crisp() -> torch.Tensor:
    """A picture (1, 3, SIDE, SIDE) whose detail is a pixel wide."""
    rng = torch.Generator().manual_seed(2)
    return (0.5 + 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=rng)).clamp(0, 1)


def test_the_clean_picture_keeps_its_size_and_most_of_its_detail() -> None:
    picture = crisp()
    fine = picture - torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    kept = []
    for seed in range(12):
        shot = take_again(picture, CAMERAS, np.random.default_rng(seed))
        assert shot.clean.shape == shot.noisy.shape == picture.shape
        assert float((shot.noisy - shot.clean).std()) > 0.5 / 255
        left = shot.clean - torch.nn.functional.avg_pool2d(shot.clean, 3, 1, 1)
        kept.append(float((left * fine).mean() / (left.std() * fine.std())))
    assert np.median(kept) > 0.6, "not shrunk, and hardly softened: a camera has done that"


def test_at_full_size_nothing_is_shrunk() -> None:
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 200
    rng = np.random.default_rng(0)
    whole, any_size = Scenes([stripes], [1.0], at_full_size=True), Scenes([stripes], [1.0])
    assert all(float(whole.draw(SIDE, rng).std()) > 0.3 for _ in range(12))
    assert min(float(any_size.draw(SIDE, rng).std()) for _ in range(12)) < 0.01
