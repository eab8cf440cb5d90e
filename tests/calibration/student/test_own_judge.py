"""How networks are judged on pieces of photos, some of which tell nothing."""

from copy import deepcopy

import numpy as np
import torch
from small_student import SIZES

from nsp_pipeline.calibration.student.own_judge import FLAT, TEXTURED, OwnJudge, Pictured, Real
from nsp_pipeline.calibration.training.judge import Judgement, compare
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


def test_of_noise_that_nobody_has_smoothed_flat_places_tell_all() -> None:
    torch.manual_seed(0)
    first = build_backbone("unet", SIZES).eval()
    pieces = list(zip(*(crops(0.5, 0.02, seed) for seed in range(4)), strict=True))
    found, unsmoothed = (OwnJudge(first, *pieces, unsmoothed=known).judge(first) for known in (False, True))
    assert (set(found.others), found.unbiased) == ({FLAT, TEXTURED}, False)
    assert (set(unsmoothed.others), unsmoothed.unbiased) == ({FLAT}, True)


def test_a_sure_gain_on_the_photos_counts_though_simulated_noise_promises_far_more() -> None:
    rng = np.random.default_rng(0)

    def judgement(simulated: float, flat: float, *, unbiased: bool) -> Judgement:
        """Errors in dB beside the first network, a little scattered."""
        errors = (gain + rng.normal(0, 0.1, 48) for gain in (simulated, flat))
        unknown = float("nan")
        return Judgement(next(errors), 0.0, 0.0, unknown, unknown, others={FLAT: next(errors)}, unbiased=unbiased)

    verdicts = [
        compare(judgement(-5.9, flat, unbiased=unbiased), judgement(0, 0, unbiased=unbiased)).accepted
        for unbiased, flat in ((False, -0.9), (True, -0.9), (True, 0.0), (True, 0.5))
    ]
    assert verdicts == [False, True, False, False]
