"""Which way to run a network is found from noisy photos alone."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.archive.survey import measure_pixels
from nsp_pipeline.calibration.next_scale.inference_choice import MARGIN, choose_inference
from nsp_pipeline.calibration.publish import InferenceChoice
from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.crops import to_tensor
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.local_mean import ring
from nsp_pipeline.profiles.spec import InferenceSpec

SIDE = 384


class RingMean(Backbone):
    """The mean of a pixel's eight neighbours, in each place of its cell: blind, and good at nothing but noise."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.halo = 2, 1
        self.mean = ring(1)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean: torch.Tensor = self.mean(image)
        return (self.weight * mean).repeat_interleave(2, 2).repeat_interleave(2, 3)


def scene(waves: float) -> NDArray[np.float64]:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    grey = 0.5 + 0.3 * np.sin(waves * (3 * x + 2 * y)) * np.sin(waves * (x - 2 * y))
    return np.stack([grey, 0.9 * grey, 0.8 * grey + 0.05], 2)


def noisy(clean: NDArray[np.float64], sigma: float, reach: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise that a moving mean spreads over `reach` pixels more, half of it shared by the channels."""
    rng = np.random.default_rng(seed)
    wide = SIDE + reach
    noise = (rng.standard_normal((wide, wide, 3)) + rng.standard_normal((wide, wide, 1))) / 2**0.5
    for axis in (0, 1):
        noise = np.lib.stride_tricks.sliding_window_view(noise, reach + 1, axis=axis).sum(-1)
    return np.asarray(np.rint((clean + sigma * noise / (reach + 1)).clip(0, 1) * 255), np.uint8)


def choose(photos: list[NDArray[np.uint8]]) -> InferenceChoice:
    noise = measure_pixels(photos, 8)
    assert noise is not None
    choice = choose_inference(RingMean(), photos, noise)
    assert choice is not None
    return choice


def true_error(photo: NDArray[np.uint8], clean: NDArray[np.float64], inference: InferenceSpec) -> float:
    estimate = denoised(RingMean(), to_tensor(photo)[None], inference)[0]
    difference = estimate - torch.from_numpy(clean.transpose(2, 0, 1))
    return float((difference[:, MARGIN:-MARGIN, MARGIN:-MARGIN] ** 2).mean())


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_the_error_is_estimated_without_the_clean_photo(reach: int) -> None:
    clean = scene(4)
    photos = [noisy(clean, 0.06, reach, seed) for seed in range(3)]
    errors = choose(photos).errors
    for name, inference in (
        ("without PD", InferenceSpec(pd_factor=1)),
        ("with PD", InferenceSpec(pd_factor=2)),
        ("with PD on shifted grids", InferenceSpec(pd_factor=2, shifted_grids=True)),
    ):
        truth = np.mean([true_error(photo, clean, inference) for photo in photos])
        assert errors[name] == pytest.approx(truth, rel=0.2), name


def test_independent_noise_on_fine_detail_wants_no_pd() -> None:
    assert choose([noisy(scene(150), 0.03, 0, seed) for seed in range(2)]).inference == InferenceSpec(pd_factor=1)


def test_strong_correlated_noise_wants_pd() -> None:
    inference = choose([noisy(scene(2), 0.1, 1, seed) for seed in range(2)]).inference
    assert (inference.pd_factor, inference.shifted_grids) == (2, True)


def test_photos_too_small_or_all_clipped_say_nothing() -> None:
    noise = measure_pixels([noisy(scene(4), 0.06, 0)], 8)
    assert noise is not None
    for photo in (np.full((40, 400, 3), 100, np.uint8), np.full((400, 400, 3), 255, np.uint8)):
        assert choose_inference(RingMean(), [photo], noise) is None
