import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_runs import hashes, save_photo, start, strays
from run_nsp import Finished, finish

KILLS = 50 if "NSP_SLOW" in os.environ else 10


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty small photos, one of each kind in turn."""
    folder = tmp_path_factory.mktemp("many") / "in"
    for number in range(20):
        suffix = (".jpg", ".png", ".tif")[number % 3]
        save_photo(folder / f"camera{number % 2}" / f"{number}{suffix}", number, size=(160, 120))
    return folder


@pytest.fixture(scope="module")
def undisturbed(many: Path) -> dict[str, str]:
    """What a run that nobody disturbs makes of them."""
    out = many.parent / "undisturbed"
    assert finish(start("denoise", many, out)).code == 0
    return hashes(out)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 30
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def finished(out: Path) -> dict[str, str]:
    # What is still written vanishes while it is looked at, and is looked at again.
    with contextlib.suppress(FileNotFoundError):
        return {name: digest for name, digest in hashes(out).items() if "nsp-part" not in name}
    return finished(out)


def test_killed_at_random_moments_a_further_run_completes(
    many: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out, before, moment = tmp_path / "out", hashes(many), random.Random(2)
    ended = []
    for _ in range(KILLS):
        process = start("denoise", many, out, NSP_FAKE_SECONDS="0.04")
        wait_for((out / ".nsp" / "lock").exists, process)
        time.sleep(moment.uniform(0, 0.15))
        process.kill()
        ended.append(finish(process).code)
        assert finished(out).items() <= undisturbed.items(), "a name that exists is a finished, valid file"
    assert ended.count(-signal.SIGKILL) >= KILLS // 2
    # Whoever kills ten runs may have hit the same photo twice, which is then the photo's fault.
    last = finish(start("denoise", many, out, "--retry-failed"))
    assert last.code == 0, last.err
    assert hashes(out) == undisturbed
    assert not strays(out)
    assert hashes(many) == before


@pytest.mark.parametrize("moment", ["while-writing", "before-rename", "after-rename"])
def test_killed_at_the_worst_moment_a_further_run_completes(
    many: Path, undisturbed: dict[str, str], tmp_path: Path, moment: str
) -> None:
    out = tmp_path / "out"
    assert finish(start("denoise", many, out, NSP_FAKE_DEATH=f"{moment}:3")).code == -signal.SIGKILL
    made = {name: (out / name).stat().st_ino for name in finished(out)}
    assert len(made) == (4 if moment == "after-rename" else 3)
    assert bool(strays(out)) == (moment != "after-rename")
    last = finish(start("denoise", many, out))
    assert (last.code, f"{len(made)} skipped" in last.err) == (0, True), last.err
    assert hashes(out) == undisturbed
    assert {name: (out / name).stat().st_ino for name in made} == made, "finished files were not made twice"
    assert not strays(out)


def test_only_strays_of_ours_are_removed(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", many, out, NSP_FAKE_DEATH="while-writing:1"))
    mine = [out / "notes.nsp-part-1", out / ".nsp-part-x", out / "keep.jpg.part"]
    alive = out / f".nsp-part-{'0' * 8}-0-{os.getpid()}-{'0' * 16}"
    dead = out / f".nsp-part-{'0' * 8}-0-{finished_process()}-{'0' * 16}"
    for path in (*mine, alive, dead):
        path.write_bytes(b"")
    assert finish(start("denoise", many, out)).code == 0
    assert sorted(strays(out)) == sorted([*mine[:2], alive])


def finished_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_cleanly_and_the_same_command_continues(
    many: Path, undisturbed: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = start("denoise", many, out, NSP_FAKE_SECONDS="0.3")
    wait_for(lambda: (out / "camera0").exists() and len(finished(out)) >= 2, process)
    process.send_signal(number)
    ended = finish(process)
    assert ended.code == 130, ended.err
    assert "interrupted; run the same command again to continue" in ended.err
    assert not strays(out)
    assert 2 <= len(hashes(out)) < 20
    status = finish(start("status", out))
    assert "interrupted" in status.out
    again = finish(start("denoise", many, out))
    assert again.code == 0, again.err
    assert "skipped (already done)" in again.err
    assert hashes(out) == undisturbed


def test_a_second_interrupt_kills(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("denoise", many, out, NSP_FAKE_SECONDS="30")
    wait_for((out / ".nsp" / "activity-0.json").exists, process)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert finish(process).code == -signal.SIGINT


def test_time_that_is_up_leaves_the_rest_for_the_next_run(
    many: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = finish(start("denoise", many, out, "--max-duration", "1.5s", NSP_FAKE_SECONDS="0.25"))
    assert ended.code == 5
    left = 20 - len(hashes(out))
    assert f"time is up (--max-duration): {left} photos are left; run the same command again to continue" in ended.err
    assert 0 < len(hashes(out)) < 20
    assert finish(start("denoise", many, out)).code == 0
    assert hashes(out) == undisturbed


def test_time_that_is_up_when_all_is_done_takes_nothing_away(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert finish(start("denoise", many, out)).code == 0
    ended = finish(start("denoise", many, out, "--max-duration", "0.0001s", "--json"))
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)["summary"]
    assert (summary["remaining"], summary["unchecked"] + summary["skipped"]) == (0, 20)


def test_two_runs_on_one_output_are_kept_apart(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # On a busy machine the three commands may take minutes: the first run is at work until it is ended.
    first = start("denoise", many, out, NSP_FAKE_DEATH="hang-while-writing:1")
    wait_for(lambda: bool(finished(out)), first)
    second = finish(start("denoise", many, out))
    assert (second.code, "another nsp is writing there now" in second.err) == (4, True)
    shard = finish(start("denoise", many, out, "--shard", "1/2"))
    assert (shard.code, "another nsp is writing there now" in shard.err) == (4, True)
    assert "a run is at work there now" in finish(start("status", out)).out
    first.kill()
    finish(first)
    assert finish(start("denoise", many, out)).code == 0, "the lock went with the run that held it"


def test_shards_work_side_by_side(many: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shards = [start("denoise", many, out, "--shard", f"{n}/3", NSP_FAKE_SECONDS="0.02") for n in (1, 2, 3)]
    assert [finish(shard).code for shard in shards] == [0, 0, 0]
    assert hashes(out) == undisturbed
    whole = finish(start("denoise", many, out))
    assert "0 done, 20 skipped" in whole.err


def partials(out: Path) -> list[Path]:
    return list(out.rglob(".nsp-part-*"))


def test_a_shard_does_not_remove_what_another_is_writing(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(start("denoise", many, out, "--shard", "2/2", NSP_FAKE_DEATH="while-writing:0"))
    (stray,) = partials(out)
    held = start("denoise", many, out, "--shard", "2/2", NSP_FAKE_DEATH="hang-while-writing:0")
    wait_for(lambda: partials(out) not in ([], [stray]), held)
    (theirs,) = partials(out)
    assert theirs != stray, "its own stray is gone"
    assert finish(start("denoise", many, out, "--shard", "1/2")).code == 0
    assert partials(out) == [theirs]
    held.kill()
    finish(held)
    assert finish(start("denoise", many, out, "--shard", "1/2")).code == 0
    assert not partials(out), "a dead shard's stray is removed by any"


def expect_stop(ended: Finished, *words: str) -> None:
    assert ended.code == 4, ended.err
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err


def test_a_full_disk_stops_the_run_and_leaves_no_stray(many: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", out], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        ended = finish(start("denoise", many, out))
        expect_stop(ended, "free some space and run the same command again")
        assert not strays(out)
        assert 0 < len(hashes(out)) < 20
        subprocess.run(["mount", "-o", "remount,size=20m", out], check=True)
        assert finish(start("denoise", many, out)).code == 0
        assert hashes(out) == undisturbed
    finally:
        subprocess.run(["umount", out], check=True)


def test_a_file_that_may_not_grow_stops_the_run_and_leaves_no_stray(tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "large.png", 1, size=(400, 300))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    out = tmp_path / "out"
    expect_stop(finish(start("denoise", tmp_path / "in", out, limit=limit)), "File too large")
    assert not strays(out)
    assert not hashes(out)
    assert finish(start("denoise", tmp_path / "in", out)).code == 0


def test_a_file_where_a_folder_must_be_stops_the_run(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "camera1").write_bytes(b"")
    expect_stop(finish(start("denoise", many, out)), "camera1", "cannot be written")


@pytest.mark.parametrize("place", ["/proc/nsp", "/dev/null/out"])
def test_an_output_that_cannot_be_made_is_named(many: Path, place: str) -> None:
    expect_stop(finish(start("denoise", many, place)), place, "cannot be made")


def test_a_folder_without_permission_stops_the_run(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "camera0").mkdir(parents=True, mode=0o555)
    if os.access(out / "camera0", os.W_OK):
        pytest.skip("permissions do not bind this user")
    expect_stop(finish(start("denoise", many, out)), "you may not write there")


def test_a_read_only_disk_stops_the_run(many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", out], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        expect_stop(finish(start("denoise", many, out)), "Read-only file system")
    finally:
        subprocess.run(["umount", out], check=True)


def test_a_photo_is_not_blamed_for_an_interrupt_that_ended_its_reader(many: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to the whole process group, and so to the process that develops a RAW file."""
    out = tmp_path / "out"
    process = start("denoise", many, out, NSP_FAKE_SECONDS="1", NSP_FAKE_READER_DIES="1")
    wait_for((out / ".nsp" / "lock").exists, process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.code == 130
    assert "failed" not in ended.err
