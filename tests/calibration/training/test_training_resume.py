"""A training that was killed goes on to the very result of one that was not."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from run_nsp import finish, start_python
from small_training import noisy_picture, small_settings, train_on
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nsp_pipeline.calibration.training import checkpoint
from nsp_pipeline.calibration.training.checkpoint import load_checkpoint, save_checkpoint
from nsp_pipeline.calibration.training.log import BOARD, read_log
from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE, Trained
from nsp_pipeline.errors import OutputError, UsageError

PATHS = os.pathsep.join(sys.path)

TRAIN = """
import sys, time
from pathlib import Path
from small_training import noisy_picture, small_settings, train_on
train_on([noisy_picture(1), noisy_picture(2)], [noisy_picture(3)], small_settings(steps=24), folder=Path(sys.argv[1]),
      on_step=lambda progress: time.sleep(0.05))
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from small_training import noisy_picture, small_settings, train_on
from nsp_pipeline.calibration.training.checkpoint import load_checkpoint
folder, reported = Path(sys.argv[1]), []
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def fill(progress):
    if progress.step == 6:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, resource.RLIM_INFINITY))

trained = train_on([noisy_picture(1)], [noisy_picture(3)], small_settings(), folder=folder, on_step=fill,
                   on_trouble=reported.append)
print(trained.steps, "steps, checkpoint of step", load_checkpoint(folder / "checkpoint.pt")["step"])
print(reported)
"""


def run(folder: Path, *, resume: bool = False, steps: int = 24, stop_after: int | None = None) -> Trained:
    folder.mkdir(exist_ok=True)
    done: list[Any] = []
    return train_on(
        [noisy_picture(1), noisy_picture(2)],
        [noisy_picture(3)],
        small_settings(steps=steps),
        folder=folder,
        resume=resume,
        on_step=done.append,
        should_stop=lambda: stop_after is not None and len(done) >= stop_after,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The folder and the result of a training that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


def log_rows(folder: Path) -> list[dict[str, str]]:
    """The log without the columns of time."""
    times = ("seconds", "processor_hours")
    return [{key: value for key, value in row.items() if key not in times} for row in read_log(folder)]


def same_weights(one: Trained, other: Trained) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_killed_and_resumed_is_the_same_as_undisturbed(tmp_path: Path, whole: tuple[Path, Trained]) -> None:
    folder, undisturbed = whole
    killed = tmp_path / "killed"
    killed.mkdir()
    process = start_python("-c", TRAIN, killed, PYTHONPATH=PATHS)
    deadline = time.monotonic() + 120
    while not (killed / CHECKPOINT_FILE).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 0 < load_checkpoint(killed / CHECKPOINT_FILE)["step"] < 24

    resumed = run(killed, resume=True)

    assert same_weights(resumed, undisturbed)
    assert resumed.history == undisturbed.history
    assert log_rows(killed) == log_rows(folder)
    assert len(log_rows(killed)) == 6


def test_the_best_judged_step_is_kept(whole: tuple[Path, Trained]) -> None:
    folder, trained = whole
    judged = {int(row["step"]): float(row["held_out_mse"]) for row in read_log(folder) if row["held_out_mse"]}
    assert judged[trained.best_step] == min(judged.values())
    assert dict(trained.history) == pytest.approx(judged, rel=1e-5)
    assert trained.judgement is not None
    assert trained.judgement.mean == pytest.approx(min(judged.values()), rel=1e-5)


def test_other_settings_or_photos_are_not_resumed(tmp_path: Path) -> None:
    run(tmp_path / "t", stop_after=8)

    with pytest.raises(UsageError, match="other settings"):
        run(tmp_path / "t", resume=True, steps=30)
    with pytest.raises(UsageError, match="other photos"):
        train_on([noisy_picture(1)], [], small_settings(steps=24), folder=tmp_path / "t", resume=True)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / CHECKPOINT_FILE
    if content is None:
        save_checkpoint(path, {"step": 3, "network": {"a": torch.zeros(1000)}})
        content = path.read_bytes()[:-500]
    path.write_bytes(content)

    with pytest.raises(UsageError, match=r"checkpoint\.pt: the checkpoint is damaged"):
        load_checkpoint(path)


def test_nothing_to_resume_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training to resume"):
        run(tmp_path / "t", resume=True)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "run"),)

    torch.save({"format": checkpoint.FORMAT, "x": Evil()}, tmp_path / CHECKPOINT_FILE)

    with pytest.raises(UsageError, match="damaged"):
        load_checkpoint(tmp_path / CHECKPOINT_FILE)
    assert not (tmp_path / "run").exists()


def test_a_full_disk_leaves_the_last_checkpoint_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    real, calls = torch.save, 0
    reported: list[str] = []

    def full(state: object, file: BinaryIO) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        real(state, file)

    monkeypatch.setattr("nsp_pipeline.calibration.training.checkpoint.torch.save", full)

    trained = train_on(
        [noisy_picture(1)], [noisy_picture(3)], small_settings(), folder=folder, on_trouble=reported.append
    )

    assert trained.steps == 12
    assert calls == 3
    assert load_checkpoint(folder / CHECKPOINT_FILE)["step"] == 4
    assert len(reported) == 2
    assert "No space left" in reported[0]
    assert not list(folder.glob("*.nsp-part"))


def test_on_a_disk_that_is_full_for_good_training_ends_with_its_network(tmp_path: Path) -> None:
    """The system itself refuses every file above 16 KiB, as a full disk would."""
    (tmp_path / "t").mkdir()

    done = finish(start_python("-c", FULL_DISK, tmp_path / "t", PYTHONPATH=PATHS))

    assert done.code == 0, done.err
    assert "12 steps, checkpoint of step 4" in done.out
    assert "the checkpoint cannot be written" in done.out
    assert not list((tmp_path / "t").glob("*.nsp-part"))


def test_an_unwritable_checkpoint_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"gone/checkpoint\.pt.*No such file"):
        save_checkpoint(tmp_path / "gone" / CHECKPOINT_FILE, {})


def test_a_time_limit_shortens_the_schedule(tmp_path: Path) -> None:
    planned = []

    trained = train_on(
        [noisy_picture(1)], [], small_settings(steps=1_000_000), max_seconds=2, on_step=lambda at: planned.append(at)
    )

    assert trained.steps < 1_000_000
    assert trained.seconds < 60
    assert len(planned) <= 20 or planned[-1].steps < 1_000_000


def test_pictures_and_tables_are_left_to_look_at(whole: tuple[Path, Trained]) -> None:
    folder, _ = whole
    assert [path.name for path in sorted(folder.glob("*.png"))] == [
        f"held-out-{step:06}.png" for step in (4, 8, 12, 16, 20, 24)
    ]
    board = EventAccumulator(str(folder / BOARD))
    board.Reload()
    assert {"loss", "held_out_mse", "drift", "leak"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("held_out_mse")] == [4, 8, 12, 16, 20, 24]
    rates = [float(row["learning_rate"]) for row in read_log(folder)]
    assert np.argmax(rates) < 2
    assert rates[-1] == min(rates)


def test_a_checkpoint_of_an_older_version_that_lacked_a_setting_is_resumed(
    tmp_path: Path, whole: tuple[Path, Trained]
) -> None:
    run(tmp_path / "t", stop_after=8)
    path = tmp_path / "t" / CHECKPOINT_FILE
    state = load_checkpoint(path)
    settings = json.loads(state["settings"])
    del settings["cooldown"]
    save_checkpoint(path, {**state, "settings": json.dumps(settings)})
    assert same_weights(run(tmp_path / "t", resume=True), whole[1])
    save_checkpoint(path, {**state, "settings": json.dumps({**settings, "unheard_of": 1})})
    with pytest.raises(UsageError, match="other settings"):
        run(tmp_path / "t", resume=True)
