"""`nsp denoise` on folders as people have them: links, network disks, names that meet, disks that are not mounted."""

import json
import os
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from batch_runs import hashes, save_photo
from run_nsp import Finished

from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.publish import recover
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.file_names import from_printable, printable

Nsp = Callable[..., Finished]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def document(result: Finished) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(result.out)
    return parsed


def failures(result: Finished) -> dict[str, str]:
    photos = document(result)["photos"]
    assert isinstance(photos, list)
    return {Path(photo["name"]).name: photo["reason"] for photo in photos if photo["outcome"] == "failed"}


def test_links_that_lead_nowhere_are_named_as_failed_and_the_rest_is_done(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "self").symlink_to(photos / "self")
    (photos / "sub" / "gone.jpg").symlink_to("nothing.jpg")
    (photos / "disk").symlink_to("/nowhere/mounted")
    result = nsp("denoise", photos, out, "--json")
    assert result.code == 1
    assert set(hashes(out)) == {"a.jpg", "b.png", "sub/c.tif"}
    assert set(failures(result)) == {"self", "gone.jpg", "disk"}
    assert f"{photos}/self failed: a link that leads to itself" in result.err
    assert "3 done, 3 failed" in nsp("status", out).out
    assert nsp("denoise", photos, out, "--exclude", "self", "--exclude", "gone*", "--exclude", "disk").code == 0


def test_a_folder_that_may_be_read_again_is_no_failure_any_more(
    nsp: Nsp, photos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def guarded(path: object = ".") -> object:
        if str(path).endswith("sub") and "in" in str(path):
            raise PermissionError(13, "Permission denied")
        return scandir(path)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", guarded)
        result = nsp("denoise", photos, out)
    assert result.code == 1
    assert f"{photos}/sub failed: the folder cannot be read: Permission denied" in result.err
    assert "2 done, 1 failed" in nsp("status", out).out
    assert nsp("denoise", photos, out).code == 0
    assert "3 done, 0 failed" in nsp("status", out).out


def test_links_in_a_circle_take_nothing_away_and_are_said(nsp: Nsp, photos: Path, out: Path) -> None:
    (photos / "sub" / "up").symlink_to(photos)
    result = nsp("denoise", photos, out)
    assert result.code == 0
    assert set(hashes(out)) == {"a.jpg", "b.png", "sub/c.tif"}
    assert f"{photos}/sub/up leads to {photos}, whose photos are taken there" in result.err


def test_a_link_to_a_parent_of_both_continues_as_any_other_run(
    nsp: Nsp, photos: Path, out: Path, tmp_path: Path
) -> None:
    (photos / "up").symlink_to(tmp_path)
    save_photo(tmp_path / "other" / "d.jpg", 4)
    assert nsp("denoise", photos, out).code == 0
    before = hashes(out)
    assert set(before) == {"a.jpg", "b.png", "sub/c.tif", "up/other/d.jpg"}
    result = nsp("denoise", photos, out)
    assert result.code == 0, result.err
    assert "4 skipped (already done)" in result.err
    assert f"{photos}/up/out is OUTPUT" in result.err
    assert hashes(out) == before


def test_what_systems_and_network_disks_keep_is_skipped_and_said_once(nsp: Nsp, photos: Path, out: Path) -> None:
    for name in ("@eaDir/a.jpg", "#recycle/b.jpg", "sub/@eaDir/c.jpg", "._a.jpg", ".hidden.jpg"):
        save_photo(photos / f"{name}.png").rename(photos / name)
    result = nsp("denoise", photos, out, "--json")
    assert result.code == 0
    assert set(hashes(out)) == {"a.jpg", "b.png", "sub/c.tif"}
    assert "skipped 3 system folders, 1 system file, 1 hidden file (#recycle, ._*, @eaDir)" in result.err
    search = document(result)["search"]
    assert isinstance(search, dict)
    assert (search["system_folders"], search["system_files"], search["hidden_files"]) == (3, 1, 1)


@pytest.mark.parametrize("dry", [False, True])
def test_an_input_without_any_photo_is_wrong_usage(nsp: Nsp, tmp_path: Path, out: Path, dry: bool) -> None:
    (tmp_path / "nas").mkdir()
    result = nsp("denoise", tmp_path / "nas", out, "--json", *["--dry-run"] * dry)
    assert result.code == 2
    assert f"no photos in {tmp_path}/nas; is it the right folder, on a disk that is mounted?" in result.err
    found = json.loads(result.out)
    assert (found["photos"], found["search"]["inputs_without_photos"]) == ([], [f"{tmp_path}/nas"])
    assert not out.exists()


def test_an_include_that_matches_nothing_is_wrong_usage(nsp: Nsp, photos: Path, out: Path) -> None:
    result = nsp("denoise", photos, out, "--include", "*.cr2", "--json")
    assert result.code == 2
    assert f"no photos in {photos} that --include and --exclude admit; they leave out 3" in result.err
    assert document(result)["photos"] == []


def test_one_input_without_photos_among_others_is_wrong_usage_after_the_rest_is_done(
    nsp: Nsp, photos: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "nas").mkdir()
    result = nsp("denoise", photos, tmp_path / "nas", out)
    assert result.code == 2
    assert len(hashes(out)) == 3
    assert f"no photos in {tmp_path}/nas" in result.err
    assert nsp("denoise", photos, tmp_path / "nas", out, "--include", "a.*").code == 2
    assert nsp("denoise", photos, photos / "sub", out, "--include", "a.*").code == 0


def test_a_shard_to_which_no_photo_falls_is_done(nsp: Nsp, photos: Path, out: Path) -> None:
    codes = [nsp("denoise", photos, out, "--shard", f"{index}/9").code for index in range(1, 10)]
    assert codes == [0] * 9
    assert len(hashes(out)) == 3


def test_names_that_would_meet_fail_alone_and_both_are_named(nsp: Nsp, photos: Path, out: Path) -> None:
    save_photo(photos / "b.tif", 5)
    result = nsp("denoise", photos, out, "--format", "png", "--json")
    assert result.code == 1
    assert set(hashes(out)) == {"a.png", "sub/c.png"}
    assert failures(result)["b.tif"].startswith(f"it and {photos}/b.png would both become {out}/b.png;")
    assert failures(result)["b.png"].startswith(f"it and {photos}/b.tif would both become {out}/b.png;")
    assert "2 done, 2 failed" in nsp("status", out).out


def test_names_that_would_meet_are_numbered_and_stay(nsp: Nsp, photos: Path, out: Path) -> None:
    options = ("--format", "png", "--on-name-clash", "number")
    save_photo(photos / "b.tif", 5)
    foreseen = nsp("denoise", photos, out, *options, "--dry-run", "-v").out
    assert f"make {photos}/b.tif -> {out}/b-2.png" in foreseen
    assert nsp("denoise", photos, out, "--format", "png").code == 1
    assert nsp("denoise", photos, out, *options).code == 0
    before = hashes(out)
    assert set(before) == {"a.png", "b.png", "b-2.png", "sub/c.png"}
    assert "4 done, 0 failed" in nsp("status", out).out, "what failed under another name is no failure any more"
    (photos / "b.png").unlink()
    save_photo(photos / "b.jpg", 6)
    result = nsp("denoise", photos, out, *options)
    assert (result.code, "1 done, 3 skipped" in result.err) == (0, True), result.err
    assert {name: digest for name, digest in hashes(out).items() if name in before} == before
    assert set(hashes(out)) - set(before) == {"b-3.png"}


ODD = (b"new\nline.jpg", b'quote".jpg', b"back\\slash.jpg", "😀 é.jpg".encode(), b"latin \xe9.jpg", b"a\\xff.jpg")


def odd_names(folder: Path) -> list[str]:
    """Photos with names that some disks hold."""
    made = []
    for seed, name in enumerate(ODD):
        path = folder / os.fsdecode(name)
        try:
            save_photo(folder / f"{seed}.jpg", seed).rename(path)
        except OSError:
            pytest.skip("this disk takes only names in UTF-8")
        made.append(str(path))
    return sorted(made)


def test_odd_names_are_written_in_one_way_by_all_and_come_back(nsp: Nsp, tmp_path: Path, out: Path) -> None:
    expected = odd_names(tmp_path / "in")
    run = nsp("denoise", tmp_path / "in", out, "--json")
    assert run.code == 0, run.err
    photos = document(run)["photos"]
    assert isinstance(photos, list)
    scanned = document(nsp("scan", tmp_path / "in", "--json"))["groups"]
    assert isinstance(scanned, list)
    files = [name for group in scanned for name in group["files"]]
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        recorded = connection.execute("SELECT input, output FROM photos").fetchall()
    dry = json.loads(nsp("denoise", tmp_path / "in", out, "--dry-run", "--json").out)
    ways = (
        files,
        [photo["name"] for photo in photos],
        [row[0] for row in recorded],
        [entry["input"] for entry in dry["photos"]],
    )
    for names in ways:
        assert sorted(names) == sorted(map(printable, expected))
        assert sorted(map(from_printable, names)) == expected
    assert all((out / from_printable(row[1])).is_file() for row in recorded)
    assert all(Path(from_printable(photo["output"])).is_file() for photo in photos)
    assert f"{len(ODD)} skipped (already done)" in nsp("denoise", tmp_path / "in", out).err


def test_an_odd_name_that_a_killed_run_just_gave_is_known_again(tmp_path: Path) -> None:
    name = os.fsdecode(ODD[0])
    content = b"made"
    (tmp_path / name).write_bytes(content)
    row = Row(printable(name), "in", Status.DONE, output_size=len(content), output_sha256=sha256(content).hexdigest())
    with Manifest.open(tmp_path) as manifest:
        manifest.publishing(row)
        recover(manifest, tmp_path, None)
        assert manifest.find(printable(name))


def test_failures_of_odd_names_are_remembered(nsp: Nsp, tmp_path: Path, out: Path) -> None:
    expected = odd_names(tmp_path / "in")
    for path in expected:
        Path(path).write_bytes(b"broken")
    assert nsp("denoise", tmp_path / "in", out).code == 1
    assert "failed before; --retry-failed tries again" in nsp("denoise", tmp_path / "in", out).err
    listed = document(nsp("status", out, "--json"))["failures"]
    assert isinstance(listed, list)
    assert sorted(from_printable(entry["input"]) for entry in listed) == expected
