"""Finished photos are recognised by the mark in them where the record of a run is lost."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from batch_runs import hashes, save_photo
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.batch.output.mark import Mark, read_mark

Nsp = Callable[..., Finished]


@pytest.fixture
def out(nsp: Nsp, photos: Path, tmp_path: Path) -> Path:
    """An OUTPUT whose record is lost."""
    folder = tmp_path / "out"
    assert nsp("denoise", photos, folder, "--strength", "0.5").code == 0
    shutil.rmtree(folder / ".nsp")
    return folder


def test_the_same_command_takes_finished_photos_on_again(nsp: Nsp, photos: Path, out: Path) -> None:
    before = {name: (out / name).stat().st_ino for name in hashes(out)}
    again = nsp("denoise", photos, out, "--strength", "0.5")
    assert (again.code, "0 done, 3 skipped (already done)" in again.err) == (0, True), again.err
    assert {name: (out / name).stat().st_ino for name in before} == before
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        rows = connection.execute("SELECT input, status, profile, why, output_sha256 FROM photos").fetchall()
    assert {row[0] for row in rows} == {str(photos / name) for name in before}
    assert {row[1:3] for row in rows} == {("done", "fake")}
    assert all("recognised by the mark" in row[3] for row in rows)
    assert {row[4] for row in rows} == set(hashes(out).values())


def test_a_damaged_manifest_that_was_moved_away_costs_nothing(nsp: Nsp, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    nsp("denoise", photos, out)
    path = out / ".nsp" / "manifest.sqlite"
    path.write_bytes(b"this is no database" * 99)
    refused = nsp("denoise", photos, out)
    assert "move it away: photos already in that folder that nsp made are then recognised" in refused.err
    path.rename(tmp_path / "damaged")
    assert "3 skipped" in nsp("denoise", photos, out).err


def test_other_settings_make_them_again(nsp: Nsp, photos: Path, out: Path) -> None:
    assert "3 done" in nsp("denoise", photos, out, "--strength", "0.7").err


def test_what_was_edited_or_is_of_another_photo_is_left_alone(nsp: Nsp, photos: Path, out: Path) -> None:
    for name in ("a.jpg", "b.png", "sub/c.tif"):
        content = bytearray((out / name).read_bytes())
        content[len(content) // 2] ^= 1
        (out / name).write_bytes(content)
        assert read_mark(out / name) is None
    before = hashes(out)
    refused = nsp("denoise", photos, out, "--strength", "0.5")
    assert (refused.code, refused.err.count("not written by nsp (or was changed since)")) == (1, 4)
    assert hashes(out) == before


def test_the_result_of_another_photo_is_left_alone(nsp: Nsp, photos: Path, out: Path) -> None:
    save_photo(photos / "b.png", 99)
    before = hashes(out)
    refused = nsp("denoise", photos, out, "--strength", "0.5")
    assert (refused.code, "its output is the result of another photo; --overwrite" in refused.err) == (1, True)
    assert hashes(out) == before


def mark_of(path: Path) -> Mark:
    mark = read_mark(path)
    assert mark is not None
    return mark


def test_a_mark_says_what_a_photo_was_made_from_and_with(nsp: Nsp, photos: Path, out: Path) -> None:
    originals = hashes(photos)
    for name in originals:
        mark = mark_of(out / name)
        assert (mark.photo, mark.profile, mark.precision) == (originals[name], "fake", "fp32")


def test_marks_change_no_pixel_and_other_programs_read_the_files(nsp: Nsp, photos: Path, tmp_path: Path) -> None:
    nsp("denoise", photos, tmp_path / "same", "--strength", "0")
    for name in ("b.png", "sub/c.tif"):
        np.testing.assert_array_equal(Image.open(tmp_path / "same" / name), Image.open(photos / name))
    Image.open(tmp_path / "same" / "a.jpg").load()


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_every_kind_of_file_is_marked_whatever_it_was(nsp: Nsp, photos: Path, tmp_path: Path, kind: str) -> None:
    assert nsp("denoise", photos, tmp_path / kind, "--format", kind).code == 0
    for path in (tmp_path / kind).rglob("*.*"):
        if path.is_file() and ".nsp" not in path.parts:
            assert mark_of(path).profile == "fake"


def test_a_result_that_is_denoised_again_has_one_mark(nsp: Nsp, photos: Path, out: Path, tmp_path: Path) -> None:
    assert nsp("denoise", out, tmp_path / "twice").code == 0
    for name, digest in hashes(out).items():
        assert mark_of(tmp_path / "twice" / name).photo == digest
        assert (tmp_path / "twice" / name).read_bytes().count(b"nsp\0{") == 1


def test_what_follows_the_picture_of_a_jpeg_stays_in_its_place(nsp: Nsp, tmp_path: Path) -> None:
    """Previews and gain maps are found by their distance from the start or the end of the file."""
    photo = save_photo(tmp_path / "in" / "a.jpg", 1, size=(200, 160))
    photo.write_bytes(photo.read_bytes() + b"PREVIEW")
    assert nsp("denoise", photo.parent, tmp_path / "out").code == 0
    content = (tmp_path / "out" / "a.jpg").read_bytes()
    assert content.endswith(b"PREVIEW")
    assert content.index(b"PREVIEW") == photo.read_bytes().index(b"PREVIEW")
    assert mark_of(tmp_path / "out" / "a.jpg").profile == "fake"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM" + b"nsp-mark" * 3, b"x" * 99]
)
def test_any_file_may_stand_in_the_way(nsp: Nsp, photos: Path, tmp_path: Path, content: bytes) -> None:
    for name in ("a.jpg", "b.png"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(content)
    assert nsp("denoise", photos, tmp_path / "out").code == 1
    assert (tmp_path / "out" / "a.jpg").read_bytes() == content
