"""Photos that kill the process, as the system does where a container's memory runs out: real kills, real restarts."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from batch_runs import hashes, save_photo, start
from fake_engine import DEADLY_LEVEL
from PIL import Image
from run_nsp import Finished, finish, start_python

TWICE = "nsp died twice while working on this photo"
OTHERS = {"0.png", "2.png", "3.png", "4.png", "5.png"}
"""All photos of the archive but the deadly one."""


def save_deadly(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), DEADLY_LEVEL, np.uint8)).save(path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Six photos; the second of them is deadly."""
    for number in (0, 2, 3, 4, 5):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    save_deadly(tmp_path / "in" / "1.png")
    return tmp_path / "in"


def run(*args: str | Path, **environment: str) -> Finished:
    return finish(start("denoise", *args, limit=None, **environment))


def in_work(out: Path) -> set[str]:
    """What the notes of a run say that it works on, or did when it died."""
    return set(json.loads((out / ".nsp" / "activity-0.json").read_text())["in_work"])


def failures(out: Path) -> dict[str, str]:
    document = json.loads(finish(start("status", out, "--json")).out)
    return {failure["output"]: failure["error"] for failure in document["failures"]}


@pytest.mark.parametrize("workers", ["1", "4"])
def test_what_was_in_work_when_a_run_died_comes_last_and_fails_after_a_second_death(
    archive: Path, tmp_path: Path, workers: str
) -> None:
    out = tmp_path / "out"
    assert run(archive, out, "--workers", workers).code == -signal.SIGKILL
    assert len(hashes(out)) < 5, "it died before it came to all others"
    suspects = in_work(out)
    assert "1.png" in suspects
    second = run(archive, out, "--workers", workers)
    assert second.code == -signal.SIGKILL
    assert "in work when an earlier run was killed; these come last, one at a time" in second.err
    assert set(hashes(out)) >= OTHERS - suspects, "all that was not in work comes first"
    assert in_work(out) == {"1.png"}, "no other is in work beside it, and blamed with it"
    third = run(archive, out, "--workers", workers)
    assert third.code == 1, third.err
    assert f"{archive / '1.png'} failed: {TWICE}" in third.err
    assert "--retry-failed tries again" in third.err
    assert (set(hashes(out)), list(failures(out))) == (OTHERS, ["1.png"])
    fourth = run(archive, out)
    assert (fourth.code, "failed before" in fourth.err) == (1, True)


def test_a_photo_that_kills_when_it_is_read_takes_no_other_along(archive: Path, tmp_path: Path) -> None:
    """Those that are read at the same moment come last as well, alone, and are made."""
    (archive / "1.png").unlink()
    out = tmp_path / "out"
    codes = [run(archive, out, "--workers", "4", NSP_FAKE_DEADLY_READ="3.png").code for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 1]
    assert set(hashes(out)) == {"0.png", "2.png", "4.png", "5.png"}
    assert TWICE in failures(out)["3.png"]


def test_what_waits_for_its_turn_is_not_in_work(archive: Path, tmp_path: Path) -> None:
    (archive / "1.png").unlink()
    save_deadly(archive / "a.png")
    for number in range(3):
        save_photo(archive / f"b{number}.png", number)
    out = tmp_path / "out"
    run(archive, out, "--workers", "3", "--include", "[ab]*", NSP_FAKE_SECONDS="1.5")
    assert in_work(out) == {"a.png"}, "the others were read, and waited"


def test_retry_failed_tries_again_and_another_death_fails_it_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(3):
        run(archive, out)
    assert run(archive, out, "--retry-failed").code == -signal.SIGKILL
    again = run(archive, out)
    assert (again.code, len(hashes(out))) == (1, 5)
    assert run(archive, out, "--retry-failed", "--exclude", "1.png").code == 0


def test_a_deadly_photo_that_was_replaced_is_made(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        run(archive, out)
    save_photo(archive / "1.png", 1)
    assert run(archive, out).code == 0
    assert len(hashes(out)) == 6


def test_shards_that_die_fail_their_own_photo_only(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    codes = [
        sorted(finish(shard).code for shard in [start("denoise", archive, out, "--shard", f"{n}/2") for n in (1, 2)])
        for _ in range(3)
    ]
    assert codes == [[-signal.SIGKILL, 0], [-signal.SIGKILL, 0], [0, 1]]
    assert len(hashes(out)) == 5
    assert list(failures(out)) == ["1.png"]


def wait_until_in_work(process: "subprocess.Popen[str]", out: Path) -> None:
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if in_work(out):
                return
        time.sleep(0.02)
    raise AssertionError(f"nothing was in work: {finish(process)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_asked_to_end_and_then_killed_blames_no_photo(
    archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """As `docker stop` does it: ten seconds after SIGTERM comes SIGKILL, and a tile takes longer."""
    (archive / "1.png").unlink()
    out = tmp_path / "out"
    process = start("denoise", archive, out, NSP_FAKE_DEEP="1")
    wait_until_in_work(process, out)
    time.sleep(2.0)
    process.send_signal(number)
    time.sleep(1.5)
    assert process.poll() is None, "the engine is deep in its tile"
    process.kill()
    finish(process)
    again = run(archive, out)
    assert (again.code, "was in work when" in again.err) == (0, False), again.err


def test_a_run_that_ends_leaves_no_notes(archive: Path, tmp_path: Path) -> None:
    (archive / "1.png").unlink()
    out = tmp_path / "out"
    assert run(archive, out).code == 0
    assert sorted(path.name for path in (out / ".nsp").iterdir()) == ["lock", "manifest.sqlite"]


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Callable[[], None]]:
    """A control group with so many bytes; yields what a process calls to join it."""
    version_1, version_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    parent, file = (version_1, "memory.limit_in_bytes") if version_1.is_dir() else (version_2, "memory.max")
    group = parent / name
    try:
        group.mkdir()
        (group / file).write_text(str(limit))
        if (group / "memory.swappiness").exists():
            (group / "memory.swappiness").write_text("0")
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:

        def join() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        yield join
    finally:
        group.rmdir()


def test_tiles_are_sized_to_the_memory_of_a_container(tmp_path: Path) -> None:
    """Tiles of the usual size would take 0.6 GB: the system would end the process."""
    save_photo(tmp_path / "in" / "large.png", size=(1100, 1100))
    with memory_group(f"nsp-test-{os.getpid()}", 450 << 20) as join:
        args = ("-m", "nsp_pipeline", "denoise", tmp_path / "in", tmp_path / "out", "--device", "cpu")
        ended = finish(start_python(*args, "--engine", "onnx", limit=join))
    assert ended.code == 0, ended
    assert len(hashes(tmp_path / "out")) == 1
