"""Which files of a folder are photos to take: one answer for every command."""

import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from run_nsp import REPOSITORY

from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.find import Findings, find_photos
from nsp_pipeline.frames.find_rules import FindRules


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(found: Findings) -> list[str]:
    return sorted(photo.relative for photo in found.photos)


def reasons(found: Findings) -> dict[str, str]:
    return {entry.relative: entry.reason for entry in found.unreadable}


@pytest.mark.parametrize(
    "folder",
    [
        *("@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "System Volume Information", "lost+found", "__MACOSX"),
        *(".AppleDouble", ".Spotlight-V100", "#snapshot", ".snapshot", "@tmp", ".thumbnails", ".@__thumb", "@Recycle"),
    ],
)
def test_folders_that_systems_and_network_disks_keep_are_skipped_and_counted(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, "1.jpg", f"{folder}/1.jpg", f"trip/{folder}/deep/2.jpg")
    found = find_photos([tmp_path])
    assert names(found) == ["1.jpg"]
    assert found.skipped.system_folders == (1 if not (tmp_path / "trip").is_dir() else 2)
    assert found.skipped.hidden_folders == 0


def test_files_of_systems_and_hidden_ones_are_skipped_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "._1.jpg", "Thumbs.db", ".DS_Store", "desktop.ini", ".hidden.jpg", ".cache/2.jpg")
    found = find_photos([tmp_path])
    assert names(found) == ["1.jpg"]
    assert (found.skipped.system_files, found.skipped.hidden_files, found.skipped.hidden_folders) == (4, 1, 1)
    assert found.skipped.system_names == {"._*", "Thumbs.db", ".DS_Store", "desktop.ini"}
    assert not found.ignored


@pytest.mark.parametrize("suffix", [".jfif", ".JIF", ".jpe", ".jpeg", ".TIFF"])
def test_rare_suffixes_of_photos_are_known(tmp_path: Path, suffix: str) -> None:
    assert names(find_photos([touch(tmp_path, f"a{suffix}")])) == [f"a{suffix}"]


@pytest.mark.parametrize("head", [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0"])
def test_a_file_without_suffix_is_a_photo_if_it_begins_like_one(tmp_path: Path, head: bytes) -> None:
    touch(tmp_path, "notes", "a.txt")
    (tmp_path / "scan").write_bytes(head + bytes(20))
    found = find_photos([tmp_path])
    assert names(found) == ["scan"]
    assert found.ignored == {"no suffix": 1, ".txt": 1}


def test_what_is_named_outright_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", "._1.jpg", "#recycle/1.jpg", "#recycle/@eaDir/1.jpg", ".cache/2.jpg")
    inputs = [tmp_path / name for name in (".hidden.jpg", "._1.jpg", "#recycle", ".cache")]
    assert names(find_photos(inputs)) == ["._1.jpg", ".hidden.jpg", "1.jpg", "2.jpg"]


def test_a_folder_only_named_like_a_systems_in_part_is_entered(tmp_path: Path) -> None:
    touch(tmp_path, "my @eaDir/1.jpg", "lost+found photos/2.jpg", "Trash-1/3.jpg")
    assert len(find_photos([tmp_path]).photos) == 3


@pytest.mark.parametrize("glob", ["previews", "PREVIEWS/", "*/previews", "trip/prev*", "./trip/previews", "trip/*/*"])
def test_exclude_takes_whole_folders_in_any_case(tmp_path: Path, glob: str) -> None:
    touch(tmp_path, "trip/1.jpg", "trip/Previews/2.jpg", "trip/Previews/deep/3.jpg")
    assert names(find_photos([tmp_path], FindRules(exclude=(glob,)))) == ["trip/1.jpg"]


@pytest.mark.parametrize("glob", ["*.NEF", "nikon", "Nikon/", "nikon/*", "nikon/1.nef"])
def test_include_takes_files_and_whole_folders_in_any_case(tmp_path: Path, glob: str) -> None:
    touch(tmp_path, "Nikon/1.nef", "canon/2.jpg")
    found = find_photos([tmp_path], FindRules(include=(glob,)))
    assert (names(found), found.unwanted) == (["Nikon/1.nef"], 1)


def test_exclude_has_the_last_word_and_holds_for_files_named_outright(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/1_edit.jpg", "2_edit.jpg")
    rules = FindRules(include=("a", "2*"), exclude=("*_EDIT.*",))
    assert names(find_photos([tmp_path / "a", tmp_path / "2_edit.jpg"], rules)) == []
    assert names(find_photos([tmp_path], rules)) == ["a/1.jpg"]


def test_a_glob_finds_an_accent_however_it_is_spelled(tmp_path: Path) -> None:
    one, other = (unicodedata.normalize(form, "Müll") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{one}/1.jpg", "2.jpg")
    assert names(find_photos([tmp_path], FindRules(exclude=(other,)))) == ["2.jpg"]


def test_links_that_lead_nowhere_are_named_and_the_rest_is_found(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "sub/2.jpg")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "one.jpg").symlink_to("other.jpg")
    (tmp_path / "other.jpg").symlink_to("one.jpg")
    (tmp_path / "disk").symlink_to("/nowhere/mounted")
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    (tmp_path / "through.jpg").symlink_to("1.jpg/2.jpg")
    found = find_photos([tmp_path])
    assert names(found) == ["1.jpg", "sub/2.jpg"]
    itself = "a link that leads to itself"
    nowhere = "a link that leads nowhere: what it names does not exist, or is on a disk that is not mounted"
    assert reasons(found) == {
        "self": itself,
        "self.jpg": itself,
        "one.jpg": itself,
        "other.jpg": itself,
        "disk": nowhere,
        "gone.jpg": nowhere,
        "through.jpg": nowhere,
    }
    quiet = find_photos([tmp_path], FindRules(exclude=("self*", "one*", "o*", "disk", "gone.jpg", "through.jpg")))
    assert (names(quiet), quiet.unreadable) == (["1.jpg", "sub/2.jpg"], ())


def test_no_folder_is_entered_twice_and_links_in_a_circle_are_said(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a/1.jpg", "z/2.jpg")
    (folder / "a" / "b").symlink_to(folder / "a")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "beside").symlink_to(folder / "z")
    found = find_photos([folder])
    assert names(found) == ["a/1.jpg", "z/2.jpg"]
    assert found.unreadable == ()
    assert sorted(found.not_followed) == [
        f"{folder}/a/b leads to {folder}/a, whose photos are taken there",
        f"{folder}/a/up leads to {folder}, whose photos are taken there",
        f"{folder}/beside leads to {folder}/z, whose photos are taken there",
    ]


def test_a_linked_folder_elsewhere_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "disk2", "1.jpg")
    folder = touch(tmp_path / "in", "0.jpg")
    (folder / "more").symlink_to(tmp_path / "disk2")
    (folder / "again").symlink_to(tmp_path / "disk2")
    assert names(find_photos([folder])) == ["0.jpg", "again/1.jpg"]
    assert names(find_photos([folder], FindRules(recursive=False))) == ["0.jpg"]


def test_an_input_in_several_spellings_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in", "1.jpg", "sub/2.jpg")
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    spellings = [Path("in"), tmp_path / "in", Path("in/../in"), Path("link"), Path("in/1.jpg"), tmp_path / "in/1.jpg"]
    found = find_photos(spellings)
    assert found.inputs == (Path("in"), Path("in/1.jpg"))
    assert [str(photo.path) for photo in found.photos] == ["in/1.jpg", "in/sub/2.jpg"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_inputs_in_one_another_have_their_photos_in_the_outer_one(tmp_path: Path, order: tuple[int, ...]) -> None:
    touch(tmp_path / "in", "1.jpg", "sub/2.jpg", "sub/deep/3.jpg", ".hidden/4.jpg")
    inputs = [tmp_path / "in", tmp_path / "in" / "sub", tmp_path / "in" / "sub" / "deep"]
    found = find_photos([inputs[place] for place in order])
    assert sorted(photo.relative for photo in found.photos if photo.root == inputs[0]) == names(found)
    assert names(found) == ["1.jpg", "sub/2.jpg", "sub/deep/3.jpg"]
    assert found.empty == ()


def test_what_the_outer_input_leaves_out_an_inner_one_brings(tmp_path: Path) -> None:
    touch(tmp_path / "in", "1.jpg", ".hidden/4.jpg")
    assert names(find_photos([tmp_path / "in", tmp_path / "in" / ".hidden"])) == ["1.jpg", "4.jpg"]


def test_output_is_never_entered_whatever_leads_there(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg")
    out = touch(tmp_path / "out", "1.jpg", "sub/2.jpg")
    touch(tmp_path / "other", "3.jpg")
    (folder / "up").symlink_to(tmp_path)
    (folder / "done").symlink_to(out / "sub")
    (folder / "best.jpg").symlink_to(out / "1.jpg")
    found = find_photos([folder], keep_out=out)
    assert names(found) == ["1.jpg", "up/other/3.jpg"]
    assert len([line for line in found.not_followed if "OUTPUT" in line]) == 3
    assert names(find_photos([folder], keep_out=tmp_path / "out" / ".." / "out")) == names(found)


def test_an_input_below_output_is_entered(tmp_path: Path) -> None:
    touch(tmp_path / "all", "in/1.jpg", "in/sub/2.jpg", "other/3.jpg")
    (tmp_path / "all" / "in" / "up").symlink_to(tmp_path / "all")
    assert names(find_photos([tmp_path / "all" / "in"], keep_out=tmp_path / "all")) == ["1.jpg", "sub/2.jpg"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.jpg", "locked/2.jpg", "open/3.jpg")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_photos([tmp_path])
    assert names(found) == ["1.jpg", "open/3.jpg"]
    assert reasons(found) == {"locked": "the folder cannot be read: Permission denied"}
    assert find_photos([tmp_path], FindRules(exclude=("locked",))).unreadable == ()


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user of this machine may enter, which pytest's own are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


AS_NOBODY = """
import os, sys
from pathlib import Path
from nsp_pipeline.frames.find import find_photos
os.setgroups([]); os.setgid(65534); os.setuid(65534)
found = find_photos([Path(sys.argv[1])])
print(sorted(photo.relative for photo in found.photos))
for entry in sorted(found.unreadable, key=lambda entry: entry.relative):
    print(f"{entry.relative}: {entry.reason}")
"""


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can become somebody else")
def test_links_into_places_that_may_not_be_entered_are_named(open_to_all: Path) -> None:
    folder = touch(open_to_all / "in", "1.jpg", "locked/2.jpg", "listed/3.jpg", "listed/sub/4.jpg")
    touch(open_to_all / "private", "deep/5.jpg")
    (folder / "link").symlink_to(open_to_all / "private" / "deep")
    (folder / "photo.jpg").symlink_to(open_to_all / "private" / "deep" / "5.jpg")
    for path, mode in (("in", 0o755), ("in/locked", 0o000), ("in/listed", 0o744), ("private", 0o700)):
        (open_to_all / path).chmod(mode)
    search = [sys.executable, "-c", AS_NOBODY, str(folder)]
    ended = subprocess.run(search, capture_output=True, text=True, cwd="/", env={"PYTHONPATH": str(REPOSITORY)})
    assert ended.stdout.splitlines() == [
        "['1.jpg', 'listed/3.jpg']",
        "link: a link that cannot be followed: Permission denied",
        "listed/sub: the folder cannot be read: Permission denied",
        "locked: the folder cannot be read: Permission denied",
        "photo.jpg: a link that cannot be followed: Permission denied",
    ], ended.stderr


def test_an_input_without_photos_is_told_from_one_whose_photos_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "full/1.jpg", "texts/a.txt", "hidden/.x.jpg", "bin/@eaDir/1.jpg")
    (tmp_path / "nas").mkdir()
    inputs = [tmp_path / name for name in ("full", "texts", "hidden", "bin", "nas")]
    found = find_photos(inputs)
    assert found.empty == tuple(inputs[1:])
    with pytest.raises(UsageError, match=r"no photos in .*/nas; are they the right folders, on a disk that is mounted"):
        found.require_some()
    left_out = find_photos(inputs[:1], FindRules(include=("*.nef",)))
    assert left_out.empty == ()
    with pytest.raises(UsageError, match="that --include and --exclude admit; they leave out 1"):
        left_out.require_some()
