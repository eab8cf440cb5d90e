import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_runs import hashes, save_photo, strays
from fake_engine import fake_profile
from run_nsp import Finished

import nsp_pipeline.batch.output.publish
import nsp_pipeline.batch.photo
from nsp_pipeline.batch.output.database import SCHEMA_VERSION
from nsp_pipeline.errors import OutputError
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.profiles.choose import Choice

Nsp = Callable[..., Finished]
NOT_OURS = "exists already and was not written by nsp (or was changed since); --overwrite replaces it"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def written(folder: Path) -> dict[str, int]:
    """When each output was put in its place; its time of change is that of its original."""
    return {
        path.name: path.stat().st_ctime_ns for path in folder.rglob("*") if path.is_file() and ".nsp" not in path.parts
    }


def rows(out: Path) -> dict[str, dict[str, object]]:
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        connection.row_factory = sqlite3.Row
        return {
            row["output"]: dict(row) for row in connection.execute("SELECT * FROM photos UNION SELECT * FROM unmade")
        }


def test_all_photos_are_made_and_originals_untouched(nsp: Nsp, photos: Path, out: Path) -> None:
    before = hashes(photos)
    assert nsp("denoise", photos, out).code == 0
    assert set(hashes(out)) == set(before) == {"a.jpg", "b.png", "sub/c.tif"}
    assert hashes(photos) == before
    assert not strays(out)
    assert sorted(path.name for path in (out / ".nsp").iterdir()) == ["lock", "manifest.sqlite"]


def test_a_second_run_does_nothing(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    before = written(out)
    result = nsp("denoise", photos, out)
    assert result.code == 0
    assert "0 done, 3 skipped (already done)" in result.err
    assert written(out) == before


@pytest.mark.parametrize("option", [("--strength", "0.5"), ("--bit-depth", "8"), ("--mode", "sr")])
def test_other_settings_make_photos_again(nsp: Nsp, photos: Path, out: Path, option: tuple[str, str]) -> None:
    nsp("denoise", photos, out)
    assert "3 done" in nsp("denoise", photos, out, *option).err


def test_where_and_how_fast_is_no_setting_of_the_result(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    other = ("--tile", "64", "--workers", "3", "--precision", "fp32", "--threads", "1")
    assert "3 skipped" in nsp("denoise", photos, out, *other).err


def test_tiles_are_a_setting_where_they_fade_into_each_other(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that looks everywhere gives other pixels in other tiles."""
    monkeypatch.setenv("NSP_FAKE_TILING", "blended")
    assert "3 done" in nsp("denoise", photos, out).err
    assert "3 done" in nsp("denoise", photos, out, "--tile", "64").err
    assert "3 skipped" in nsp("denoise", photos, out, "--tile", "64").err


def test_another_profile_makes_photos_again(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    assert "3 skipped" in nsp("denoise", photos, out, "--profile", "same-hash").err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSP_FAKE_PROFILE", "9" * 64)
        assert "3 done" in nsp("denoise", photos, out).err


def test_a_changed_photo_is_made_again(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    save_photo(photos / "b.png", 99)
    result = nsp("denoise", photos, out)
    assert "1 done, 2 skipped" in result.err


def test_a_new_time_alone_changes_nothing(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    os.utime(photos / "a.jpg", (1, 1))
    os.utime(out / "b.png", (1, 1))
    assert "3 skipped" in nsp("denoise", photos, out).err
    assert rows(out)["a.jpg"]["input_mtime_ns"] == 10**9
    assert rows(out)["b.png"]["output_mtime_ns"] == 10**9


def test_an_archive_that_moved_is_recognised(nsp: Nsp, photos: Path, out: Path, tmp_path: Path) -> None:
    nsp("denoise", photos, out)
    photos.rename(tmp_path / "moved")
    assert "3 skipped" in nsp("denoise", tmp_path / "moved", out).err
    assert rows(out)["a.jpg"]["input"] == str(tmp_path / "moved" / "a.jpg")


def test_an_output_folder_that_moved_is_recognised(nsp: Nsp, photos: Path, out: Path, tmp_path: Path) -> None:
    nsp("denoise", photos, out)
    out.rename(tmp_path / "elsewhere")
    assert "3 skipped" in nsp("denoise", photos, tmp_path / "elsewhere").err


def test_a_deleted_output_is_made_again(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    before = hashes(out)
    (out / "a.jpg").unlink()
    assert "1 done, 2 skipped" in nsp("denoise", photos, out).err
    assert hashes(out) == before


def test_a_foreign_file_in_the_way_is_kept(nsp: Nsp, photos: Path, out: Path) -> None:
    out.mkdir()
    (out / "a.jpg").write_bytes(b"precious")
    result = nsp("denoise", photos, out)
    assert result.code == 1
    assert f"{photos / 'a.jpg'} failed: {NOT_OURS}" in result.err
    assert (out / "a.jpg").read_bytes() == b"precious"
    assert nsp("denoise", photos, out).code == 1
    assert nsp("denoise", photos, out, "--overwrite").code == 0
    assert (out / "a.jpg").read_bytes() != b"precious"
    assert "3 skipped" in nsp("denoise", photos, out).err


def test_an_output_that_somebody_edited_is_kept(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    edited = bytearray((out / "b.png").read_bytes())
    edited[-1] ^= 1
    (out / "b.png").write_bytes(edited)
    result = nsp("denoise", photos, out, "--strength", "0.3")
    assert result.code == 1
    assert f"{photos / 'b.png'} failed: {NOT_OURS}" in result.err
    assert (out / "b.png").read_bytes() == edited
    assert nsp("denoise", photos, out, "--overwrite").code == 0
    assert (out / "b.png").read_bytes() != edited


def test_a_foreign_file_that_was_deleted_no_longer_matters(nsp: Nsp, photos: Path, out: Path) -> None:
    out.mkdir()
    (out / "a.jpg").write_bytes(b"precious")
    nsp("denoise", photos, out)
    (out / "a.jpg").unlink()
    assert nsp("denoise", photos, out).code == 0


def test_a_file_that_appears_during_the_run_is_kept(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = nsp_pipeline.batch.output.publish.verify_written

    def meanwhile(path: Path, *args: object, **kwargs: object) -> None:
        verify(path, *args, **kwargs)  # type: ignore[arg-type]
        (out / "b.png").write_bytes(b"precious")

    monkeypatch.setattr(nsp_pipeline.batch.output.publish, "verify_written", meanwhile)
    result = nsp("denoise", photos / "b.png", out)
    assert (result.code, (out / "b.png").read_bytes()) == (1, b"precious")
    assert not strays(out)


def test_another_photo_never_takes_the_place_of_a_result(nsp: Nsp, photos: Path, out: Path, tmp_path: Path) -> None:
    nsp("denoise", photos, out)
    other = save_photo(tmp_path / "other" / "a.jpg", 50)
    before = hashes(out)
    result = nsp("denoise", other.parent, out)
    assert result.code == 1
    assert f"its output is the result of another photo, {photos / 'a.jpg'}" in result.err
    assert hashes(out) == before
    assert "3 skipped" in nsp("denoise", photos, out).err
    assert nsp("denoise", other.parent, out, "--overwrite").code == 0


def test_a_folder_in_the_way_fails_that_photo(nsp: Nsp, photos: Path, out: Path) -> None:
    (out / "a.jpg").mkdir(parents=True)
    result = nsp("denoise", photos, out, "--overwrite")
    assert result.code == 1
    assert "2 done, 1 failed" in result.err
    assert "a folder stands where its output should be" in result.err


def test_an_unreadable_photo_is_named_and_the_rest_goes_on(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "broken.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "empty.png").write_bytes(b"")
    result = nsp("denoise", photos, out)
    assert result.code == 1
    assert "3 done, 2 failed" in result.err
    assert result.err.count(f"{photos / 'empty.png'} failed: the file is empty") == 1
    assert set(hashes(out)) == {"a.jpg", "b.png", "sub/c.tif"}
    assert rows(out)["empty.png"]["status"] == "failed"


def test_failures_are_reported_again_without_trying_again(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "broken.jpg").write_bytes(b"nothing")
    nsp("denoise", photos, out)
    tried: list[str] = []
    read = nsp_pipeline.batch.photo.read_frame_in_rows

    def counted(path: Path, *options: Any) -> Frame | None:
        tried.append(path.name)
        return read(path, *options)

    monkeypatch.setattr(nsp_pipeline.batch.photo, "read_frame_in_rows", counted)
    result = nsp("denoise", photos, out)
    assert (result.code, tried) == (1, [])
    assert "failed before; --retry-failed tries again" in result.err
    assert (nsp("denoise", photos, out, "--retry-failed").code, tried) == (1, ["broken.jpg"])
    assert (nsp("denoise", photos, out, "--strength", "1").code, tried[1:].count("broken.jpg")) == (1, 1)


def test_a_broken_photo_that_was_deleted_is_forgotten(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"nothing")
    nsp("denoise", photos, out)
    (photos / "broken.jpg").unlink()
    nsp("denoise", photos, out)
    assert "3 done, 0 failed" in nsp("status", out).out


def test_a_mended_photo_is_made(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"nothing")
    nsp("denoise", photos, out)
    save_photo(photos / "broken.jpg", 8)
    assert nsp("denoise", photos, out).code == 0


def test_a_failure_keeps_what_was_ours(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    good = (photos / "a.jpg").read_bytes()
    (photos / "a.jpg").write_bytes(b"damaged by a bad disk")
    assert nsp("denoise", photos, out).code == 1
    assert "2 done, 1 failed" in nsp("status", out).out
    (photos / "a.jpg").write_bytes(good)
    assert nsp("denoise", photos, out).code == 0
    assert "3 done, 0 failed" in nsp("status", out).out


def test_an_engine_that_breaks_down_fails_one_photo_and_leaves_its_traceback(nsp: Nsp, photos: Path, out: Path) -> None:
    import fake_engine
    import numpy as np
    from PIL import Image

    Image.fromarray(np.full((16, 16, 3), fake_engine.BROKEN_LEVEL, np.uint8)).save(photos / "bug.png")
    result = nsp("denoise", photos, out)
    assert result.code == 1
    assert "3 done, 1 failed" in result.err
    assert "it failed: ZeroDivisionError: the fake network broke" in result.err
    assert "(traceback in .nsp/errors.log)" in result.err
    log = (out / ".nsp" / "errors.log").read_text()
    assert "bug.png" in log
    assert "Traceback" in log


def test_a_photo_that_does_not_read_back_fails_alone(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = nsp_pipeline.batch.output.publish.verify_written

    def picky(path: Path, frame: object, **kwargs: object) -> tuple[str, ...]:
        if frame.kind == "png":  # type: ignore[attr-defined]
            raise OutputError(f"{path}: differs")
        return verify(path, frame, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(nsp_pipeline.batch.output.publish, "verify_written", picky)
    result = nsp("denoise", photos, out)
    assert result.code == 1
    assert "does not read back" in result.err
    assert set(hashes(out)) == {"a.jpg", "sub/c.tif"}
    assert not strays(out)


def test_a_photo_that_changes_under_our_hands_is_not_recorded(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = nsp_pipeline.batch.photo.read_frame

    def slow(path: Path, **options: Any) -> object:
        frame = read(path, **options)
        os.utime(path, (5, 5))
        return frame

    monkeypatch.setattr(nsp_pipeline.batch.photo, "read_frame", slow)
    result = nsp("denoise", photos / "a.jpg", out)
    assert "changed while it was read" in result.err
    monkeypatch.undo()
    assert nsp("denoise", photos / "a.jpg", out).code == 0


def test_a_dry_run_says_everything_and_writes_nothing(nsp: Nsp, photos: Path, out: Path, tmp_path: Path) -> None:
    result = nsp("denoise", photos, out, "--dry-run", "-v", "--log-json", tmp_path / "log")
    assert result.code == 0
    assert f"make {photos / 'a.jpg'} -> {out / 'a.jpg'} with profile fake (the only one): new" in result.out
    assert not out.exists()
    assert not (tmp_path / "log").exists()
    nsp("denoise", photos, out)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = nsp("denoise", photos, out, "--dry-run", "-v")
    assert f"skip {photos / 'a.jpg'}: already done" in result.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_dry_run_foresees_what_headers_tell(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    save_photo(photos / "large.png", size=(200, 100))
    options = (photos, out, "--max-megapixels", "0.01")
    dry = nsp("denoise", *options, "--dry-run", "-v")
    assert f"fail {photos / 'empty.png'}: the file is empty (0 bytes)" in dry.out
    assert f"fail {photos / 'large.png'}: 200×100 is 0.02 megapixels; --max-megapixels 0.01 refuses it" in dry.out
    assert dry.out.count("make ") == 3
    run = {photo["name"]: photo for photo in json.loads(nsp("denoise", *options, "--json").out)["photos"]}
    for name in ("empty.png", "large.png"):
        assert f"fail {photos / name}: {run[str(photos / name)]['reason']}" in dry.out


def test_a_run_over_several_cameras_does_not_speak_of_one_alone(nsp: Nsp, tmp_path: Path, out: Path) -> None:
    for number, model in enumerate(("A", "B", "C")):
        save_photo(tmp_path / "in" / f"{number}.jpg", number, model=model)

    def choose(camera: Any, **options: Any) -> Choice:
        return Choice(fake_profile(), f"built-in, as no profile was made for {camera.model}")

    result = nsp("denoise", tmp_path / "in", out, choose_profile=choose)
    said = "profile fake (built-in, as no profile was made for A, and for 2 other cameras or ISO; -v tells of each)"
    assert said in result.err


def test_the_only_output_is_named_where_it_is_a_file(
    nsp: Nsp, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = nsp("denoise", photos / "a.jpg", "clean.jpg", "--json")
    assert "; output: clean.jpg\n" in result.err
    assert json.loads(result.out)["summary"]["output"] == "clean.jpg"


def test_photos_without_a_profile_are_left_out_and_said_so(nsp: Nsp, tmp_path: Path, out: Path) -> None:
    save_photo(tmp_path / "in" / "a.jpg", 1, model="Unknown")
    save_photo(tmp_path / "in" / "b.jpg", 2, model="Other")
    save_photo(tmp_path / "in" / "c.jpg", 3)
    result = nsp("denoise", tmp_path / "in", out, "--on-missing-profile", "skip")
    assert result.code == 0
    assert "2 done, 1 skipped (no profile for Unknown" in result.err
    assert "profile other (made for Other) on CPU, fake fp32" in result.err
    assert "profile fake (the only one) on CPU, fake fp32" in result.err
    assert {name: (row["profile"], row["why"]) for name, row in rows(out).items()} == {
        "a.jpg": (None, "no profile for Unknown, ISO unknown"),
        "b.jpg": ("other", "made for Other"),
        "c.jpg": ("fake", "the only one"),
    }
    refused = nsp("denoise", tmp_path / "in", tmp_path / "out2", "--on-missing-profile", "error")
    assert (refused.code, (tmp_path / "out2").exists()) == (2, False)


def test_the_manifest_says_what_was_done_with_each_photo(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out, "--strength", "0.5")
    row = rows(out)["b.png"]
    assert row["input"] == str(photos / "b.png")
    assert row["input_size"] == (photos / "b.png").stat().st_size
    assert (row["status"], row["engine"], row["provider"]) == ("done", "fake", "FakeCPUProvider")
    assert (row["strength"], row["profile"], row["why"]) == (0.5, "fake", "the only one")
    assert row["output_sha256"] == hashes(out)["b.png"]
    assert row["noise_before"] > row["noise_after"] > 0  # type: ignore[operator]
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        (text,) = connection.execute("SELECT text FROM settings WHERE hash = ?", (row["settings"],)).fetchone()
    assert '"strength": 0.5' in text


def test_one_file_into_one_file(nsp: Nsp, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "clean.png"
    assert nsp("denoise", photos / "a.jpg", target).code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in target.parent.iterdir()] == ["clean.png"]
    assert "1 skipped" in nsp("denoise", photos / "a.jpg", target).err


@pytest.mark.parametrize("content", [b"this is no database" * 99, None])
def test_a_broken_manifest_is_named_and_left_alone(nsp: Nsp, photos: Path, out: Path, content: bytes | None) -> None:
    nsp("denoise", photos, out)
    path = out / ".nsp" / "manifest.sqlite"
    damaged = bytearray(path.read_bytes())
    damaged[4096:9000] = b"\xff" * (9000 - 4096)
    path.write_bytes(content or damaged)
    before = path.read_bytes()
    for command in (("denoise", photos, out), ("denoise", photos, out, "--dry-run"), ("status", out)):
        result = nsp(*command)
        assert result.code == 4
        assert f"{path}: the manifest is damaged" in result.err
        assert path.read_bytes() == before


def test_a_manifest_of_a_newer_nsp_is_left_alone(nsp: Nsp, photos: Path, out: Path) -> None:
    nsp("denoise", photos, out)
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    result = nsp("denoise", photos, out)
    assert result.code == 4
    versions = f"manifest version {SCHEMA_VERSION + 1}, this one reads {SCHEMA_VERSION}"
    assert f"written by a newer nsp ({versions}); update nsp" in result.err


def test_somebody_elses_database_is_left_alone(nsp: Nsp, photos: Path, out: Path) -> None:
    (out / ".nsp").mkdir(parents=True)
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        connection.execute("CREATE TABLE photos (x)")
    assert "not a manifest of nsp" in nsp("denoise", photos, out).err
