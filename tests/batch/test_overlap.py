"""Inside one large photo: rows that are done are encoded and written while the engine makes the next ones."""

import errno
import os
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

from nsp_pipeline.batch import photo as photo_steps
from nsp_pipeline.batch.output import early
from nsp_pipeline.batch.output.publish import PARTIAL
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.errors import EngineOutOfMemoryError
from nsp_pipeline.frames.decoders import tiff_segments
from nsp_pipeline.frames.formats import tiff_encode, tiff_rows

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
        ended = nsp("denoise", photo, tmp_path / "later", *HOW)
        assert ended.code == 0, ended.err
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


@pytest.fixture
def coming(photo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, whose TIFF counts as large when it is read, too."""
    monkeypatch.setattr(tiff_rows, "LEAST_BYTES", 1)
    monkeypatch.setattr(tiff_rows, "LEAST_SIDE", 1)
    with tifffile.TiffFile(photo / "a.tif") as tiff:
        pixels = tiff.asarray()
    tifffile.imwrite(photo / "a.tif", pixels, photometric="rgb", compression="deflate", rowsperstrip=8)
    return photo


def slow_strips(monkeypatch: pytest.MonkeyPatch, strip: Callable[[int], None]) -> list[int]:
    """Let something happen before each strip is decoded; the strips, in their order."""
    decode, numbers = tiff_segments._decode_one, list[int]()

    def one(page: Any, number: int, samples: Any) -> None:
        strip(number)
        decode(page, number, samples)
        numbers.append(number)

    monkeypatch.setattr(tiff_segments, "_decode_one", one)
    return numbers


def test_tiles_are_made_of_rows_that_are_there_while_others_are_read(
    nsp: Nsp, coming: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, when = slow_strips(monkeypatch, lambda number: time.sleep(0.01)), list[int]()

    def run(engine: FakeEngine, image: Any, right: Run) -> Any:
        when.append(len(decoded))
        return right(engine, image)

    through(monkeypatch, run)
    monkeypatch.setattr(photo_steps, "rows_looked_at", lambda height, width: [range(400, 430)])
    monkeypatch.setattr(photo_steps, "estimate_noise", lambda pixels, **options: NoiseLevel.unknown(3))
    assert nsp("denoise", coming, tmp_path / "out", *HOW).code == 0
    assert decoded[:4] == [50, 51, 52, 53], "what is needed first comes first"
    assert sorted(decoded) == list(range(75))
    assert when[0] < 40, "of 75 strips"
    assert hashes(tmp_path / "out") == expected


def test_a_strip_that_turns_out_damaged_while_others_are_made_fails_the_photo(
    nsp: Nsp, coming: Path, tmp_path: Path
) -> None:
    with tifffile.TiffFile(coming / "a.tif") as tiff:
        at = tiff.pages[0].dataoffsets[70]
    data = bytearray((coming / "a.tif").read_bytes())
    data[at : at + 40] = bytes(40)
    (coming / "a.tif").write_bytes(data)
    ended = nsp("denoise", coming, tmp_path / "out", *HOW)
    assert ended.code == 1
    assert "the TIFF is damaged: part 71 of the 75 that its picture is stored in cannot be decoded" in ended.err
    assert not partials(tmp_path / "out")
    assert "failed before" in nsp("denoise", coming, tmp_path / "out", *HOW).err
    assert nsp("denoise", coming, tmp_path / "out", *HOW, "--damaged", "keep").code == 0


def test_a_photo_that_changes_while_it_comes_is_not_made(
    nsp: Nsp, coming: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touch(number: int) -> None:
        if number == 74:
            os.utime(coming / "a.tif", (1e9, 1e9))

    with monkeypatch.context() as patch:
        patch.setattr(photo_steps, "rows_looked_at", lambda height, width: [range(0, 8)])
        slow_strips(patch, touch)
        ended = nsp("denoise", coming, tmp_path / "out", *HOW)
    assert (ended.code, "changed while it was read" in ended.err) == (1, True), ended.err
    assert not partials(tmp_path / "out")
    assert nsp("denoise", coming, tmp_path / "out", *HOW).code == 0
    assert hashes(tmp_path / "out") == expected
