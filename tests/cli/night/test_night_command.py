"""`nsp denoise --calibrate`: what it refuses and foresees, and a whole night that is killed in the middle."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_engine import fake_sources
from night_training import PLAN, STEPS, train_a_tiny_network
from noisy_photos import save_archive
from run_nsp import Finished, run_here, start_python

from nsp_pipeline.atomic_file import process_is_alive
from nsp_pipeline.batch.folder import plan_folder
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night import before, stage
from nsp_pipeline.cli.night import device as night_device
from nsp_pipeline.cli.night.apart import calibrate_apart, heard
from nsp_pipeline.cli.night.device import device_asked
from nsp_pipeline.cli.night.task import GroupTask
from nsp_pipeline.errors import UsageError
from nsp_pipeline.profiles.choose import choose_profile, user_entries

Nsp = Callable[..., Finished]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return save_archive(tmp_path / "in", 4, iso=800)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch"], "run it without --watch first"),
        (["--shard", "1/2"], "--calibrate serves all shards"),
        (["--cluster", "auto"], "--calibrate trains on this machine"),
        (["--profile", "fast"], "leave --profile out"),
        (["--on-missing-profile", "error"], "take nearest, builtin or skip"),
        (["--max-duration", "30m"], "leaves nothing of --max-duration 30 min 0 s for the photos"),
        (["--calibrate", "5s"], "--calibrate 5.0 s: 1 min 0 s is the least that a network learns anything in"),
        (["--calibrate", "30"], "'30' has no unit"),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_any_work(
    real_nsp: Nsp, archive: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    refused = real_nsp("denoise", archive, tmp_path / "out", "--calibrate", "30m", *options)
    assert refused.code == 2
    assert message in " ".join(refused.err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (["torch"], "PyTorch"),
        (["onnxscript"], "onnxscript"),
        (["safetensors"], "safetensors"),
        (["onnxscript", "safetensors", "torch"], "PyTorch"),
    ],
)
def test_without_what_training_needs_it_is_refused_before_any_work(
    real_nsp: Nsp, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str], named: str
) -> None:
    for package in missing:
        monkeypatch.setitem(sys.modules, package, None)
    refused = real_nsp("denoise", archive, tmp_path / "out", "--calibrate", "30m")
    assert refused.code == 3
    assert f"this command needs {named}, which cannot be used" in refused.err
    assert "pip install 'nsp-pipeline[cpu,train]'" in refused.err
    assert not (tmp_path / "out").exists()


def test_a_profile_folder_that_cannot_be_is_refused_before_the_training(
    real_nsp: Nsp, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    refused = real_nsp("denoise", archive, tmp_path / "out", "--calibrate", "30m")
    assert refused.code == 4
    assert "profiles and calibrations cannot be written" in refused.err
    assert "calibrating" not in refused.err


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_device_that_cannot_train_is_refused_before_any_work(
    real_nsp: Nsp,
    user_profiles: Path,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
) -> None:
    def useless(device: str, threads: int | None) -> str:
        raise UsageError(f"--device {device}: PyTorch cannot use it here: no driver")

    monkeypatch.setattr(night_device, "usable", useless)
    refused = real_nsp("denoise", archive, tmp_path / "out", "--calibrate", "30m", "--device", "cuda", *options)
    assert refused.code == 3
    assert "--device cuda: PyTorch cannot use it here: no driver" in " ".join(refused.err.split())
    assert not (tmp_path / "out").exists()
    assert list(user_profiles.iterdir()) == []


def test_a_dry_run_says_what_would_be_calibrated_for_how_long_and_what_not(
    real_nsp: Nsp, user_profiles: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before, "usual_seconds", lambda: 720.0)
    save_archive(archive / "two", 2, iso=800, camera=("Maker", "Two"))
    arguments: list[str | Path] = ["denoise", archive, tmp_path / "out", "--calibrate", "30m", "--dry-run"]
    told = real_nsp(*arguments)
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert lines[0] == "would calibrate Maker One, ISO 800-1100, 4 photos: about 12 minutes"
    assert "a whole training takes about 12 minutes here; no group gets more than its share" in lines
    assert "would not calibrate Maker Two, ISO 800-900, 2 photos: at least 3 are needed for a profile" in lines
    document = json.loads(real_nsp(*arguments, "--json").out)["calibration"]
    assert document["groups"] == [{"title": "Maker One, ISO 800-1100", "photos": 4, "seconds": 720, "begun": False}]
    assert document["left_out"][0]["reason"] == "at least 3 are needed for a profile"
    assert not (tmp_path / "out").exists()
    assert list(user_profiles.iterdir()) == []


def test_what_max_duration_leaves_is_the_photos(tmp_path: Path) -> None:
    run = plan_folder([save_archive(tmp_path / "in", 1)], tmp_path / "out", max_seconds=100.0)
    night = stage.Night(60.0, [tmp_path / "in"], tmp_path / "out", "cpu", None)
    after = before.Before(night, run, {}, time.monotonic() - 70)._with_what_is_left()
    assert after.settings.max_seconds == pytest.approx(30.0, abs=2.0)


def test_it_trains_where_it_denoises_and_of_several_gpus_on_the_first_that_is_named() -> None:
    places = {"auto": "auto", "cpu": "cpu", "all": "cuda", "cuda:1,2": "cuda:1", "cuda:1": "cuda:1"}
    for device, trains_on in places.items():
        assert device_asked({"device": device, "require_gpu": False}) == trains_on
    assert device_asked({"device": "auto", "require_gpu": True}) == "cuda"


def test_raw_is_learnt_from_as_it_will_be_denoised() -> None:
    asked = dict.fromkeys(before.DEVELOPING) | {"colour_space": "p3", "exposure": 0.5}
    assert before._development({**asked, "domain": "auto"}) == {**asked, "domain": "developed"}
    assert before._development({**asked, "domain": "raw"}) == {**asked, "colour_space": None, "domain": "raw"}


class DeadlyTraining:
    """Lets the process that is handed it be killed, as the system does where memory runs out."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)",)

    def __call__(self, plan: Plan, files: Sequence[Path], out: Path) -> Made:
        """Never come so far."""
        raise AssertionError


def test_a_training_that_the_system_kills_takes_no_night_along(user_profiles: Path, archive: Path) -> None:
    night = stage.Night(600.0, [archive], archive.parent / "out", "cpu", None)
    (candidate,) = stage.survey(sorted(archive.glob("*.jpg")), night).candidates
    with heard() as interrupts:
        end = calibrate_apart(GroupTask(candidate, PLAN, 60.0, "cpu", None), DeadlyTraining(), interrupts)
    assert str(end) == (
        "Maker One, ISO 800-1100, 4 photos: no profile, as its process was killed, most likely for want of memory; the "
        "next run tries again"
    )


OWNER = """
import multiprocessing, time
from nsp_pipeline.cli.night.apart import _end_with

def train():
    import os, threading
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    print(os.getpid(), flush=True)
    time.sleep(100)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=train).start()
    time.sleep(100)
"""


def test_no_training_outlives_the_run_that_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "owner.py").write_text(OWNER)
    owner = start_python(tmp_path / "owner.py")
    assert owner.stdout is not None
    training = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    for _ in range(100):
        if not process_is_alive(training):
            return
        time.sleep(0.1)
    os.kill(training, signal.SIGKILL)
    raise AssertionError("it is still there")


def ask_to_end_once(there: Callable[[], bool]) -> threading.Thread:
    """Send this process a SIGTERM as soon as something is there."""

    def ask() -> None:
        for _ in range(1200):
            if there():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_night_that_is_stopped_in_a_calibration_goes_on_with_it_and_denoises(
    user_profiles: Path, archive: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STEPS, "30")
    monkeypatch.setattr(before, "Night", partial(stage.Night, train=train_a_tiny_network))
    log = archive.parent / "log.jsonl"
    arguments = ("denoise", archive, archive.parent / "out", "--calibrate", "2m", "--json", "--log-json", log)
    sources = fake_sources(choose_profile=choose_profile)

    asking = ask_to_end_once(lambda: any(user_profiles.rglob("checkpoint.pt")))
    stopped = run_here(capfd, *arguments, given=sources)
    asking.join()
    assert stopped.code == 130, stopped.err
    assert "the calibration was cut off; the same command goes on with it" in stopped.err
    assert not list(user_profiles.glob("*.nsp")), "half a training is no profile"
    (ledger,) = user_profiles.rglob("spent-*.json")
    (spent,) = json.loads(ledger.read_text()).values()
    assert spent > 0

    made = run_here(capfd, *arguments, given=sources)
    assert made.code == 0, made.err
    (profile,) = user_profiles.glob("*.nsp")
    assert [entry.name for entry in user_entries()] == [profile.stem], "its training is beside it, and no entry itself"
    assert list((user_profiles / f"{profile.name}.training").glob("held-out-*.png"))
    steps = [int(line.split(",")[0]) for line in next(user_profiles.rglob("log.csv")).read_text().splitlines()[1:]]
    assert steps == sorted(set(steps)), "no step was made twice"
    assert steps[-1] == 30
    document = json.loads(made.out)
    assert document["calibration"]["groups"][0]["outcome"] == "kept"
    assert {photo["profile"] for photo in document["photos"]} == {profile.stem}
    assert not list(user_profiles.rglob("spent-*.json")), "the next night has its whole time"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["outcome"] for event in events if event["event"] == "calibration"] == ["cut off", "kept"]

    again = run_here(capfd, *arguments, given=sources)
    assert json.loads(again.out)["summary"]["skipped"] == 4
    assert "calibrating" not in again.err
