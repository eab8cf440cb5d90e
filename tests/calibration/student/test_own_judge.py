"""How networks are judged on pieces of photos, some of which tell nothing."""

from copy import deepcopy

import numpy as np
import torch
from small_student import SIZES

from nsp_pipeline.calibration.student.own_judge import OwnJudge, Pictured, Real
from nsp_pipeline.models.registry import build_backbone

TABLE = torch.full((1, 4, 8), 2 / 255)


def crops(brightness: float, sigma: float, seed: int) -> tuple[Pictured, Real]:
    """A piece of one brightness with noise of 0..1, rounded to 8 bits as a photo is."""
    torch.manual_seed(seed)
    clean = torch.full((1, 3, 64, 64), brightness)
    noise, probe = sigma * torch.randn(2, 1, 3, 64, 64)
    noisy = ((clean + noise).clamp(0, 1) * 255).round() / 255
    return Pictured(noisy, clean, TABLE, seed % 2), Real(noisy, probe, TABLE, seed % 2)


def test_a_black_piece_without_any_noise_leaves_the_others_their_say() -> None:
    torch.manual_seed(0)
    first, other = (build_backbone("unet", SIZES).eval() for _ in range(2))
    pieces = [crops(0.5, 0.02, seed) for seed in range(4)] + [crops(0.0, 0.0, 4), crops(0.0, 1e-4, 5)]
    judge = OwnJudge(first, *zip(*pieces, strict=True))
    for network in (first, other):
        found = judge.judge(network)
        assert np.isfinite(found.mse).all()
        assert all(np.isfinite(errors).all() for errors in found.others.values())
        assert found.claim
        assert np.isfinite([found.claim.gain, found.claim.error]).all()
    assert judge.judge(first).mean == 0


def test_where_there_is_no_noise_a_hair_more_or_less_is_no_error() -> None:
    torch.manual_seed(0)
    first = build_backbone("unet", SIZES).eval()
    other = deepcopy(first)
    torch.nn.init.constant_(other.get_parameter("tail.bias"), 0.05 / 255)
    pieces = [crops(0.5, 0.02, 0), crops(0.0, 0.0, 1)]
    judge = OwnJudge(first, *zip(*pieces, strict=True))
    noisy, black = judge.judge(other).mse
    assert noisy != 0
    assert black == 0
