"""Where a photo's own local means are taken, trainings take them as `nsp denoise` does."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from night_photos import night_photo
from small_student import SIZES

from nsp_pipeline.calibration.student.own_judge import OwnJudge, Pictured, Real
from nsp_pipeline.calibration.student.own_means import with_own_means
from nsp_pipeline.calibration.student.own_photos import look_at
from nsp_pipeline.core.blend import recentred
from nsp_pipeline.models.registry import build_backbone

TABLE = torch.full((1, 4, 8), 10 / 255)


@pytest.mark.parametrize("size", [(96, 160), (40, 64), (72, 72)])
def test_local_means_are_those_of_core(size: tuple[int, int]) -> None:
    noisy, estimate = torch.rand(2, 2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = np.stack([recentred(*(part.numpy() for part in pair)) for pair in zip(noisy, estimate, strict=True)])
    assert with_own_means(noisy, estimate).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("own_means", [False, True])
def test_a_network_that_errs_in_the_mean_alone_errs_only_where_its_mean_counts(*, own_means: bool) -> None:
    torch.manual_seed(0)
    first = build_backbone("unet", SIZES).eval()
    darker = deepcopy(first)
    torch.nn.init.constant_(darker.get_parameter("tail.bias"), -4 / 255)
    pictured, real = [], []
    for number in range(4):
        clean = torch.full((1, 3, 96, 96), 0.3)
        noise, probe = 10 / 255 * torch.randn(2, 1, 3, 96, 96)
        pictured.append(Pictured(clean + noise, clean, TABLE, number % 2, own_means))
        real.append(Real(clean + noise, probe, TABLE, number % 2, own_means))
    found = OwnJudge(first, pictured, real).judge(darker)
    errors = np.abs([found.mse, *found.others.values()])
    assert (errors.max() < 1e-3) == own_means


def test_pieces_of_night_photos_are_denoised_with_their_own_means() -> None:
    noisy, _ = night_photo()
    torch.manual_seed(0)
    network = build_backbone("unet", SIZES).eval()
    torch.nn.init.constant_(network.get_parameter("tail.bias"), -8 / 255)
    (photo,) = look_at([noisy], network, 1, np.random.default_rng(0))
    assert photo.own_means
    off = (photo.denoised[0] - photo.pieces[0]).mean((1, 2)).abs().max()
    assert float(off) < 1 / 255
