"""The whole way with the profile that ships, on ONNX Runtime, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from batch_runs import hashes, save_photo
from PIL import Image
from run_nsp import REPOSITORY

from nsp_pipeline.profiles.choose import shipped_profiles


def denoise(*args: str | Path) -> "subprocess.CompletedProcess[str]":
    code = (
        "import sys; from nsp_pipeline.cli.main import main; code = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, "denoise", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def builtin() -> Path:
    pytest.importorskip("onnxruntime")
    return shipped_profiles()["standard"]


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A photo of a bright square, clean (kept apart) and noisy."""
    clean = np.full((96, 128, 3), 90.0)
    clean[30:70, 40:90] = 170
    noise = np.random.default_rng(5).normal(0, 12, clean.shape)
    (tmp_path / "in").mkdir()
    Image.fromarray(clean.astype(np.uint8)).save(tmp_path / "clean.png")
    Image.fromarray((clean + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / "noisy.png")
    return tmp_path / "in" / "noisy.png"


def distance(one: Path, other: Path) -> float:
    difference = np.asarray(Image.open(one), float) - np.asarray(Image.open(other), float)
    return float(np.sqrt((difference**2).mean()))


def test_a_noisy_photo_comes_out_nearer_to_the_clean_one(builtin: Path, noisy: Path, tmp_path: Path) -> None:
    result = denoise(noisy.parent, tmp_path / "out", "--engine", "onnx")
    assert result.returncode == 0, result.stderr
    assert "on CPU, ONNX Runtime fp32" in result.stderr
    clean = tmp_path / "clean.png"
    assert distance(tmp_path / "out" / "noisy.png", clean) < 0.7 * distance(noisy, clean)
    denoise(noisy.parent, tmp_path / "again", "--engine", "onnx", "--tile", "64")
    assert distance(tmp_path / "out" / "noisy.png", tmp_path / "again" / "noisy.png") < 0.05


def test_strength_zero_gives_back_the_very_pixels(builtin: Path, noisy: Path, tmp_path: Path) -> None:
    assert denoise(noisy.parent, tmp_path / "out", "--strength", "0").returncode == 0
    assert distance(tmp_path / "out" / "noisy.png", noisy) == 0


@pytest.mark.parametrize("damage", ["cut short", "changed", "empty", "not there"])
def test_a_damaged_profile_is_refused_before_any_work(builtin: Path, noisy: Path, tmp_path: Path, damage: str) -> None:
    content = bytearray(builtin.read_bytes())
    profile = tmp_path / "mine.nsp"
    if damage == "changed":
        content[len(content) // 2] ^= 0xFF
    if damage != "not there":
        profile.write_bytes(content[: {"cut short": len(content) // 2, "empty": 0}.get(damage, len(content))])
    result = denoise(noisy.parent, tmp_path / "out", "--profile", profile)
    assert result.returncode == 2
    assert str(profile) in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (3000, 2)])
def test_the_smallest_photos_go_through(builtin: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    photo = save_photo(tmp_path / "in" / "small.png", size=size)
    result = denoise(photo, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert Image.open(tmp_path / "out" / "small.png").size == size


def test_results_are_the_same_bytes_each_time(builtin: Path, noisy: Path, tmp_path: Path) -> None:
    denoise(noisy.parent, tmp_path / "one")
    denoise(noisy.parent, tmp_path / "two")
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
