"""What outputs cannot keep is said in the run, the manifest and --json; `nsp verify` compares a finished folder."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from batch_runs import save_photo
from PIL import Image
from run_nsp import Finished

import nsp_pipeline.frames.write
from nsp_pipeline.frames.frame import Frame, Metadata

Nsp = Callable[..., Finished]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A plain PNG, a TIFF with a thumbnail, and a JPEG with a comment and a camera."""
    folder = tmp_path / "in"
    save_photo(folder / "plain.png", 1)
    save_photo(folder / "camera.jpg", 2, model="Test")
    pixels = np.asarray(Image.open(folder / "plain.png"))
    with tifffile.TiffWriter(folder / "scan.tif") as tiff:
        tiff.write(pixels[:8, :8], photometric="rgb", subfiletype=1, metadata=None)
        tiff.write(pixels, photometric="rgb", metadata=None)
    return folder


def test_what_is_lost_stands_in_the_run_its_json_and_the_manifest(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    ended = nsp("denoise", archive, tmp_path / "out", "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    lost = {Path(photo["name"]).name: photo["lost"] for photo in document["photos"]}
    assert lost == {"plain.png": [], "camera.jpg": [], "scan.tif": ["a thumbnail"]}
    assert document["summary"]["lost"] == {"a thumbnail": 1}
    assert "not kept in 1 photo: a thumbnail" in ended.err
    with sqlite3.connect(tmp_path / "out" / ".nsp" / "manifest.sqlite") as manifest:
        rows = dict(manifest.execute("SELECT output, lost FROM photos").fetchall())
    assert rows == {"plain.png": "", "camera.jpg": "", "scan.tif": "a thumbnail"}


def test_verify_finds_a_finished_folder_in_order(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    nsp("denoise", archive, tmp_path / "out")
    ended = nsp("verify", tmp_path / "out")
    assert ended.code == 0
    assert "scan.tif: not kept: a thumbnail" in ended.out
    assert "3 photos checked: 0 with trouble, 1 whose kind of file could not keep everything" in ended.out
    document = json.loads(nsp("verify", tmp_path / "out", "--json").out)
    assert document["summary"] == {
        "output": str(tmp_path / "out"), "checked": 3, "trouble": 0, "damaged": 0, "unchecked": 0,
        "with_losses": 1,
    }  # fmt: skip


def test_a_folder_with_nothing_wrong_is_told_in_one_sentence(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    nsp("denoise", archive, tmp_path / "out", "--exclude", "scan.tif")
    assert nsp("verify", tmp_path / "out").out == "2 photos checked: nothing is damaged, changed or missing\n"


def test_verify_names_what_is_gone_changed_or_without_its_original(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    nsp("denoise", archive, tmp_path / "out")
    (tmp_path / "out" / "plain.png").unlink()
    edited = bytearray((tmp_path / "out" / "camera.jpg").read_bytes())
    edited[-3] ^= 1
    (tmp_path / "out" / "camera.jpg").write_bytes(edited)
    (archive / "scan.tif").unlink()
    ended = nsp("verify", tmp_path / "out", "--json")
    assert ended.code == 1
    found = {Path(photo["output"]).name: photo for photo in json.loads(ended.out)["photos"]}
    assert "gone" in found["plain.png"]["trouble"]
    assert "changed" in found["camera.jpg"]["trouble"]
    assert "not there" in found["scan.tif"]["unchecked"]
    assert "trouble" not in found["scan.tif"]


def test_a_changed_output_is_still_named_after_the_run_that_left_it_alone(
    nsp: Nsp, archive: Path, tmp_path: Path
) -> None:
    nsp("denoise", archive, tmp_path / "out")
    with (tmp_path / "out" / "camera.jpg").open("ab") as file:
        file.write(b"edited")
    assert nsp("denoise", archive, tmp_path / "out").code == 1
    ended = nsp("verify", tmp_path / "out")
    assert ended.code == 1
    assert "camera.jpg: it was changed since nsp made it" in ended.out
    assert "3 photos checked: 1 with trouble" in ended.out


def test_photos_made_of_damaged_ones_are_named_by_verify_and_status(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    whole = (archive / "camera.jpg").read_bytes()
    (archive / "camera.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    assert nsp("denoise", archive, tmp_path / "out", "--exclude", "scan.tif", "--damaged", "keep").code == 0
    verified, status = nsp("verify", tmp_path / "out"), nsp("status", tmp_path / "out")
    assert verified.code == 0
    assert "camera.jpg: made of a damaged photo, what could be read of it: the file ends early" in verified.out
    assert "2 photos checked: 0 with trouble, 1 made of damaged photos, 0 whose kind" in verified.out
    assert "1 of the done ones made of damaged photos (--damaged keep)\n" in status.out
    assert f"    {archive / 'camera.jpg'}: the file ends early" in status.out
    (found,) = json.loads(nsp("status", tmp_path / "out", "--json").out)["damaged"]
    assert (found["output"], found["damage"][:19]) == ("camera.jpg", "the file ends early")


def test_metadata_that_a_fault_of_ours_drops_are_noticed(
    nsp: Nsp, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = nsp_pipeline.frames.write
    write = module.encode_jpeg

    def forgetful(frame: Frame, quality: int | None) -> bytes:
        bare = Frame(frame.pixels, None, frame.kind, Metadata(), frame.camera)
        return bytes(write(bare, quality))

    monkeypatch.setattr(module, "encode_jpeg", forgetful)
    ended = nsp("denoise", archive / "camera.jpg", tmp_path / "out", "--json")
    assert "tag Model" in json.loads(ended.out)["photos"][0]["lost"]
    with sqlite3.connect(tmp_path / "out" / ".nsp" / "manifest.sqlite") as manifest:
        manifest.execute("UPDATE photos SET lost = ''")
    ended = nsp("verify", tmp_path / "out")
    assert ended.code == 1
    assert "lack more than its record says: tag Model" in ended.out


def test_a_record_of_an_older_nsp_is_compared_all_the_same(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    nsp("denoise", archive, tmp_path / "out")
    with sqlite3.connect(tmp_path / "out" / ".nsp" / "manifest.sqlite") as manifest:
        manifest.execute("UPDATE photos SET lost = NULL")
    ended = nsp("verify", tmp_path / "out")
    assert ended.code == 0
    assert "not kept: a thumbnail" in ended.out


def test_verify_changes_nothing_and_needs_a_record(nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    nsp("denoise", archive, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    nsp("verify", tmp_path / "out")
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    shutil.rmtree(tmp_path / "out" / ".nsp")
    assert nsp("verify", tmp_path / "out").code == 2
