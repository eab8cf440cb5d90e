"""Workers of one machine share its memory: what is free, and what --memory allows."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from batch_runs import save_photo
from fake_engine import fake_profile, fake_sources

from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.publish import Owner
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.workers import worker as module
from nsp_pipeline.batch.workers.shared_folders import Proof
from nsp_pipeline.batch.workers.worker import Done, PhotoWorker, WorkerSetup
from nsp_pipeline.machine import memory

WIDTH, HEIGHT = 200, 100
HELD = 4 * 4 * WIDTH * HEIGHT
"""Bytes that such a photo, a PNG which may have transparency, takes at its fullest."""


class InMemory:
    """Counts photos between the beginning of their reading and the end of their writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self._now = 0
        self._guard = threading.Lock()
        read, write = module.read_photo, module.write_partial

        def reading(*args: Any) -> Any:
            with self._guard:
                self._now += 1
                self.most = max(self.most, self._now)
            time.sleep(0.1)
            return read(*args)

        def writing(*args: Any) -> Any:
            written = write(*args)
            with self._guard:
                self._now -= 1
            return written

        monkeypatch.setattr(module, "read_photo", reading)
        monkeypatch.setattr(module, "write_partial", writing)


@pytest.mark.parametrize(("beside", "at_once"), [(1, 2), (4, 1)])
def test_of_four_workers_each_has_a_quarter_of_what_one_alone_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: int, at_once: int
) -> None:
    monkeypatch.setattr(memory, "_sharers", 1)
    watched, profile = InMemory(monkeypatch), fake_profile()
    proof = Proof(tmp_path, tmp_path / "token", "", ())
    setup = WorkerSetup(
        RunSettings(memory=2 * HELD), fake_sources(), {profile.sha256: profile}, Owner("0" * 8, 0), "", proof, beside
    )
    worker = PhotoWorker(setup)
    jobs = [
        Job(save_photo(tmp_path / f"{name}.png", 1, (WIDTH, HEIGHT)), tmp_path / "out" / f"{name}.png", f"{name}.png")
        for name in "abc"
    ]
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda job: worker.make(job, profile.sha256, ""), jobs))
    assert [type(one) for one in made] == [Done] * 3, "a photo larger than its share is made, alone"
    assert watched.most == at_once


def test_what_is_free_is_shared_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_sharers", 1)
    monkeypatch.setattr(memory, "_of_the_machine", lambda root: 8 << 30)
    monkeypatch.setattr(memory, "_of_the_address_space", lambda root: None)
    monkeypatch.setattr(memory, "group_folders", lambda kind, root: [])
    assert memory.available_memory() == 8 << 30
    memory.share_memory(4)
    assert memory.available_memory() == 2 << 30
