"""`--cluster`: a real Ray cluster of two nodes on this machine, whose workers, nodes and driver are really killed."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import hashes, save_photo, start, strays
from fake_engine import DEADLY_LEVEL
from PIL import Image
from run_nsp import REPOSITORY, Finished, finish

from nsp_pipeline.batch.workers.shared_folders import proof_of, what_differs

PHOTOS = 14
KILLS = 50


def test_another_machine_must_see_the_same_folders(tmp_path: Path) -> None:
    root = tmp_path / "out"
    (root / ".nsp").mkdir(parents=True)
    photos = [save_photo(tmp_path / "in" / name, 1) for name in ("a.png", "sub/b.png")]
    with proof_of(root, photos, root / ".nsp") as proof:
        assert what_differs(proof) is None
        save_photo(photos[1], 2)
        assert what_differs(proof) == f"its {photos[1]} is another photo"
        photos[1].unlink()
        assert what_differs(proof) == f"it does not see the photo {photos[1]}"
        proof.token.write_text("of another folder")
        assert what_differs(proof) == f"its {root} is another folder"
        proof.token.unlink()
        assert what_differs(proof) == f"it does not see {root} (No such file or directory)"
    assert not list((root / ".nsp").iterdir())


def test_the_token_of_a_killed_run_is_replaced_by_the_next(tmp_path: Path) -> None:
    left = proof_of(tmp_path, [], tmp_path, "0")
    before = left.__enter__()
    with proof_of(tmp_path, [], tmp_path, "0") as proof:
        assert what_differs(before) == f"its {tmp_path} is another folder"
        assert what_differs(proof) is None
    assert not list(tmp_path.iterdir())


def test_without_ray_the_command_to_install_it_is_named(tmp_path: Path) -> None:
    save_photo(tmp_path / "in" / "a.png")
    (tmp_path / "no" / "ray.py").parent.mkdir()
    (tmp_path / "no" / "ray.py").write_text("raise ImportError('not here')")
    paths = os.pathsep.join([str(tmp_path / "no"), str(REPOSITORY)])
    ended = finish(start("denoise", tmp_path / "in", tmp_path / "out", "--cluster", "auto", PYTHONPATH=paths))
    assert (ended.code, "pip install 'nsp-pipeline[cluster]'" in ended.err) == (3, True), ended.err
    assert not hashes(tmp_path / "out")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for number in range(PHOTOS):
        save_photo(tmp_path / "in" / f"{number:02}.png", number)
    return tmp_path / "in"


def listening() -> set[tuple[str, str]]:
    """Address and port that something on this machine listens at, as the kernel writes them."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {(address, port) for fields in lines if fields[3] == "0A" for address, _, port in [fields[1].partition(":")]}


def test_without_an_address_ray_listens_on_the_loopback_device_alone(archive: Path, tmp_path: Path) -> None:
    if "NSP_SLOW" not in os.environ:
        pytest.skip("starting Ray takes half a minute; NSP_SLOW=1 does it")
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    before, seen = listening(), set[tuple[str, str]]()
    process = start("denoise", archive, tmp_path / "out", "--cluster", "auto", NSP_FAKE_SECONDS="0.5")
    while process.poll() is None:
        seen |= listening() - before
        time.sleep(0.3)
    ended = finish(process)
    assert ended.code == 0, ended.err
    assert len(hashes(tmp_path / "out")) == PHOTOS
    assert len(seen) > 3
    assert {address for address, _ in seen} <= {"0100007F", "0000000000000000FFFF00000100007F"}, "127.0.0.1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and another node, of one processor each."""
    if "NSP_SLOW" not in os.environ:
        pytest.skip("starting clusters takes a minute; NSP_SLOW=1 does it")
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("NSP_FAKE_SECONDS", "0.4")
        patch.setenv("RAY_worker_niceness", "0")  # or workers starve where other tests run
        from ray._private import services
        from ray.cluster_utils import Cluster

        patch.setattr(services, "get_node", patiently(services.get_node))
        started = Cluster()
        add_node(started, include_dashboard=False)
        add_node(started)
        yield started
        started.shutdown()


def add_node(cluster: Any, **options: Any) -> None:
    for attempt in range(5):
        try:
            cluster.add_node(num_cpus=1, object_store_memory=80 << 20, **options)
        except Exception:  # of no class of its own, where a busy machine does not start it in time
            if attempt == 4:
                raise
        else:
            return


def patiently(look: Callable[..., Any]) -> Callable[..., Any]:
    """Ray gives a node half a minute to come up, which a busy machine may exceed."""

    def looking(*args: Any) -> Any:
        end = time.monotonic() + 200
        while True:
            try:
                return look(*args)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    return looking


@pytest.fixture
def expected(archive: Path, tmp_path: Path) -> dict[str, str]:
    """What one machine makes of the photos."""
    assert finish(start("denoise", archive, tmp_path / "alone")).code == 0
    return hashes(tmp_path / "alone")


def test_the_cluster_of_this_machine_is_joined_though_ray_once_made_a_token_for_another(
    cluster: Any, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    ended = finish(start("denoise", archive, tmp_path / "out", "--cluster", "auto", HOME=str(tmp_path / "home")))
    assert ended.code == 0, ended.err
    assert ended.err.count("of the cluster") == 2, "both nodes worked"


def run(cluster: Any, archive: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    return start("denoise", archive, out, "--cluster", cluster.address, "--json", *options)


def until(condition: Callable[[], bool], process: "subprocess.Popen[str] | None", seconds: float = 110) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, finish(process)
        assert time.monotonic() < end
        time.sleep(0.05)


def made(out: Path) -> int:
    """Photos that have their names."""
    return sum("nsp-part" not in path.name and path.suffix == ".png" for path in out.rglob("*"))


def workers() -> list[int]:
    """Processes of actors."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                title = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::NodeWorker"):
                found.append(int(process.name))
    return found


def made_by(ended: Finished) -> dict[str, int]:
    """Photos by outcome."""
    summary = json.loads(ended.out)["summary"]
    return {name: summary[name] for name in ("done", "skipped", "failed", "remaining")}


def test_two_nodes_make_what_one_machine_makes_and_only_the_driver_writes_the_record(
    cluster: Any, archive: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = finish(run(cluster, archive, out))
    assert ended.code == 0, ended.err
    assert hashes(out) == expected
    assert made_by(ended) == {"done": PHOTOS, "skipped": 0, "failed": 0, "remaining": 0}
    assert ended.err.count("of the cluster") == 2, "both nodes worked"
    assert sorted(path.name for path in (out / ".nsp").iterdir()) == ["lock", "manifest.sqlite"]
    with sqlite3.connect(out / ".nsp" / "manifest.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM photos").fetchone() == (PHOTOS,)
    alone = finish(start("denoise", archive, out, "--json"))
    assert made_by(alone)["skipped"] == PHOTOS, "one machine goes on where a cluster was"


def test_the_photos_of_a_killed_worker_are_made_by_others(
    cluster: Any, archive: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = run(cluster, archive, out)
    until(lambda: made(out) >= 2 and len(workers()) == 2, process)
    os.kill(workers()[0], signal.SIGKILL)
    ended = finish(process)
    assert ended.code == 0, ended.err
    assert "a worker died" in ended.err
    assert hashes(out) == expected
    assert not strays(out)


def test_a_photo_that_kills_its_worker_twice_has_failed(cluster: Any, archive: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20, 3), DEADLY_LEVEL, np.uint8)).save(archive / "01.png")
    out = tmp_path / "out"
    ended = finish(run(cluster, archive, out))
    assert ended.code == 1, ended.err
    assert made_by(ended) == {"done": PHOTOS - 1, "skipped": 0, "failed": 1, "remaining": 0}
    assert "nsp died twice while working on this photo" in ended.err
    assert not strays(out)


def test_a_node_that_goes_away_and_a_driver_that_dies_lose_nothing(
    cluster: Any, archive: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = run(cluster, archive, out)
    until(lambda: made(out) >= 2 and len(workers()) == 2, process)
    (node, *_) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    until(lambda: made(out) >= 6, process)
    process.kill()
    finish(process)
    before = {path.name: path.stat().st_ino for path in out.glob("*.png")}
    assert len(before) < PHOTOS
    add_node(cluster)
    ended = finish(run(cluster, archive, out))
    assert ended.code == 0, ended.err
    assert hashes(out) == expected
    assert {name: (out / name).stat().st_ino for name in before} == before, "nothing was made twice"
    assert not strays(out)


def test_an_interrupt_ends_it_cleanly(cluster: Any, archive: Path, expected: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = run(cluster, archive, out)
    until(lambda: made(out) >= 2, process)
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert ended.code == 130, ended.err
    assert 0 < made_by(ended)["remaining"] < PHOTOS
    assert not strays(out)
    assert finish(run(cluster, archive, out)).code == 0
    assert hashes(out) == expected


class Upheaval:
    """Kills workers, nodes and drivers of runs on a cluster, and looks after each that nothing was lost."""

    def __init__(self, cluster: Any, archive: Path, expected: dict[str, str], folder: Path) -> None:
        self._cluster, self._archive, self._expected, self._folder = cluster, archive, expected, folder
        self._originals = hashes(archive)
        self._random = random.Random(5)
        self._made: dict[str, int] = {}
        self._outs = 0
        self._process: subprocess.Popen[str] | None = None
        self.killed = {"worker": 0, "node": 0, "driver": 0}

    @property
    def _out(self) -> Path:
        return self._folder / f"out{self._outs}"

    def kill(self) -> None:
        """Let a run work for a while, and kill part of it."""
        process = self._at_work()
        time.sleep(self._random.uniform(0, 2.5))
        kind = self._random.choice(["worker", "worker", "node", "driver"])
        if process.poll() is not None:
            return
        if kind == "driver":
            process.kill()
            finish(process)
        elif kind == "worker" and (pids := workers()):
            os.kill(self._random.choice(pids), signal.SIGKILL)
        elif kind == "node":
            self._cluster.remove_node(self._cluster.worker_nodes.copy().pop(), allow_graceful=False)
            add_node(self._cluster)
        else:
            return
        self.killed[kind] += 1
        self._require_all_well()

    def complete(self) -> None:
        """Let the next runs complete."""
        if self._process:
            finish(self._process)
        for _ in range(2):  # the first may be the one that learns of a death
            last = finish(run(self._cluster, self._archive, self._out, "--retry-failed"))
        assert last.code == 0, last.err
        assert hashes(self._out) == self._expected
        assert not strays(self._out)
        self._require_all_well()

    def _at_work(self) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            if self._process:
                ended = finish(self._process)
                assert ended.code in (0, 1, -signal.SIGKILL), ended.err
            if hashes(self._out) == self._expected:
                self._outs, self._made = self._outs + 1, {}
            self._process = run(self._cluster, self._archive, self._out, "--retry-failed")
            before, process = made(self._out), self._process
            # On a busy machine Ray starts a worker in a minute or two.
            until(lambda: made(self._out) > before or process.poll() is not None, None, 900)
        return self._process

    def _require_all_well(self) -> None:
        assert hashes(self._archive) == self._originals
        whole = {name: digest for name, digest in hashes(self._out).items() if "nsp-part" not in name}
        assert whole.items() <= self._expected.items(), "a name that exists is a finished, valid file"
        inodes = {name: (self._out / name).stat().st_ino for name in whole}
        assert self._made.items() <= inodes.items(), "what was made is there, and was not made twice"
        self._made = inodes


@pytest.mark.timeout(3600)
def test_fifty_kills_of_workers_nodes_and_drivers_lose_nothing(
    cluster: Any, archive: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    upheaval = Upheaval(cluster, archive, expected, tmp_path)
    while sum(upheaval.killed.values()) < KILLS:
        upheaval.kill()
    upheaval.complete()
    assert min(upheaval.killed.values()) > 3
