"""What an engine gives is looked at before it is written: finite, and of the photo's colours."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import hashes
from fake_engine import REFERENCE, FakeEngine
from numpy.typing import NDArray
from run_nsp import Finished

from nsp_pipeline.denoise.plausible import require_its_colours
from nsp_pipeline.errors import UntrustedResultError
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
Array = NDArray[np.float32]
Break = Callable[[Array], Array]
BREAKS = pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda right: np.full_like(right, np.nan), "values that are not numbers"),
        (np.zeros_like, "colours are off by"),
        (lambda right: right * np.array([1.0, 1.1, 1.0], np.float32)[:, None, None], "colours are off by"),
    ],
)


def break_engines(monkeypatch: pytest.MonkeyPatch, broken: Break, *, reference: bool) -> None:
    right = FakeEngine.run

    def run(self: FakeEngine, image: Array) -> Array:
        result = right(self, image)
        return result if self.info.provider == REFERENCE and not reference else broken(result)

    monkeypatch.setattr(FakeEngine, "run", run)


def recorded(out: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        return connection.execute("SELECT provider, fallback FROM photos").fetchall()


@BREAKS
def test_a_photo_whose_result_cannot_be_its_picture_is_made_again_on_the_reference(
    nsp: Nsp,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Array], Array],
    reason: str,
) -> None:
    right = nsp("denoise", photos, tmp_path / "right")
    break_engines(monkeypatch, broken, reference=False)
    mended = nsp("denoise", photos, tmp_path / "mended", "--log-json", tmp_path / "log")

    assert (right.code, mended.code) == (0, 0)
    assert mended.err.count(f"made again on {REFERENCE}") == 3
    assert reason in mended.err
    assert hashes(tmp_path / "mended") == hashes(tmp_path / "right")
    assert recorded(tmp_path / "right") == 3 * [("FakeCPUProvider", None)]
    for provider, fallback in recorded(tmp_path / "mended"):
        assert provider == REFERENCE
        assert fallback.startswith("fake (FakeCPUProvider, fp32): the result")


def test_an_engine_that_breaks_down_fails_no_photo_for_good(
    nsp: Nsp, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(result: Array) -> Array:
        raise RuntimeError("CUDA failure 700")

    nsp("denoise", photos, tmp_path / "right")
    with monkeypatch.context() as while_broken:
        break_engines(while_broken, broken, reference=False)
        mended = nsp("denoise", photos, tmp_path / "mended")
    assert mended.code == 0
    assert mended.err.count(f"RuntimeError: CUDA failure 700; made again on {REFERENCE}") == 3
    assert hashes(tmp_path / "mended") == hashes(tmp_path / "right")

    with monkeypatch.context() as while_broken:
        break_engines(while_broken, broken, reference=True)
        ended = nsp("denoise", photos, tmp_path / "out")
    assert (ended.code, hashes(tmp_path / "out")) == (1, {})
    assert "CUDA failure 700" in (tmp_path / "out" / ".nsp" / "errors.log").read_text()
    again = nsp("denoise", photos, tmp_path / "out")
    assert (again.code, hashes(tmp_path / "out")) == (0, hashes(tmp_path / "right"))


def test_why_another_engine_was_taken_is_said_at_the_start_and_recorded(nsp: Nsp, photos: Path, tmp_path: Path) -> None:
    def open_engine(profile: Profile, *, mode: str, **options: Any) -> FakeEngine:
        engine = FakeEngine(profile, mode)
        engine.info = replace(engine.info, fallback="TensorRT in fp16 is not trusted: black")
        return engine

    ended = nsp("denoise", photos, tmp_path / "out", "--json", open_engine=open_engine)
    assert "on CPU, fake fp32; TensorRT in fp16 is not trusted: black" in ended.err.splitlines()[0]
    assert recorded(tmp_path / "out") == 3 * [("FakeCPUProvider", "TensorRT in fp16 is not trusted: black")]
    for photo in json.loads(ended.out)["photos"]:
        assert (photo["precision"], photo["fallback"]) == ("fp32", "TensorRT in fp16 is not trusted: black")


@BREAKS
def test_where_no_engine_does_better_the_photo_fails_and_says_why(
    nsp: Nsp,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[Array], Array],
    reason: str,
) -> None:
    break_engines(monkeypatch, broken, reference=True)
    ended = nsp("denoise", photos, tmp_path / "out")
    assert ended.code == 1
    assert hashes(tmp_path / "out") == {}
    assert ended.err.count(reason) >= 3
    assert "Traceback" not in ended.err


def test_who_asked_for_the_gpu_gets_no_result_of_the_cpu(
    nsp: Nsp, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_engines(monkeypatch, np.zeros_like, reference=False)
    ended = nsp("denoise", photos, tmp_path / "out", "--device", "cuda")
    assert ended.code == 1
    assert "try another --engine, --precision or --profile" in ended.err


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colours_may_move_a_little_and_no_more(dtype: str) -> None:
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    photo = np.full((40, 50, 3), 0.5 * top).astype(dtype)
    dark = (np.array([3, 4, 5]) / 255 * top * np.ones((40, 50, 3))).astype(dtype)
    require_its_colours(photo, (photo * 1.02).astype(dtype))
    require_its_colours(photo.repeat(2, 0).repeat(2, 1), photo)
    require_its_colours(dark, dark)
    for before, after in ((photo, (photo * 1.08).astype(dtype)), (photo, photo * 0), (dark, dark * 0)):
        with pytest.raises(UntrustedResultError, match=r"off by \d+\.\d of 255"):
            require_its_colours(before, after)


def test_of_a_few_pixels_nothing_can_be_said() -> None:
    require_its_colours(np.full((5, 500, 3), 99, np.uint8), np.zeros((5, 500, 3), np.uint8))


def test_a_dark_photo_may_get_as_dark_as_its_noise_cut_off_at_black_explains() -> None:
    clean = np.full((64, 64, 3), 4, np.uint8)
    noise = np.random.default_rng(0).normal(0, 30, clean.shape)
    noisy = np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)
    assert noisy.mean() > clean.mean() + 6
    require_its_colours(noisy, clean, sigma=float(noisy.std()))
    with pytest.raises(UntrustedResultError, match="colours are off"):
        require_its_colours(noisy, clean)
    grey = np.full((64, 64, 3), 60, np.uint8)
    for result in (np.zeros_like(grey), np.full_like(grey, 90)):
        with pytest.raises(UntrustedResultError, match="colours are off"):
            require_its_colours(grey, result, sigma=30.0)
