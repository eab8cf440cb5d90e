"""Photos that take more memory than there is are named, and the system need not end the run over them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from batch_runs import hashes, save_photo
from make_dng import make_dng
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.batch import headroom, pipeline
from nsp_pipeline.frames import develop

Nsp = Callable[..., Finished]
REASON = "of memory, and 30 kB are free here; close other programs, or grant nsp more"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(pipeline, "photo_memory", lambda asked: 15_000)
    monkeypatch.setattr(headroom, "available_memory", lambda: 30_000)
    return monkeypatch


def test_a_photo_that_cannot_be_decoded_in_what_is_free_fails_and_is_tried_again(
    nsp: Nsp, tmp_path: Path, little_memory: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "in"
    for name in ("large.jpg", "large.png"):
        save_photo(photos / name, 1, (200, 150))
    make_dng(photos / "large.dng", side=64)
    save_photo(photos / "small.jpg", 2)
    tifffile.imwrite(photos / "strips.tif", np.asarray(Image.open(photos / "large.png")), photometric="rgb")
    ended = nsp("denoise", photos, tmp_path / "out")
    assert ended.code == 1
    assert sorted(hashes(tmp_path / "out")) == ["small.jpg", "strips.tif"], "strip by strip, it needs no memory"
    for name, size in (("large.jpg", "90 kB"), ("large.png", "120 kB"), ("large.dng", "123 kB")):
        assert f"{photos / name} failed: decoding it takes {size} {REASON}" in ended.err
    little_memory.undo()
    again = nsp("denoise", photos, tmp_path / "out")
    assert (again.code, len(hashes(tmp_path / "out"))) == (0, 5), again.err


def test_what_other_decoders_give_goes_to_the_disk_and_comes_out_the_same(
    nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "in"
    for name in ("a.jpg", "b.png"):
        save_photo(photos / name, 1, (200, 150))
    make_dng(photos / "c.dng", side=64)
    assert nsp("denoise", photos, tmp_path / "roomy").code == 0
    on_disk, shapes = headroom.on_disk, set[tuple[int, ...]]()

    def noted(folder: Path) -> Any:
        make = on_disk(folder)

        def making(shape: tuple[int, ...], dtype: Any) -> Any:
            shapes.add(shape)
            return make(shape, dtype)

        return making

    monkeypatch.setattr(headroom, "on_disk", noted)
    monkeypatch.setattr(pipeline, "photo_memory", lambda asked: 10_000)
    ended = nsp("denoise", photos, tmp_path / "tight")
    assert ended.code == 0, ended.err
    assert shapes == {(150, 200, 3), (64, 64, 3)}
    assert hashes(tmp_path / "roomy") == hashes(tmp_path / "tight")


def test_a_raw_file_is_not_developed_in_less_than_libraw_takes(
    nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    make_dng(tmp_path / "in" / "a.dng", side=64)
    with monkeypatch.context() as patch:
        patch.setattr(develop, "available_memory", lambda: 50_000)
        ended = nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert ended.code == 1
    assert "a.dng failed: developing it takes 123 kB of memory, and 50 kB are free here" in ended.err
    assert nsp("denoise", tmp_path / "in", tmp_path / "out").code == 0, "it is tried again"
