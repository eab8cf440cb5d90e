"""Measurements in processes of their own: real ones, that end in every way a process can."""

from pathlib import Path

import numpy as np
import pytest

from nsp_pipeline.machine.apart import RefusedTrialError
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.speed.apart import ask


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))
    return str(path)


def ask_engine(profile: Profile, photo: str, engine: str = "onnx") -> dict[str, object]:
    shared = {"device": "cpu", "precision": "fp32", "seconds": 0.0, "photo": photo}
    return ask("engine", threads=1, profile=str(profile.path), engine=engine, **shared)


def test_memory_is_that_of_the_measurement_alone(tiny_profile: Profile, photo: str) -> None:
    ours = np.ones(64 << 20, np.float64)
    answer = ask_engine(tiny_profile, photo)
    peak = answer["peak_bytes"]
    assert isinstance(peak, int)
    assert 20 << 20 < peak < ours.nbytes
    assert answer["provider"] == "CPUExecutionProvider"
    assert answer["passes"] == 1


def test_a_refusal_keeps_its_words(tiny_profile: Profile, photo: str) -> None:
    with pytest.raises(RefusedTrialError, match="engine 'abacus' is not built into this version"):
        ask_engine(tiny_profile, photo, engine="abacus")


def test_a_bug_ends_in_its_last_line(tiny_profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(RefusedTrialError, match=r"its process failed: FileNotFoundError: .*nothere\.npy"):
        ask_engine(tiny_profile, str(tmp_path / "nothere.npy"))


@pytest.mark.parametrize(("signal", "words"), [("SIGKILL", "want of memory"), ("SIGSEGV", r"crashed \(SIGSEGV\)")])
def test_a_process_that_is_killed_says_so(
    signal: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{signal})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RefusedTrialError, match=words):
        ask("rate", threads=1, precision="fp32", gpu=False)


def test_a_rate_is_measured_where_something_multiplies_in_that_precision() -> None:
    assert ask("rate", threads=1, precision="fp32", gpu=False)["flops"] > 1e8
    with pytest.raises(RefusedTrialError):
        ask("rate", threads=1, precision="fp32", gpu=True)
