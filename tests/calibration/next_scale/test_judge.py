"""Judging without clean photos: the noisy loss ranks networks as the true error does, and leaks are noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import noisy_picture, small_settings
from torch import nn

from nsp_pipeline.calibration.next_scale.held_out import HeldOut
from nsp_pipeline.calibration.training.judge import Judgement, compare
from nsp_pipeline.core.claim import Claim


class Guess(nn.Module):
    """The input enlarged, blurred over a window, with a colour cast: a stand-in for networks of known quality."""

    def __init__(self, window: int, cast: float = 0.0) -> None:
        super().__init__()
        self.cast = nn.Parameter(torch.tensor(cast))
        self.window = window

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        padding = self.window // 2
        blurred = nn.functional.avg_pool2d(image, self.window, 1, padding, count_include_pad=False)
        return blurred.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.cast


def judgement(mse: "np.typing.ArrayLike", leak: float = 1.0) -> Judgement:
    return Judgement(np.asarray(mse, dtype=float), 0.0, 0.0, leak, 1.0)


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut([noisy_picture(seed, side=200) for seed in (1, 2)], small_settings())


def test_the_better_network_has_the_lower_noisy_loss(held_out: HeldOut) -> None:
    good, poor = held_out.judge(Guess(3)), held_out.judge(Guess(1))

    assert good.mean < poor.mean
    assert compare(good, poor).accepted
    assert not compare(poor, good).accepted


def test_a_network_is_not_better_than_itself(held_out: HeldOut) -> None:
    verdict = compare(held_out.judge(Guess(3)), held_out.judge(Guess(3)))

    assert not verdict.accepted
    assert verdict.gain == 0


def test_a_colour_cast_is_measured_in_8_bit_steps(held_out: HeldOut) -> None:
    straight, cast = held_out.judge(Guess(3)), held_out.judge(Guess(3, cast=4 / 255))

    assert cast.drift - straight.drift == pytest.approx(4.0, abs=0.5)


def test_crops_are_shared_among_photos_and_do_not_overlap(held_out: HeldOut) -> None:
    assert len(held_out) == 50  # two photos of 5×5 crops of 40


def test_two_standard_errors_decide() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 2, 64)
    error = 0.1 / 8

    assert compare(judgement(base - rng.normal(3 * error, 0.1, 64)), judgement(base)).accepted
    verdict = compare(judgement(base - rng.normal(0.5 * error, 0.1, 64)), judgement(base))
    assert not verdict.accepted
    assert "two standard errors" in verdict.reason


@pytest.mark.parametrize(("confirmed", "words"), [(1.0, "better"), (0.4, "and only +0."), (0.0, "two standard errors")])
def test_every_measure_must_show_the_gain_that_the_first_one_promises(confirmed: float, words: str) -> None:
    rng = np.random.default_rng(0)
    nothing = np.zeros(64)
    promised = rng.normal(-1.0, 0.4, 64)
    base = replace(judgement(nothing), others={"dB on photos": nothing})
    found = replace(judgement(promised), others={"dB on photos": rng.normal(-confirmed, 0.4, 64)})
    verdict = compare(found, base)
    assert verdict.accepted is (confirmed == 1.0)
    assert words in verdict.reason
    assert verdict.gain == pytest.approx(1.0, abs=0.1), "what is told is the first one's"


def test_a_loss_below_the_noise_is_a_leak() -> None:
    verdict = compare(judgement([0.1, 0.1, 0.11], leak=0.4), judgement([1.0, 1.1, 1.0]))

    assert not verdict.accepted
    assert "s is too small" in verdict.reason


def test_an_error_that_a_leak_made_small_wins_no_checkpoint() -> None:
    honest, worse, leaking = judgement([0.5, 0.5]), judgement([0.6, 0.6]), judgement([0.1, 0.1], leak=0.4)
    unknown = judgement([0.55, 0.55], leak=float("nan"))

    assert sorted([leaking, worse, unknown, honest], key=lambda one: one.rank) == [honest, unknown, worse, leaking]


def test_correlated_noise_shows_as_a_leak() -> None:
    """Noise that is equal over 10 pixels can be foreseen from the neighbours: the residual falls below it."""
    rng = np.random.default_rng(4)
    flat = np.full((200, 200, 3), 128.0)
    independent = flat + rng.normal(0, 10, flat.shape)
    coarse = flat + np.kron(rng.normal(0, 10, (20, 20, 3)), np.ones((10, 10, 1)))
    noise = [np.asarray(image.clip(0, 255), dtype=np.uint8) for image in (independent, coarse)]

    leaks = [HeldOut([image], small_settings()).judge(Guess(3)).leak for image in noise]

    assert leaks[0] == pytest.approx(1.1, abs=0.15)  # a mean of 9 pixels leaves a ninth
    assert leaks[1] < 0.8


def test_a_gain_too_small_to_tell_is_none_however_sure_it_is() -> None:
    nothing = np.zeros(64)
    base = replace(judgement(nothing), others={"dB on photos": nothing})
    for gain, accepted in ((0.04, False), (0.06, True)):
        found = replace(judgement(nothing - gain), others={"dB on photos": nothing - gain})
        assert compare(found, base).accepted is accepted
    assert (
        "too little to tell"
        in compare(replace(base, mse=nothing - 0.01, others={"dB on photos": nothing - 1}), base).reason
    )


def test_where_all_measures_tell_a_gain_together_it_must_be_likelier_than_a_loss() -> None:
    nothing = np.zeros(64)
    base = replace(judgement(nothing), others={"dB on photos": nothing})
    better = replace(judgement(nothing - 0.3), others={"dB on photos": nothing - 0.4})
    likely, not_so = (compare(replace(better, claim=Claim(gain, 0.2)), base) for gain in (0.1, -0.1))
    assert (likely.accepted, likely.in_words) == (True, "+0.10 ± 0.20 dB (perhaps nothing)")
    assert (not_so.accepted, not_so.in_words) == (False, "nothing surely gained")
    assert "-0.10 ± 0.20 dB" in not_so.reason


def test_a_checkpoint_that_went_astray_comes_last() -> None:
    astray, good, better = (judgement(np.full(4, error)) for error in (np.nan, 2e-3, 1e-3))
    assert sorted([astray, good, better], key=lambda found: found.rank) == [better, good, astray]
