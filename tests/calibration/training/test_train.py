"""The training loop, on small photos and a small network."""

import numpy as np
import pytest
import torch
from noisy_photos import clean_scene, noisy_scene
from small_training import train_on
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.calibration.training.loop import Progress, Trained, learning_rate, train
from nsp_pipeline.models.registry import build_backbone

SIZES = {"base_channels": 4, "modules": 1, "local_mean_skip": False}
SETTINGS = NextScaleSettings(**SIZES, crop=20, batch=4, steps=60, learning_rate=1e-2, pd_factor=1, bf16=False)
PHOTOS = [noisy_scene(seed) for seed in range(3)]


def settings(**changes: object) -> NextScaleSettings:
    return SETTINGS.model_copy(update=changes)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


def same(one: Trained, other: Trained) -> bool:
    return all(torch.equal(value, weights(other)[key]) for key, value in weights(one).items())


@pytest.fixture(scope="module")
def whole() -> tuple[Trained, list[Progress]]:
    """A training of 60 steps, and what it reported."""
    seen: list[Progress] = []
    return train_on(PHOTOS, [], settings(local_mean_skip=True), on_step=seen.append), seen


def test_the_loss_falls_and_is_reported_with_every_step(whole: tuple[Trained, list[Progress]]) -> None:
    trained, seen = whole

    assert [progress.step for progress in seen] == list(range(1, 61))
    assert {progress.steps for progress in seen} == {60}
    assert all(progress.steps_per_second > 0 for progress in seen)
    # What is reported is the mean of the last 100 steps, here of all so far; the differences are the steps' own.
    losses = np.diff([0.0, *(progress.step * progress.loss for progress in seen)])
    assert losses[-10:].mean() < 0.5 * losses[0]
    assert (losses > 0).all()
    assert trained.loss == pytest.approx(seen[-1].loss)
    assert (trained.steps, trained.seconds > 0) == (60, True)


def test_a_network_trained_on_noisy_photos_alone_comes_nearer_to_the_clean_scene(
    whole: tuple[Trained, list[Progress]],
) -> None:
    clean, noisy = clean_scene(48, 64) / 255, noisy_scene(99).astype(np.float32) / 255

    def error(trained: Trained) -> float:
        with torch.inference_mode():
            estimate = avg_pool2d(trained.network(torch.from_numpy(noisy.transpose(2, 0, 1))[None]), 2)[0]
        return float(np.sqrt(((estimate.numpy().transpose(1, 2, 0) - clean) ** 2).mean()))

    before = float(np.sqrt(((noisy - clean) ** 2).mean()))
    assert error(whole[0]) < 0.5 * before < error(train_on(PHOTOS, [], settings(local_mean_skip=True, steps=1)))


@pytest.mark.parametrize("bf16", [False, True])
def test_the_same_seed_gives_the_same_network_and_another_seed_another(bf16: bool) -> None:
    short = settings(steps=5, bf16=bf16)
    first = train_on(PHOTOS, PHOTOS[:1], short)
    assert same(first, train_on(PHOTOS, PHOTOS[:1], short))
    assert not same(first, train_on(PHOTOS, PHOTOS[:1], short.model_copy(update={"seed": 1})))
    assert {value.dtype for value in weights(first).values()} == {torch.float32}


@pytest.mark.parametrize("skip", [True, False])
def test_one_step_reaches_every_weight(skip: bool) -> None:
    trained = train_on(PHOTOS, [], settings(steps=1, ema_decay=0.0, schedule="constant", local_mean_skip=skip))
    torch.manual_seed(SETTINGS.seed)
    before = build_backbone("dbsn", {**SIZES, "scale": 2, "local_mean_skip": skip}).state_dict()

    still = [key for key, value in weights(trained).items() if torch.equal(value, before[key])]
    assert still == ["branch1.body.0.mask", "branch2.body.0.mask"]


def test_asked_to_stop_it_ends_with_the_network_so_far() -> None:
    seen: list[Progress] = []
    trained = train_on(PHOTOS, PHOTOS[:1], SETTINGS, should_stop=lambda: len(seen) == 3, on_step=seen.append)

    assert ([progress.step for progress in seen], trained.steps) == ([1, 2, 3], 3)
    assert not trained.network.training
    assert all(torch.isfinite(value).all() for value in weights(trained).values())
    assert trained.network(torch.rand(1, 3, 12, 16)).shape == (1, 3, 24, 32)


class Judged:
    """Nothing to learn; the judgements say that a network gains by simulated noise, and by photos less and less."""

    photos: tuple[list[int], ...] = ()

    def __init__(self, gains: list[tuple[float, float]]) -> None:
        self.gains, self.asked = [(0.0, 0.0), *gains], 0

    def stepped(self, network: torch.nn.Module) -> torch.nn.Module:
        return network

    def loss(self, network: torch.nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        return torch.stack([value.abs().mean() for value in network.parameters()]).sum()

    def judge(self, network: torch.nn.Module) -> Judgement:
        simulated, photos = self.gains[min(self.asked, len(self.gains) - 1)]
        self.asked += 1
        spread = 1e-3 * np.arange(8, dtype=np.float64)
        nan = float("nan")
        others = {"dB on photos": spread - photos}
        return Judgement(mse=spread - simulated, l1=nan, drift=nan, leak=nan, edges=nan, others=others)

    def previews(self, network: torch.nn.Module) -> list[list[np.ndarray]]:
        return []


@pytest.mark.parametrize(
    ("gains", "best"),
    [
        # Further on it gains more on simulated noise, and loses on photos: a profile would be refused.
        ([(0.2, 0.2), (0.3, 0.3), (0.9, -0.2), (1.2, -0.4)], 2),
        ([(0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)], 4),
        # Where all would be refused, what gains most by the first measure is kept, as the least to be told.
        ([(0.2, -0.1), (0.5, -0.2), (0.4, -0.3), (0.3, -0.4)], 2),
    ],
)
def test_a_checkpoint_that_would_be_accepted_is_kept_before_one_that_seems_to_gain_more(
    gains: list[tuple[float, float]], best: int
) -> None:
    base = build_backbone("dbsn", {**SIZES, "scale": 2})
    trained = train(Judged(gains), settings(steps=4, judge_every=1), base=base)  # type: ignore[arg-type]
    assert trained.best_step == best


def test_the_network_kept_is_the_running_average() -> None:
    last = train_on(PHOTOS, [], settings(steps=30, ema_decay=0.0))
    average = train_on(PHOTOS, [], settings(steps=30, ema_decay=0.999))
    assert not same(last, average)
    # Both lie on one path: the average is nearer to its end than to its beginning.
    torch.manual_seed(SETTINGS.seed)
    begin = build_backbone("dbsn", {**SIZES, "scale": 2}).state_dict()

    def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
        return float(sum(((value - other[key]) ** 2).sum() for key, value in one.items()) ** 0.5)

    assert distance(weights(average), weights(last)) < distance(weights(average), begin)


def test_photos_of_any_depth_train_alike() -> None:
    short = settings(steps=10)
    loss = train_on(PHOTOS, [], short).loss
    for dtype, largest in (("uint16", 65535), ("float32", 1)):
        deep = [(photo / 255 * largest).astype(dtype) for photo in PHOTOS]
        assert train_on(deep, [], short).loss == pytest.approx(loss, rel=1e-3), dtype


def test_more_targets_and_fewer_inputs_a_step_train_too() -> None:
    for changes in ({"n": 4}, {"inputs_per_step": 3}, {"strategy": "random"}, {"s": 4, "t": 3}):
        trained = train_on(PHOTOS, [], SETTINGS.model_validate({**SETTINGS.model_dump(), **changes, "steps": 2}))
        assert trained.steps == 2, changes
        assert np.isfinite(trained.loss)


def test_a_trapezoid_rises_holds_and_falls_at_the_end_wherever_that_is() -> None:
    chosen = settings(schedule="trapezoid", warmup=0.1, cooldown=0.2, steps=100, learning_rate=1e-3)
    rates = [learning_rate(step, 100, chosen) for step in range(1, 101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] < 0.2e-3
    assert rates[10:80] == pytest.approx([1e-3] * 70)
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] < 1e-6
    # Ended sooner, it is the same until the fall, which is as long a part of the whole.
    shorter = [learning_rate(step, 50, chosen) for step in range(1, 51)]
    assert shorter[:40] == rates[:40]
    assert shorter[39] > shorter[40]
    assert shorter[-1] < 1e-6
