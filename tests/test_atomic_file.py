"""A file or folder appears whole or not at all, whatever happens on the way."""

import os
import signal
from pathlib import Path

import pytest
from run_nsp import finish, start_python

from nsp_pipeline.atomic_file import appearing, partial_path, require_free, require_writable, write_atomically
from nsp_pipeline.errors import OutputError

STUCK = """
import os, sys
from pathlib import Path
from nsp_pipeline.atomic_file import appearing
with appearing(Path(sys.argv[1])) as partial:
    partial.mkdir()
    (partial / "half").write_bytes(b"h")
    print("there", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ZeroDivisionError()])
def test_what_goes_wrong_leaves_what_was_there(tmp_path: Path, kind: str, error: BaseException) -> None:
    target = tmp_path / "page"
    target.write_bytes(b"old")

    def fail(partial: Path) -> None:
        raise error

    def write() -> None:
        with appearing(target, "the page", check=fail) as partial:
            if kind == "file":
                partial.write_bytes(b"new")
            else:
                partial.mkdir()

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write()
    assert names(tmp_path) == ["page"]
    assert target.read_bytes() == b"old"


def test_the_check_sees_what_is_on_the_disk_and_before_the_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("flush"))
    target = tmp_path / "new"

    def look(partial: Path) -> None:
        assert partial.read_bytes() == b"content"
        assert not target.exists()
        events.append("check")

    with appearing(target, check=look) as partial:
        partial.write_bytes(b"content")
    assert events == ["flush", "check", "flush"], "the file, then the check, then the folder that names it"
    assert target.read_bytes() == b"content"


def test_what_a_killed_process_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    killed, living = (start_python("-c", STUCK, target) for _ in range(2))
    for process in (killed, living):
        assert process.stdout
        assert process.stdout.readline() == "there\n"
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    assert len(names(tmp_path)) == 2
    write_atomically(target, [b"x"])
    (left,) = (name for name in names(tmp_path) if name != "mine")
    assert f"-{living.pid}." in left
    living.kill()
    finish(living)


def test_names_that_are_not_this_targets_stay(tmp_path: Path) -> None:
    mine = [".mine.nsp-part", ".nsp-part", ".mine-00000000.00000000-1.nsp-part", "notes.nsp-part"]
    for name in mine:
        (tmp_path / name).write_bytes(b"theirs")
    write_atomically(tmp_path / "mine", [b"x"])
    assert names(tmp_path) == sorted([*mine, "mine"])


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 127)
    assert len(partial_path(target).name.encode()) < 255
    write_atomically(target, [b"x"])
    assert names(tmp_path) == [target.name]
    with pytest.raises(OutputError, match="File name too long"):
        require_writable(tmp_path / ("n" * 300))
    with pytest.raises(OutputError, match="File name too long"):
        write_atomically(tmp_path / ("n" * 300), [b"x"])
    assert names(tmp_path) == [target.name]


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    before = os.stat("/dev/null")  # noqa: PTH116
    write_atomically(Path("/dev/null"), [b"x"])
    assert os.stat("/dev/null").st_rdev == before.st_rdev  # noqa: PTH116
    with pytest.raises(OutputError, match="/dev/full: the report cannot be written: No space left on device; free"):
        write_atomically(Path("/dev/full"), [b"x"], "the report")


def test_a_name_that_is_taken_stays_with_its_owner_where_it_must_not_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / "mine"

    def write() -> None:
        with appearing(target, "it", replace=False) as partial:
            partial.write_bytes(b"ours")
            target.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="mine: it cannot be written: exists already"):
        write()
    assert names(tmp_path) == ["mine"]
    assert target.read_bytes() == b"theirs"


def test_an_empty_folder_gives_way_to_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    require_free(target)
    with appearing(target, replace=False) as partial:
        partial.mkdir()
        (partial / "one").write_bytes(b"1")
    assert names(target) == ["one"]
    with pytest.raises(FileExistsError):
        require_free(target)
