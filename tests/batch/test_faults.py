"""What goes wrong in a long night: folders that vanish, clocks that go back, many kills; real processes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_runs import SCRIPT, hashes, save_photo, start, strays
from run_nsp import REPOSITORY, finish

CLOCK_SET_BACK = """
import runpy, sys, time
now, monotonic = time.time, time.monotonic
time.time = lambda: now() - 86400 * 400
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in range(8):
        save_photo(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


def wait_until_made(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    end = time.monotonic() + 60
    while len([name for name in hashes(out) if "nsp-part" not in name]) < count:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_output_folder_that_vanishes_stops_the_run_and_the_next_one_completes(archive: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out", hashes(archive)
    process = start("denoise", archive, out, NSP_FAKE_SECONDS="0.4")
    wait_until_made(process, out, 2)
    out.rename(tmp_path / "unplugged")
    ended = finish(process)
    assert (ended.code, "Traceback" in ended.err) == (4, False), ended.err
    assert hashes(archive) == before
    assert not out.exists() or not hashes(out), "no photo lands where the folder was"
    made = {name: (tmp_path / "unplugged" / name).stat().st_ino for name in hashes(tmp_path / "unplugged")}
    if out.exists():
        for folder in sorted(out.rglob("*"), reverse=True):
            folder.rmdir()
        out.rmdir()
    (tmp_path / "unplugged").rename(out)
    last = finish(start("denoise", archive, out))
    assert last.code == 0, last.err
    assert len(hashes(out)) == 8
    assert not strays(out)
    whole = {name: number for name, number in made.items() if "nsp-part" not in name}
    assert {name: (out / name).stat().st_ino for name in whole} == whole, "nothing is made twice"


def test_a_clock_that_was_set_back_makes_nothing_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert finish(start("denoise", archive, out)).code == 0
    (archive / "0.png").unlink()
    save_photo(archive / "0.png", 100)
    os.utime(archive / "0.png", (1e9, 1e9))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(SCRIPT.parent)])}
    command = [sys.executable, "-c", CLOCK_SET_BACK, str(SCRIPT), "denoise", str(archive), str(out)]
    earlier = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment)
    ended = finish(earlier)
    assert ended.code == 0, ended.err
    assert "1 done, 7 skipped" in ended.err, "the photo that changed is older than what was made of it"
    status = finish(start("status", out))
    assert (status.code, "complete" in status.out) == (0, True), status
    assert "0 done, 8 skipped" in finish(start("denoise", archive, out)).err


def test_a_photo_that_is_replaced_again_and_again_is_made_from_one_file_or_fails(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("denoise", archive, out, "--workers", "4", NSP_FAKE_SECONDS="0.1")
    number = 100
    while process.poll() is None and number < 400:
        save_photo(tmp_path / "aside.png", number)
        (tmp_path / "aside.png").replace(archive / f"{number % 8}.png")
        number += 1
        time.sleep(0.01)
    assert finish(process).code in (0, 1)
    last = finish(start("denoise", archive, out))
    assert last.code == 0, last.err
    alone = tmp_path / "alone"
    assert finish(start("denoise", archive, alone)).code == 0
    assert hashes(out) == hashes(alone), "every result is that of the file that is there"


@pytest.mark.skipif("NSP_SLOW" not in os.environ, reason="fifty kills take minutes; NSP_SLOW=1 does them")
def test_fifty_kills_of_two_processes_lose_nothing(archive: Path, tmp_path: Path) -> None:
    for more in range(8, 60):
        save_photo(archive / f"{more}.png", more)
    out, moment = tmp_path / "out", random.Random(3)
    for kill in range(50):
        process = start("denoise", archive, out, "--device", "cuda:0,1", NSP_FAKE_SECONDS="0.2")
        time.sleep(moment.uniform(0.5, 6))
        process.send_signal(signal.SIGKILL if kill % 3 else signal.SIGTERM)
        finish(process)
    assert finish(start("denoise", archive, out, "--retry-failed")).code == 0
    assert len(hashes(out)) == 60
    assert not strays(out)
