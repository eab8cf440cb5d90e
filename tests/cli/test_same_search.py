"""Every command that takes folders means the same by hidden, linked, unreadable, --include and --exclude."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from noisy_photos import noisy_scene
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
TOO_LARGE_CROPS = """
[calibrate]
backbone = "dbsn"
base_channels = 4
modules = 1
crop = 200
batch = 2
steps = 1

[distill]
channels = [4, 8]
pairs = [1, 1]
crop = 208
painted = 1
batch = 2
steps = 1
"""
CHOICE = ("--include", "TRIP", "--include", "*_real.png", "--exclude", "previews/", "--exclude", "*_EDIT.*")


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy_scene(seed, 96, 128)).save(path, "PNG")
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three photos to take, and much that is none."""
    folder = tmp_path / "in"
    for seed, name in enumerate(("a_real.png", "trip/b_real.png", "Trip/C_Real.PNG")):
        save(folder / name, seed)
    for name in ("trip/Previews/p_real.png", "trip/d_edit.png", "other/e.png", "._a_real.png", "trip/@eaDir/b.png"):
        save(folder / name)
    save(folder / ".hidden_real.png")
    save(tmp_path / "disk2" / "f_real.png", 5)
    (folder / "trip" / "more").symlink_to(tmp_path / "disk2")
    (folder / "trip" / "up").symlink_to(folder)
    (folder / "trip" / "self").symlink_to("self")
    (folder / "disk3").symlink_to("/nowhere/mounted")
    return folder


@pytest.fixture
def truth(archive: Path, tmp_path: Path) -> Path:
    for name in ("a", "b", "C", "d", "e", "f", "p"):
        save(tmp_path / "truth" / f"{name}_mean.png")
    return tmp_path / "truth"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """One that no photo here suffices for: the search is over by then, and no time goes into a training."""
    path = tmp_path / "quick.toml"
    path.write_text(TOO_LARGE_CROPS)
    return path


def said(result: Finished, archive: Path) -> None:
    """Check what is said of the search, in whatever command."""
    assert "skipped 1 system folder, 1 system file, 1 hidden file (._*, @eaDir)" in result.err
    assert f"{archive}/trip/up leads to {archive}, whose photos are taken there" in result.err
    assert f"left out: {archive}/trip/self: a link that leads to itself" in result.err
    assert f"left out: {archive}/disk3: a link that leads nowhere" in result.err


def test_scan(real_nsp: Nsp, archive: Path) -> None:
    result = real_nsp("scan", archive, *CHOICE, "--json")
    assert result.code == 1
    document = json.loads(result.out)
    files = sorted(name for group in document["groups"] for name in group["files"])
    assert files == [f"{archive}/{name}" for name in ("Trip/C_Real.PNG", "a_real.png")] + [
        f"{archive}/trip/{name}" for name in ("b_real.png", "more/f_real.png")
    ]
    assert sorted(entry["file"] for entry in document["refused"]) == [f"{archive}/disk3", f"{archive}/trip/self"]
    assert document["search"]["system_folders"] == 1
    said(result, archive)
    quiet = real_nsp("scan", archive, *CHOICE, "--exclude", "self", "--exclude", "disk3")
    assert (quiet.code, "left out" in quiet.err) == (0, False)


def test_scan_names_a_folder_that_may_not_be_read(
    real_nsp: Nsp, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def guarded(path: object = ".") -> object:
        if Path(str(path)) == archive / "other":
            raise PermissionError(13, "Permission denied")
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", guarded)
    result = real_nsp("scan", archive, "--exclude", "self", "--exclude", "disk3")
    assert result.code == 1
    assert f"left out: {archive}/other: the folder cannot be read: Permission denied" in result.err


def test_calibrate(quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path) -> None:
    result = quick_nsp("calibrate", archive, *CHOICE, "--out", tmp_path / "x.nsp", "--recipe", recipe)
    assert "reading 4 photos" in result.err
    said(result, archive)


@pytest.mark.parametrize("source", ["PHOTOS", "--clean"])
def test_distill(quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path, source: str) -> None:
    photos = ["--clean", archive] if source == "--clean" else [archive]
    result = quick_nsp("distill", *photos, *CHOICE, "--out", tmp_path / "x.nsp", "--recipe", recipe)
    assert "reading 4 photos" in result.err
    said(result, archive)


@pytest.mark.parametrize("command", ["calibrate", "distill"])
def test_training_on_a_disk_that_is_not_mounted_is_refused(
    real_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "nas").mkdir()
    result = real_nsp(command, archive, tmp_path / "nas", "--out", tmp_path / "x.nsp", "--recipe", recipe)
    assert result.code == 2
    assert f"no photos in {tmp_path}/nas; is it the right folder, on a disk that is mounted?" in result.err
    assert not (tmp_path / "x.nsp").exists()


@pytest.mark.parametrize("command", ["scan", "denoise"])
def test_an_input_that_is_a_link_to_itself_is_named_and_the_others_are_done(
    real_nsp: Nsp, tmp_path: Path, tiny_profile: Profile, command: str
) -> None:
    save(tmp_path / "in" / "a.png")
    (tmp_path / "self").symlink_to("self")
    more = [tmp_path / "out", "--profile", tiny_profile.path] if command == "denoise" else []
    result = real_nsp(command, tmp_path / "in", tmp_path / "self", *more, "--json")
    assert result.code == 1
    named = f"{tmp_path}/self failed" if command == "denoise" else f"{tmp_path}/self"
    assert f"{named}: a link that leads to itself" in result.err
    document = json.loads(result.out)
    assert len(document["groups"]) == 1 if command == "scan" else document["summary"]["done"] == 1


@pytest.mark.parametrize("command", ["scan", "calibrate", "distill", "denoise", "evaluate"])
def test_an_input_that_does_not_exist_is_wrong_usage(
    real_nsp: Nsp, tmp_path: Path, recipe: Path, tiny_profile: Profile, command: str
) -> None:
    folder, out = tmp_path / "nowhere", tmp_path / "out"
    arguments: dict[str, list[str | Path]] = {
        "scan": [folder],
        "denoise": [folder, out],
        "evaluate": [tiny_profile.path, "--noisy", folder, "--clean", tmp_path],
    }
    training: list[str | Path] = [folder, "--out", out, "--recipe", recipe]
    result = real_nsp(command, *arguments.get(command, training))
    assert result.code == 2
    assert f"{folder}: there is no such file or folder" in result.err


def test_scan_of_a_disk_that_is_not_mounted_is_wrong_usage(real_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    alone = real_nsp("scan", tmp_path / "nas", "--json")
    assert (alone.code, json.loads(alone.out)["groups"]) == (2, [])
    assert f"no photos in {tmp_path}/nas" in alone.err
    beside = real_nsp("scan", archive, tmp_path / "nas", "--json")
    assert (beside.code, bool(json.loads(beside.out)["groups"])) == (2, True)


def test_evaluate(real_nsp: Nsp, archive: Path, truth: Path, tiny_profile: Profile) -> None:
    save(truth / "._a_mean.png")
    folders = ("--noisy", archive, "--clean", truth)
    result = real_nsp("evaluate", tiny_profile.path, *folders, *CHOICE, "--exclude", "C_mean*", "--json")
    assert result.code == 1
    document = json.loads(result.out)
    assert [pair["name"] for pair in document["pairs"]] == ["a", "b", "f"]
    assert sorted(entry["file"] for entry in document["failed"]) == [f"{archive}/disk3", f"{archive}/trip/self"]
    assert "without ground truth: 1 noisy photos (C_Real.PNG)" in result.err
    said(result, archive)


def test_evaluate_against_others_names_them_too(
    real_nsp: Nsp, archive: Path, truth: Path, tiny_profile: Profile
) -> None:
    folders = ("--noisy", archive, "--clean", truth)
    choice = ("--include", "a_real.png", "--exclude", "disk3")
    result = real_nsp("evaluate", tiny_profile.path, *folders, *choice, "--against", tiny_profile.path)
    assert result.code == 1, result.err
    assert f"left out: {archive}/trip/self: a link that leads to itself" in result.err
