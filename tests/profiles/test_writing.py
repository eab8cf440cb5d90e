"""A profile appears whole, on the disk itself, or not at all."""

import os
from pathlib import Path

import pytest
from small_bundle import FIELDS

from nsp_pipeline.atomic_file import partial_path
from nsp_pipeline.errors import ExitCode, OutputError
from nsp_pipeline.profiles import bundle
from nsp_pipeline.profiles.bundle import CARD_FILE, load_profile, require_writable, write_profile

FILES = {CARD_FILE: b"# small\n", "weights.safetensors": b"w" * 1000}
NAMES = pytest.mark.parametrize("name", ["mine.nsp", "mine"])


@NAMES
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ZeroDivisionError()])
def test_whatever_stops_it_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    def stop(path: Path) -> None:
        assert [entry.name for entry in tmp_path.iterdir()] == [partial_path(tmp_path / name).name]
        raise error

    monkeypatch.setattr(bundle, "load_profile", stop)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_profile(tmp_path / name, FIELDS, FILES)
    assert list(tmp_path.iterdir()) == []


@NAMES
def test_every_file_is_flushed_before_the_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    flushed = 0

    def fsync(descriptor: int) -> None:
        nonlocal flushed
        flushed += not (tmp_path / name).exists()

    monkeypatch.setattr(os, "fsync", fsync)
    write_profile(tmp_path / name, FIELDS, FILES)
    assert flushed == (1 if name.endswith(".nsp") else 4), "every file, and the folder they lie in"


@NAMES
def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path, name: str) -> None:
    killed = partial_path(tmp_path / name)
    killed.mkdir()
    (killed / "half").write_bytes(b"h")
    write_profile(tmp_path / name, FIELDS, FILES)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@NAMES
def test_the_same_content_gives_the_same_bundle(tmp_path: Path, name: str) -> None:
    one, two = (write_profile(tmp_path / folder / name, FIELDS, FILES) for folder in ("one", "two"))
    assert one.sha256 == two.sha256
    if name.endswith(".nsp"):
        assert one.path.read_bytes() == two.path.read_bytes()


@pytest.mark.parametrize("there", ["file", "folder", "dead link"])
def test_an_existing_name_is_refused_whatever_it_is(tmp_path: Path, there: str) -> None:
    target = tmp_path / "mine.nsp"
    if there == "file":
        target.write_bytes(b"theirs")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "gone")
    before = target.lstat()
    for refuse in (require_writable, lambda path: write_profile(path, FIELDS, FILES)):
        with pytest.raises(OutputError, match=r"mine\.nsp: exists already; a profile is never overwritten") as refused:
            refuse(target)
        assert refused.value.exit_code == ExitCode.OUTPUT
    assert target.lstat() == before


def test_a_place_that_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"mine\.nsp: the profile cannot be written: .*file is no folder"):
        require_writable(tmp_path / "file" / "mine.nsp")
    with pytest.raises(OutputError, match="File name too long"):
        require_writable(tmp_path / ("n" * 300))
    with pytest.raises(OutputError, match=r"mine\.nsp: the profile cannot be written"):
        require_writable(Path("/proc/mine.nsp"))
    require_writable(tmp_path / "new" / "mine.nsp")
    assert list((tmp_path / "new").iterdir()) == []
    assert load_profile(write_profile(tmp_path / "new" / "mine.nsp", FIELDS, FILES).path).content == FILES
