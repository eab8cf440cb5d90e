"""Several processes at one training: they learn as one would, go on as one, and end as one."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from noisy_photos import save_archive
from several_processes import Ended, run_together
from small_training import noisy_picture, small_settings, train_on
from torch import nn

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.training import ranks as ranks_module
from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE, Progress, train
from nsp_pipeline.calibration.training.ranks import Ranks, join_ranks
from nsp_pipeline.cli.main import main
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.profiles.bundle import load_profile

STEPS = 12
Weights = dict[str, torch.Tensor]


def learn(folder: Path, resume: bool = False, stop_after: int = 0, kill_at: int = 0, **options: Any) -> None:
    """Train with the others; the last weights of each process, and its steps, go into a file of the folder."""
    kept: dict[str, Any] = {}

    def look(progress: Progress) -> None:
        kept["steps"] = progress.step
        if ranks.rank == 1 and progress.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with join_ranks("cpu") as ranks:
        trained = train_on(
            [noisy_picture(1), noisy_picture(2)],
            [noisy_picture(3)],
            small_settings(**{"steps": STEPS, "ema_decay": 0.0, **options.pop("settings", {})}),
            folder=folder,
            resume=resume,
            ranks=ranks,
            on_step=look,
            should_stop=lambda: ranks.first and stop_after == kept["steps"],
            **options,
        )
        torch.save({"steps": trained.steps, "weights": trained.network.state_dict()}, folder / f"rank-{ranks.rank}")


def ended_well(folder: Path, *given: object) -> list[dict[str, Any]]:
    """What the processes of a training have kept, all of which came to its end."""
    folder.mkdir(exist_ok=True)
    for ended in run_together(folder, learn, folder, *given):
        assert ended.code == 0, ended.said
    return [torch.load(folder / f"rank-{rank}", weights_only=True) for rank in range(2)]


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """What a training in two processes ends with, in both."""
    first, second = ended_well(tmp_path_factory.mktemp("undisturbed"))
    assert (first["steps"], second["steps"]) == (STEPS, STEPS)
    assert same(first["weights"], second["weights"])
    return cast(Weights, first["weights"])


class CropsOfBoth(NextScaleObjective):
    """The crops that two processes draw, in one."""

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean over both."""
        return (super().loss(network, batch // 2, step, 0) + super().loss(network, batch // 2, step, 1)) / 2


class CropsOfOne(NextScaleObjective):
    """The crops that the first of two processes draws."""

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean over these."""
        return super().loss(network, batch // 2, step, 0)


def test_two_processes_learn_what_one_learns_from_the_crops_of_both(undisturbed: Weights) -> None:
    settings = small_settings(steps=STEPS, ema_decay=0.0)
    both, one = (
        train(kind([noisy_picture(1), noisy_picture(2)], [], settings), settings).network.state_dict()
        for kind in (CropsOfBoth, CropsOfOne)
    )
    for name, weights in undisturbed.items():
        torch.testing.assert_close(weights, both[name], rtol=1e-3, atol=1e-5)
    assert not all(torch.allclose(weights, one[name], rtol=1e-3, atol=1e-5) for name, weights in undisturbed.items())


def test_one_that_is_killed_ends_the_others_and_both_go_on_to_the_undisturbed_result(
    tmp_path: Path, undisturbed: Weights
) -> None:
    first, second = run_together(tmp_path, learn_or_complain, tmp_path, False, 0, 7)
    assert (first.code, second.code) == (3, -signal.SIGKILL)
    assert "another process of this training is gone" in first.said
    assert (tmp_path / CHECKPOINT_FILE).exists()
    for kept in ended_well(tmp_path, True):
        assert same(kept["weights"], undisturbed)


def learn_or_complain(*given: Any) -> int:
    """Train with the others, and say the error that ends it, as a command would."""
    try:
        learn(*given)
    except Exception as error:
        print(error, flush=True)
        return int(getattr(error, "exit_code", 1))
    return 0


def test_who_stops_the_first_stops_all_and_both_go_on_to_the_undisturbed_result(
    tmp_path: Path, undisturbed: Weights
) -> None:
    assert [kept["steps"] for kept in ended_well(tmp_path, False, 6)] == [6, 6]
    for kept in ended_well(tmp_path, True):
        assert same(kept["weights"], undisturbed)


def learn_in_a_second(folder: Path) -> None:
    learn(folder, settings={"steps": 1_000_000}, max_seconds=1.0)


def test_a_time_limit_ends_all_at_the_same_step(tmp_path: Path) -> None:
    assert [ended.code for ended in run_together(tmp_path, learn_in_a_second, tmp_path)] == [0, 0]
    steps = [torch.load(tmp_path / f"rank-{rank}", weights_only=True)["steps"] for rank in range(2)]
    assert steps[0] == steps[1] < 1_000_000


RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 40
batch = 2
steps = 4
pd-factor = 1

[student]
crop = 32
batch = 4
steps = 6
judge-every = 3
with-teacher = true
teacher-share = 0.5
teacher-crops = 2
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_archive(tmp_path_factory.mktemp("photos") / "in", 3, iso=800, size=(240, 200))


def nsp(*arguments: str) -> int:
    """Run a command that exports nothing, judged by little."""
    from nsp_pipeline.calibration.simulation import real_noise
    from nsp_pipeline.calibration.student import own_noise
    from nsp_pipeline.cli.calibrate import command, stages

    few = {"WINDOWS": 4, "JUDGED_WINDOWS": 2, "JUDGED": 12, "JUDGED_SIDE": 96}
    replaced = [
        *((own_noise, name, count) for name, count in few.items()),
        (real_noise, "FLAT", (100.0,)),
        (stages, "make_onnx", lambda network, mode, *_: mode.encode()),
        (command, "require_training", lambda: None),
    ]
    for module, name, value in replaced:
        setattr(module, name, value)
    return main(arguments)


@pytest.fixture
def calibrate(photos: Path, tmp_path: Path) -> Callable[..., list[Ended]]:
    """Calibrate in two processes; `changes` are put in the place of words of the recipe."""

    def run(*options: str | Path, changes: tuple[str, str] = ("", ""), where: Path = photos) -> list[Ended]:
        (tmp_path / "quick.toml").write_text(RECIPE.replace(*changes))
        arguments = ["calibrate", where, "--out", tmp_path / "mine.nsp", "--recipe", tmp_path / "quick.toml", *options]
        return run_together(tmp_path, nsp, *map(str, arguments))

    return run


def test_a_teacher_and_its_student_are_trained_by_two_processes_of_which_one_speaks(
    calibrate: Callable[..., list[Ended]], tmp_path: Path
) -> None:
    first, second = calibrate("--student", "fast")
    assert (first.code, second.code) == (0, 0), first.said + second.said
    assert second.said == ""
    assert "step 6/6" in first.said
    assert load_profile(tmp_path / "mine.nsp").spec.backbone.name == "unet"
    assert not list((tmp_path / "mine.nsp.training").glob("cache-*"))


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (("--max-steps", "0"), ("", ""), "0 is not in the range"),
        (("--stop-at", "teacher"), ("batch = 2", "batch = 3"), "a batch of 3 cannot be shared by 2 processes"),
        (("--stop-at", "teacher"), ("modules", "modles"), "unknown setting 'modles'"),
        (("--stop-at", "teacher", "--resume"), ("", ""), "there is no training to resume"),
        (("--split", "camera"), ("", ""), "--split trains each profile on one GPU: leave torchrun out"),
    ],
)
def test_what_cannot_be_trained_is_said_once_and_ends_all_with_one_code(
    calibrate: Callable[..., list[Ended]], options: tuple[str, ...], changes: tuple[str, str], message: str
) -> None:
    ended = calibrate(*options, changes=changes)
    said = "".join(one.said for one in ended)
    assert [one.code for one in ended] == [2, 2], said
    assert said.count(message) == 1, said
    assert "Traceback" not in said


def fail_alone() -> int:
    """Let the second process fail while the first waits for it."""
    try:
        with join_ranks("cpu") as ranks:
            if ranks.rank == 1:
                raise OutputError("the disk is full")
            Ranks(rank=1, count=2).first_says(0)
    except OutputError as error:
        print(error, flush=True)
        return error.exit_code
    return 0


def test_what_one_process_alone_cannot_do_it_says_and_the_others_end_with_its_code(tmp_path: Path) -> None:
    waiting, failed = run_together(tmp_path, fail_alone)
    assert (waiting.code, waiting.said) == (4, "")
    assert (failed.code, failed.said) == (4, "the disk is full\n")


def test_each_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    ranks_module._take_gpu("cuda", Ranks(rank=3, count=4, local=1))
    assert taken == [1]
    with pytest.raises(UsageError, match="--device cuda:1 is one GPU, and torchrun started 4 processes"):
        ranks_module._take_gpu("cuda:1", Ranks(rank=3, count=4, local=1))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="here are 2: torchrun --nproc-per-node 2"):
        ranks_module._take_gpu("auto", Ranks(rank=3, count=4, local=3))
