"""A disk that is full in a calibration, and a time too short for one judgement: what was learnt, and is true, stays."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from noisy_photos import save_archive
from run_nsp import Finished, finish, start_training
from small_student import write_pair

from nsp_pipeline.calibration.training.checkpoint import load_checkpoint
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE, Profile, load_profile

RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 40
batch = 2
steps = 6
judge-every = 2
pd-factor = 1

[student]
crop = 32
batch = 2
steps = 6
judge-every = 2
learning-rate = 5e-3
with-teacher = false
"""

SMALL = """
from nsp_pipeline.calibration.simulation import real_noise
from nsp_pipeline.calibration.student import own_noise
from nsp_pipeline.core import noise_kind
own_noise.WINDOWS, own_noise.JUDGED_WINDOWS, own_noise.JUDGED, own_noise.JUDGED_SIDE = 4, 2, 12, 96
real_noise.FLAT = (100.0,)
noise_kind.STRONGEST_SMOOTHED = 1.0
"""
"""A program that makes what a student learns from small (see test_calibrate_student.py)."""

FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, resource.RLIM_INFINITY))
"""
"""The system itself refuses files above 1 KiB from then on, as a full disk would."""

IN_THE_MIDDLE = """
from nsp_pipeline.calibration.training.loop import _Training
advance = _Training.advance

def then_full(training):
    advance(training)
    if training.step == 3:
        fill()

_Training.advance = then_full
"""

IN_THE_END = """
make = stages.make_onnx

def when_full(*of):
    fill()
    return make(*of)

stages.make_onnx = when_full
"""


@pytest.fixture
def pair(tmp_path: Path) -> Profile:
    """A student that spoils pictures, and a second network inside it."""
    return write_pair(tmp_path)


@pytest.fixture
def calibrate(tmp_path: Path, pair: Profile) -> Callable[..., Finished]:
    """Calibrate to mine.nsp, from that student or as options say, in a process that runs a program first."""
    archive = save_archive(tmp_path / "in", 3, iso=800, size=(240, 200))
    (tmp_path / "quick.toml").write_text(RECIPE)

    def run(first: str, *options: str | Path) -> Finished:
        start = () if "--stop-at" in options else ("--student", pair.path)
        arguments = ("calibrate", archive, "--out", tmp_path / "mine.nsp", "--recipe", tmp_path / "quick.toml")
        return finish(start_training(*arguments, *start, *options, first=SMALL + first))

    return run


def no_room(ended: Finished, profile: Path) -> None:
    """Claim that a run ended as one that could not write its profile, and left none, nor a part of one."""
    assert ended.code == 4, ended.err
    *_, kept, why = ended.err.splitlines()
    assert why == f"nsp: {profile}: the profile cannot be written: File too large"
    assert kept == f"what was learnt is kept in {profile}.training; the same command with --resume goes on with it"
    assert "Traceback" not in ended.err
    assert not profile.exists()
    assert not list(profile.parent.rglob("*.nsp-part"))


def test_a_disk_that_is_full_in_the_middle_keeps_the_last_checkpoint_to_go_on_from(
    calibrate: Callable[..., Finished], tmp_path: Path
) -> None:
    ended = calibrate(FULL + IN_THE_MIDDLE)
    no_room(ended, tmp_path / "mine.nsp")
    checkpoint = tmp_path / "mine.nsp.training" / "checkpoint.pt"
    assert f"{checkpoint}: the checkpoint cannot be written: File too large; training goes on" in ended.err
    assert "held-out-000004.png: the log cannot be written: File too large; training goes on" in ended.err
    assert load_checkpoint(checkpoint)["step"] == 2
    resumed = calibrate("", "--resume")
    assert resumed.code == 0, resumed.err
    assert load_profile(tmp_path / "mine.nsp").spec.training.steps in (2, 4, 6)
    assert not checkpoint.exists()


def test_a_disk_that_is_full_in_the_end_wants_no_step_again(calibrate: Callable[..., Finished], tmp_path: Path) -> None:
    no_room(calibrate(FULL + IN_THE_END, "--stop-at", "teacher", "--base", "none"), tmp_path / "mine.nsp")
    assert load_checkpoint(tmp_path / "mine.nsp.training" / "checkpoint.pt")["step"] == 6
    resumed = calibrate("", "--stop-at", "teacher", "--base", "none", "--resume")
    assert resumed.code == 0, resumed.err
    assert not re.search(r"step \d/6", resumed.err)
    assert load_profile(tmp_path / "mine.nsp").spec.training.settings["steps"] == 6


def test_without_time_for_a_judgement_the_weights_stay_and_the_reason_is_said(
    calibrate: Callable[..., Finished], pair: Profile, tmp_path: Path
) -> None:
    slow = """
import time
from nsp_pipeline.calibration.student.own_judge import OwnJudge
judge = OwnJudge.judge

def slowly(self, network):
    time.sleep(8)
    return judge(self, network)

OwnJudge.judge = slowly
"""
    ended = calibrate(slow, "--max-time", "8s")
    assert ended.code == 0, ended.err
    assert "step 1/" not in ended.err
    assert "not accepted, the weights of pair stay: there was no time to train and to judge what comes" in ended.err
    profile = load_profile(tmp_path / "mine.nsp")
    assert profile.read(WEIGHTS_FILE) == pair.read(WEIGHTS_FILE)
    scores = profile.spec.scores
    assert (scores.accepted, scores.base, scores.claim, scores.measures) == (False, "pair", None, None)
    assert profile.spec.training.steps == 0
    assert {path.name for path in tmp_path.glob("mine.nsp*")} == {"mine.nsp", "mine.nsp.training"}
