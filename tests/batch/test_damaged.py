"""Photos that are damaged, and decoders that fail: what a run does with them, and the next one."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import hashes, save_photo
from PIL import Image
from run_nsp import Finished

import nsp_pipeline.batch.photo
from nsp_pipeline.frames.decoders import isolated

Nsp = Callable[..., Finished]
RAW = b"FUJIFILMCCD-RAW " + bytes(2000)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder with a sound JPEG and one of whose picture data a kilobyte was overwritten."""
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.jpg", quality=90)
    data = bytearray((tmp_path / "in" / "a.jpg").read_bytes())
    data[40_000:41_000] = np.random.default_rng(1).integers(0, 256, 1000, dtype=np.uint8).tobytes()
    (tmp_path / "in" / "b.jpg").write_bytes(data)
    return tmp_path / "in"


def record(out: Path, table: str = "photos") -> dict[str, str | None]:
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        return dict(connection.execute(f"SELECT output, damaged FROM {table}"))


def test_a_damaged_photo_fails_by_default_with_what_is_wrong(nsp: Nsp, damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = nsp("denoise", damaged, out)
    assert result.code == 1
    assert "b.jpg failed: the JPEG is damaged: " in result.err
    assert "--damaged keep takes what can be read" in result.err
    assert sorted(path.name for path in out.glob("*.jpg")) == ["a.jpg"]
    assert "libjpeg: " in (out / ".nsp" / "errors.log").read_text()
    assert "failed before" in nsp("denoise", damaged, out).err


def test_what_can_be_read_is_kept_when_asked_for_and_marked(nsp: Nsp, damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    nsp("denoise", damaged, out)
    result = nsp("denoise", damaged, out, "--damaged", "keep", "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert (document["summary"]["damaged"], document["summary"]["skipped"]) == (1, 1)
    (kept,) = (photo for photo in document["photos"] if photo["outcome"] == "done")
    assert kept["damaged"].startswith("the JPEG is damaged: ")
    assert "1 of them damaged" in result.err
    assert f"noise {kept['noise_before']:.1f}" in result.err
    assert kept["damaged"] in result.err
    assert record(out) == {"a.jpg": None, "b.jpg": kept["damaged"]}
    assert "2 skipped" in nsp("denoise", damaged, out, "--damaged", "keep").err


def test_what_is_done_with_damage_decides_no_sound_photo(nsp: Nsp, damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    nsp("denoise", damaged, out, "--damaged", "keep")
    document = json.loads(nsp("denoise", damaged, out, "--json").out)
    outcomes = {Path(photo["name"]).name: photo["outcome"] for photo in document["photos"]}
    assert outcomes == {"a.jpg": "skipped", "b.jpg": "failed"}
    assert (out / "b.jpg").exists(), "what was made of it before stays"


def fail_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "rawpy.py").write_text("import os\nos.kill(os.getpid(), 9)")
    search = os.pathsep.join(map(str, (tmp_path / "shadow", isolated.PACKAGE_ROOT)))
    monkeypatch.setattr(isolated, "PACKAGE_ROOT", search)


@pytest.mark.parametrize("profile", [(), ("--profile", "fake")])
def test_a_killed_decoder_is_tried_again_by_the_next_run(
    nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: tuple[str, ...]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.raf").write_bytes(RAW)
    with monkeypatch.context() as patch:
        fail_once(patch, tmp_path)
        for _ in range(2):
            result = nsp("denoise", tmp_path / "in", tmp_path / "out", *profile)
            assert result.code == 1
            assert "was ended by SIGKILL" in result.err
            assert "failed before" not in result.err
    healthy = nsp("denoise", tmp_path / "in", tmp_path / "out", *profile)
    assert "the RAW file is damaged" in healthy.err or "ends early" in healthy.err
    again = nsp("denoise", tmp_path / "in", tmp_path / "out", *profile)
    assert "failed before; --retry-failed tries again" in again.err


def test_photos_larger_than_asked_for_are_refused_by_their_header_and_tried_again(
    nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in (".jpg", ".png", ".tif"):
        save_photo(tmp_path / "in" / f"large{suffix}", size=(400, 300))
    save_photo(tmp_path / "in" / "small.png")
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        read = nsp_pipeline.batch.photo.read_frame

        def only_small(path: Path, **options: Any) -> Any:
            assert path.stem == "small", "the picture of a large one is never decoded"
            return read(path, **options)

        patch.setattr(nsp_pipeline.batch.photo, "read_frame", only_small)
        ended = nsp("denoise", tmp_path / "in", out, "--max-megapixels", "0.1")
    assert (ended.code, list(hashes(out))) == (1, ["small.png"])
    assert ended.err.count("400×300 is 0.12 megapixels; --max-megapixels 0.1 refuses it") == 4, (
        "each, and the reason at the end"
    )
    assert nsp("denoise", tmp_path / "in", out).code == 0, "another run may take them"
