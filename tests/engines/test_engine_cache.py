"""The cache between processes: one builds and the other waits; a kill leaves nothing that would be trusted."""

import json
import os
import signal
import time
from pathlib import Path

from run_nsp import Finished, finish, start_python

from nsp_pipeline.engines.tensorrt.cache import ABANDONED_SECONDS, EngineKey, entries, useless

KEY = dict.fromkeys(EngineKey.__dataclass_fields__, "x")
BUILDER = """
import sys, time
from pathlib import Path
from nsp_pipeline.engines.tensorrt.cache import EngineCache, EngineKey
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
key = EngineKey(**dict.fromkeys(EngineKey.__dataclass_fields__, "x"))
def build():
    with (folder.parent / "built").open("a") as log:
        log.write("once\\n")
    time.sleep(seconds)
    return b"engine" * 1000
print(len(EngineCache(folder, lambda line: print(line, file=sys.stderr)).engine(key, build)))
"""
STUCK = "import os, time\nos.fsync = lambda descriptor: time.sleep(600)\n"


def wait_for(path: Path, pattern: str) -> None:
    end = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern}"
        time.sleep(0.02)


def build(folder: Path) -> Finished:
    return finish(start_python("-c", BUILDER, folder, "0"))


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = start_python("-c", BUILDER, folder, "3")
    wait_for(tmp_path, "built")
    second = build(folder)
    assert (finish(first).out, second.out) == ("6000\n", "6000\n")
    assert second.err == "another nsp is building this engine; waiting for it\n"
    assert (tmp_path / "built").read_text() == "once\n"


def test_a_kill_while_writing_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    killed = start_python("-c", STUCK + BUILDER, folder, "0")
    wait_for(folder, ".*.nsp-part")
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    assert not list(folder.glob("*.engine"))
    (part,) = folder.glob(".*.nsp-part")
    reasons = {entry.path: useless(entry, {}) for entry in entries(folder)}
    assert reasons[part] == "", "the process that writes it may still be running"
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    os.utime(part, (long_ago, long_ago))
    reasons = {entry.path: useless(entry, {}) for entry in entries(folder)}
    assert "left over" in reasons.pop(part)
    assert build(folder).out == "6000\n"
    assert (tmp_path / "built").read_text() == "once\nonce\n"
    assert not part.exists()


def test_the_key_is_all_of_its_parts() -> None:
    digests = {EngineKey(**{**KEY, name: "y"}).digest for name in KEY}
    assert len(digests) == len(KEY) > 10
    assert EngineKey(**{**KEY, "profile": "my/../cam era"}).stem.startswith("x-my----cam-era-x-x-")
    assert json.dumps(EngineKey(**KEY).hardware).count("x") == 5
