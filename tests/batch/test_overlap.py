"""Inside one large photo: rows that are done are encoded and written while the engine makes the next ones."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from batch_runs import hashes, strays
from fake_engine import REFERENCE, FakeEngine
from numpy.typing import NDArray
from run_nsp import Finished

from nsp_pipeline.batch.output import early
from nsp_pipeline.batch.output.publish import PARTIAL
from nsp_pipeline.errors import EngineOutOfMemoryError
from nsp_pipeline.frames.formats import tiff_encode

Nsp = Callable[..., Finished]
Run = Callable[[Any, NDArray[np.float32]], NDArray[np.float32]]
SIDES = 600, 200
HOW = "--tile", "64", "--strength", "1"


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a TIFF of many strips that counts as large."""
    monkeypatch.setattr(early, "LEAST_BYTES", 1)
    monkeypatch.setattr(tiff_encode, "STRIP_BYTES", 10 * SIDES[1] * 6)
    pixels = np.random.default_rng(0).normal(30_000, 3000, (*SIDES, 3)).clip(0, 65535).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", pixels, photometric="rgb", compression="deflate")
    return tmp_path / "in"


@pytest.fixture
def expected(nsp: Nsp, photo: Path, tmp_path: Path) -> dict[str, str]:
    """What it becomes when it is written at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(early, "LEAST_BYTES", 1 << 40)
        assert nsp("denoise", photo, tmp_path / "later", *HOW).code == 0
    return hashes(tmp_path / "later")


def partials(out: Path) -> list[Path]:
    return [path for path in out.iterdir() if PARTIAL.fullmatch(path.name)]


def through(monkeypatch: pytest.MonkeyPatch, run: Callable[[FakeEngine, Any, Run], Any]) -> None:
    """Let engines run as `run` does, which gets the right way as well."""
    right = FakeEngine.run
    monkeypatch.setattr(FakeEngine, "run", lambda self, image: run(self, image, right))


def test_most_of_it_is_written_when_the_last_tile_is_made(
    nsp: Nsp, photo: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, encoded, when = tmp_path / "out", [0], list[int]()
    strip = tiff_encode._strip

    def counted(*args: Any) -> Any:
        encoded[0] += 1
        return strip(*args)

    def run(engine: FakeEngine, image: Any, right: Run) -> Any:
        time.sleep(0.05)  # what is done is encoded soon, but not at once
        when.append(encoded[0])
        return right(engine, image)

    monkeypatch.setattr(tiff_encode, "_strip", counted)
    through(monkeypatch, run)
    assert nsp("denoise", photo, out, *HOW).code == 0
    assert when[0] == 0
    assert when[-1] >= 45, "of 60 strips"
    assert hashes(out) == expected


def test_a_result_that_is_not_trusted_is_written_anew(
    nsp: Nsp, photo: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(engine: FakeEngine, image: Any, right: Run) -> Any:
        result = right(engine, image)
        return result if engine.info.provider == REFERENCE else np.zeros_like(result)

    through(monkeypatch, run)
    ended = nsp("denoise", photo, tmp_path / "out", *HOW)
    assert (ended.code, f"made again on {REFERENCE}" in ended.err) == (0, True)
    assert hashes(tmp_path / "out") == expected
    assert not strays(tmp_path / "out")


def test_smaller_tiles_begin_it_anew(
    nsp: Nsp, photo: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def run(engine: FakeEngine, image: Any, right: Run) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise EngineOutOfMemoryError("out of memory on cuda:0")
        return right(engine, image)

    through(monkeypatch, run)
    assert nsp("denoise", photo, tmp_path / "out", "--strength", "1").code == 0
    assert hashes(tmp_path / "out") == expected


def test_an_engine_that_fails_halfway_leaves_nothing(
    nsp: Nsp, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = False

    def run(engine: FakeEngine, image: Any, right: Run) -> Any:
        nonlocal begun
        time.sleep(0.05)
        if partials(tmp_path / "out"):
            begun = True
            raise MemoryError
        return right(engine, image)

    through(monkeypatch, run)
    ended = nsp("denoise", photo, tmp_path / "out", *HOW)
    assert (ended.code, begun) == (1, True)
    assert not partials(tmp_path / "out")


def test_a_disk_that_fills_up_stops_the_run_and_leaves_nothing(
    nsp: Nsp, photo: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strip, count = tiff_encode._strip, 0

    def full(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return strip(*args)

    with monkeypatch.context() as patch:
        patch.setattr(tiff_encode, "_strip", full)
        ended = nsp("denoise", photo, tmp_path / "out", *HOW)
    assert (ended.code, "free some space" in ended.err) == (4, True), ended.err
    assert not partials(tmp_path / "out")
    assert nsp("denoise", photo, tmp_path / "out", *HOW).code == 0
    assert hashes(tmp_path / "out") == expected
