"""A training is asked to end by any signal, cleans up behind itself, and behind those that could not."""

import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from noisy_photos import save_archive
from rich.console import Console
from run_nsp import Finished, finish, start_training

from nsp_pipeline.cli.shared.stop_signals import stop_signals
from nsp_pipeline.profiles.bundle import load_profile

RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 20
batch = 1
steps = 10000000
inputs-per-step = 2
pd-factor = 1
memory = 1048576
judge-every = 10000000
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str | Path]:
    """A training that would take for ever, and caches its photos."""
    archive = save_archive(tmp_path / "in", 3, size=(640, 480))
    (tmp_path / "long.toml").write_text(RECIPE)
    return ["calibrate", archive, "--recipe", tmp_path / "long.toml", "--out", tmp_path / "mine.nsp"]


@pytest.fixture
def started() -> Iterator[list[Any]]:
    processes: list[Any] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[Any], arguments: list[str | Path], first: str = "pass") -> Any:
    process = start_training(*arguments, first=first)
    started.append(process)
    return process


def until(process: Any, words: str) -> None:
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended without saying '{words}'")


def caches(folder: Path) -> list[Path]:
    return list(folder.glob("*.training/cache-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_writes_the_profile_so_far_and_leaves_no_cache(
    tmp_path: Path, arguments: list[str | Path], started: list[Any], number: signal.Signals
) -> None:
    training = start(started, arguments)
    until(training, "step 100/")
    (cache,) = caches(tmp_path)
    assert list(cache.glob("*.npy")), "photos are cached, or this test shows nothing"
    training.send_signal(number)
    ended = finish(training)
    assert ended.code == 130, ended.err
    assert "stopping; writing the profile so far" in ended.err
    assert load_profile(tmp_path / "mine.nsp").spec.training.steps >= 100
    assert caches(tmp_path) == []
    assert "to train on, give mine.nsp another name and run the same command with --resume" in ended.err
    assert (tmp_path / "mine.nsp.training" / "checkpoint.pt").exists(), "what was learnt may be wanted again"


def test_a_signal_before_the_training_cleans_up(
    tmp_path: Path, arguments: list[str | Path], started: list[Any]
) -> None:
    slow = (
        "import sys, time; from nsp_pipeline.calibration.archive import survey; "
        "survey.measure_patches = lambda cut: (print('measuring', file=sys.stderr, flush=True), time.sleep(600))"
    )
    training = start(started, arguments, slow)
    until(training, "measuring")
    assert caches(tmp_path)
    training.send_signal(signal.SIGTERM)
    ended = finish(training)
    assert (ended.code, ended.err.splitlines()[-1]) == (130, "nsp: interrupted")
    assert caches(tmp_path) == []
    assert not (tmp_path / "mine.nsp").exists()


def test_signals_that_nohup_ignores_stay_ignored(
    tmp_path: Path, arguments: list[str | Path], started: list[Any]
) -> None:
    ignoring = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    )
    training = start(started, arguments, ignoring)
    until(training, "step 100/")
    training.send_signal(signal.SIGINT)
    training.send_signal(signal.SIGHUP)
    until(training, "step 200/")
    training.send_signal(signal.SIGTERM)
    assert finish(training).code == 130


class InterruptedWhileWriting(io.FileIO):
    """A file in which the first write is interrupted."""

    interrupted = False

    def write(self, content: Any) -> int:
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGINT)
        return super().write(content)


def test_an_interrupt_in_the_middle_of_a_line_of_progress_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.TextIOWrapper(
        io.BufferedWriter(InterruptedWhileWriting(tmp_path / "said", "w")), write_through=True
    ) as err:
        monkeypatch.setattr(sys, "stderr", err)
        with stop_signals(Console(stderr=True)) as stop, stop.finishing_first():
            err.write("step 1/10\n")
            err.flush()
            assert stop.asked()
        monkeypatch.undo()
    assert "stopping; writing the profile so far" in (tmp_path / "said").read_text()


def test_what_a_killed_training_cached_goes_at_the_next_start_and_what_a_living_one_cached_stays(
    tmp_path: Path, arguments: list[str | Path], started: list[Any], real_nsp: Callable[..., Finished]
) -> None:
    killed, living = (start(started, [*arguments[:-1], tmp_path / name]) for name in ("killed.nsp", "living.nsp"))
    for training in (killed, living):
        until(training, "step 100/")
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    assert len(caches(tmp_path)) == 2
    refused = finish(start(started, [*arguments[:-1], tmp_path / "living.nsp"]))
    assert refused.code == 2
    assert "another training is at work there" in refused.err
    for so_far, resume in ((False, True), (True, False)):
        if so_far:
            (tmp_path / "living.nsp.training" / "checkpoint.pt").write_bytes(b"so far")
        refused = real_nsp(*arguments[:-1], tmp_path / "living.nsp", *(["--resume"] if resume else []))
        assert "another training is at work there" in refused.err, "neither cut off nor missing"
    assert caches(tmp_path) == [tmp_path / "living.nsp.training" / "cache-0"]
    living.send_signal(signal.SIGTERM)
    assert finish(living).code == 130
    assert caches(tmp_path) == []


def test_reading_and_judging_count_in_the_time(tmp_path: Path, arguments: list[str | Path]) -> None:
    """The steps get what reading has left of the time: next to nothing here."""
    slow = (
        "import time; from nsp_pipeline.calibration.archive import survey; measure = survey.measure_patches\n"
        "def slow(cut):\n    time.sleep(2.4)\n    return measure(cut)\n"
        "survey.measure_patches = slow\n"
        "from nsp_pipeline.calibration.training.loop import _Training; advance = _Training.advance\n"
        "def slowly(training):\n    time.sleep(1.5)\n    return advance(training)\n"
        "_Training.advance = slowly"
    )
    done = finish(start_training(*arguments, "--max-time", "6s", first=slow))
    assert done.code == 0, done.err
    assert load_profile(tmp_path / "mine.nsp").spec.training.steps <= 2
