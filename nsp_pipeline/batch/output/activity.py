"""What a run is doing at this moment: a small file in OUTPUT/.nsp, for `nsp status` and for the run after a death.

It is not flushed to the disk: what it is for, the death of the process, leaves it whole. After the loss of power it
may be old or gone, and then no photo is blamed.
"""

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from nsp_pipeline.batch.job import Job, Shard
from nsp_pipeline.batch.outcome import Outcome, Result
from nsp_pipeline.batch.output.lock import OutputLock
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.place import record_folder
from nsp_pipeline.batch.output.up_to_date import stamp
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import printable

NAME = re.compile(r"activity-(\d+)\.json")
WRITE_SECONDS = 0.5
"""Photos that were skipped, thousands in a moment, are written down no more often than this."""


class Activity:
    """A run's file; its methods may be called from any thread."""

    def __init__(self, path: Path, total: int, left: int, *, blames: bool = True) -> None:
        """Begin: `total` photos, of which `left` are to be made as far as the record knows; raises OutputError.

        `blames` is whether the death of this process says something about the photos in work.
        """
        self._path = path
        self._guard = threading.Lock()
        self._in_work: dict[str, dict[str, Any]] = {}
        self._accusing = True
        self._written, self._length = 0.0, 0
        self._facts: dict[str, Any] = {"run": uuid.uuid4().hex, "pid": os.getpid(), "started": time.time()}
        self._facts |= {
            "total": total,
            "left": left,
            "blames": blames,
            "megapixels": 0.0,
            **{str(outcome): 0 for outcome in Outcome},
        }
        with _explained(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._write()

    @classmethod
    @contextmanager
    def of_run(cls, root: Path, shard: Shard | None, total: int, left: int, *, blames: bool = True) -> Iterator[Self]:
        """The file of a run that holds OUTPUT's lock, removed when the run ends, however it does but by death."""
        path = record_folder(root) / f"activity-{shard.index if shard else 0}.json"
        activity = cls(path, total, left, blames=blames)
        try:
            yield activity
        finally:
            os.close(activity._descriptor)
            path.unlink(missing_ok=True)

    def begin_work(self, job: Job) -> None:
        """A photo is read, computed or written from now on; raises OutputError."""
        present = stamp(job.input)
        file = {"size": present.size, "mtime_ns": present.mtime_ns} if present else {"size": None, "mtime_ns": None}
        with self._guard:
            if self._accusing:
                self._in_work[job.key] = {"input": job.name, **file}
                self._write()

    def end_work(self, job: Job) -> None:
        """It is not any more; raises OutputError."""
        with self._guard:
            if self._in_work.pop(job.key, None):
                self._write()

    @contextmanager
    def working_on(self, job: Job) -> Iterator[None]:
        """Between `begin_work` and `end_work`."""
        self.begin_work(job)
        try:
            yield
        finally:
            self.end_work(job)

    def accuse_nobody(self) -> None:
        """The run was asked to end: whatever kills it now, it was no photo."""
        with self._guard:
            self._accusing = False
            self._in_work.clear()
            self._write()

    def count(self, result: Result, left: int) -> None:
        """A photo has come to its end; `left` are to be made; raises OutputError."""
        with self._guard:
            self._facts[str(result.outcome)] += 1
            self._facts["megapixels"] += result.made.megapixels or 0.0
            self._facts["left"] = left
            if result.outcome != Outcome.SKIPPED or time.monotonic() - self._written > WRITE_SECONDS:
                self._write()

    def _write(self) -> None:
        text = json.dumps({**self._facts, "updated": time.time(), "in_work": self._in_work}).encode()
        # In one piece and never shorter than before: whoever reads meanwhile finds a whole document.
        self._length = max(self._length, len(text))
        with _explained(self._path):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text.ljust(self._length))
        self._written = time.monotonic()


def read_activities(root: Path) -> dict[int, dict[str, Any]]:
    """What runs on OUTPUT do, or did when they died, by shard (0: a run over everything)."""
    found = {}
    folder = record_folder(root)
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            try:
                found[int(match[1])] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                # Gone by now, or cut short by the loss of power.
                continue
    return found


def settle_deaths(root: Path, manifest: Manifest, lock: OutputLock) -> None:
    """Count for every photo that it was in work when a run died, and remove the files of dead runs."""
    for index, facts in read_activities(root).items():
        if lock.is_alive(index):
            continue
        blamed = facts["in_work"] if facts.get("blames", True) else {}
        in_work = {key: (file["size"], file["mtime_ns"]) for key, file in blamed.items()}
        manifest.count_deaths(facts["run"], in_work)
        (record_folder(root) / f"activity-{index}.json").unlink(missing_ok=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{printable(path)}: cannot be written: {error.strerror or error}") from error
