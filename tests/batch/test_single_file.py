"""A single file leaves nothing but itself among the user's photos, and is continued, shown and checked all the same."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_nsp import Finished

Nsp = Callable[..., Finished]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def desk(photos: Path, tmp_path: Path, nsp: Nsp) -> Path:
    """A folder of one's photos, into which one of them was denoised."""
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copy(photos / "a.jpg", folder)
    assert nsp("denoise", folder / "a.jpg", folder / "a-clean.jpg").code == 0
    return folder


def test_it_leaves_no_folder_among_the_photos_and_is_not_made_twice(desk: Path, nsp: Nsp) -> None:
    assert names(desk) == ["a-clean.jpg", "a.jpg"]
    assert "1 skipped (already done)" in nsp("denoise", desk / "a.jpg", desk / "a-clean.jpg").err
    assert names(desk) == ["a-clean.jpg", "a.jpg"]


@pytest.mark.parametrize("command", ["status", "verify"])
def test_commands_that_look_back_know_it_by_its_name_and_by_its_folder(desk: Path, nsp: Nsp, command: str) -> None:
    for named in (desk / "a-clean.jpg", desk):
        result = nsp(command, named)
        assert (result.code, "1" in result.out) == (0, True), result.err


def test_the_next_command_that_is_named_works(desk: Path, nsp: Nsp, tmp_path: Path) -> None:
    said = nsp("denoise", desk / "a.jpg", desk / "a-clean.jpg", "--overwrite", "--strength", "0.5").err
    assert f"before and after: nsp report {desk / 'a-clean.jpg'}" in said
    assert nsp("report", desk / "a-clean.jpg", "--out", tmp_path / "page.html").code == 0
    assert "a-clean.jpg" in (tmp_path / "page.html").read_text()


def test_a_record_that_is_there_already_is_used(photos: Path, tmp_path: Path, nsp: Nsp) -> None:
    out = tmp_path / "out"
    nsp("denoise", photos, out)
    nsp("denoise", photos / "a.jpg", out / "another.jpg")
    assert "4 photos checked" in nsp("verify", out).out


def test_a_folder_gets_its_record_inside_also_where_single_files_went_before(
    desk: Path, photos: Path, nsp: Nsp
) -> None:
    assert nsp("denoise", photos / "sub", desk).code == 0
    assert (desk / ".nsp" / "manifest.sqlite").exists()
    assert "1 skipped" in nsp("denoise", desk / "a.jpg", desk / "a-clean.jpg").err  # by its mark


def test_without_a_state_folder_the_record_lies_beside_the_file(
    photos: Path, nsp: Nsp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert nsp("denoise", photos / "a.jpg", out / "a.jpg").code == 0
    assert names(out) == [".nsp", "a.jpg"]
