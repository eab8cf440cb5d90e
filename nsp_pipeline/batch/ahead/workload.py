"""How much a run has before it, in megapixels: from the photos' headers, read beside the work."""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.errors import NspError
from nsp_pipeline.frames.frame import Facts
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.frames.sniff import RAW_SUFFIXES
from nsp_pipeline.profiles.bundle import Profile

LOSSLESS_RATIO = 0.4
"""Megapixels for a megabyte of file, where no other file of its kind has said better."""
LOSSY_RATIO = 2.0
RAW_RATIO = 0.9
LOSSLESS_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
TIFF_MAGICS = (b"II*\0", b"MM\0*")


class Workload:
    """The photos of a run that are to be made as far as the record knows, and what their headers say.

    A context manager: within it, headers that are not known yet are read in a thread of its own.
    """

    def __init__(self, tasks: Sequence[Task], unfinished: Collection[str]) -> None:
        wanted = [task for task in tasks if task.job.key in unfinished and task.profile]
        self.names = tuple(task.job.name for task in wanted)
        self._bytes = {task.job.name: _size_of(task.job.input) for task in wanted}
        self._facts: dict[str, Facts] = {task.job.name: task.facts for task in wanted if task.facts}
        self._known: dict[str, float] = {}
        self._sums: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self._guard = threading.Lock()
        self._ending = threading.Event()
        self._unread = [task.job.input for task in wanted if not task.facts]
        self._names = {task.job.input: task.job.name for task in wanted}
        for name, facts in list(self._facts.items()):
            self._note(name, facts)
        self._thread = threading.Thread(target=self.read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def facts(self, name: str) -> Facts | None:
        """What a photo's header says; None where that is not known, or not yet."""
        return self._facts.get(name)

    def megapixels(self, name: str) -> float:
        """Of a photo: what its header says, else what files of its kind and length have."""
        with self._guard:
            if name in self._known:
                return self._known[name]
            suffix = Path(name).suffix.lower()
            megapixels, length = self._sums[suffix]
            ratio = megapixels / length if length else _usual_ratio(suffix)
            return ratio * self._bytes.get(name, 0.0) / 1e6

    def learn(self, name: str, megapixels: float) -> None:
        """Take in what a photo turned out to have."""
        with self._guard:
            if name in self._known:
                return
            self._known[name] = megapixels
            suffix = Path(name).suffix.lower()
            total, length = self._sums[suffix]
            self._sums[suffix] = total + megapixels, length + self._bytes.get(name, 0.0) / 1e6

    def length(self, name: str) -> float:
        """Bytes of a photo's file."""
        return self._bytes.get(name, 0.0)

    def read(self) -> None:
        """Read the headers that are not known yet; within the context a thread does."""
        for path in self._unread:
            if self._ending.is_set():
                return
            try:
                if _is_cheap(path):
                    self._note(self._names[path], read_facts(path))
            except (NspError, OSError):
                # Its turn will come, and then it is said.
                continue

    def _note(self, name: str, facts: Facts) -> None:
        self._facts[name] = facts
        if facts.size:
            self.learn(name, facts.size[0] * facts.size[1] / 1e6)


def rough_megapixels(tasks: Iterable[Task], profile: Profile, *, again: bool = False) -> float:
    """About how many megapixels a profile has before it: what headers said, else by the length of files.

    Args:
        again: whether photos that have an output count as well.
    """
    mine = (task for task in tasks if task.profile and task.profile.sha256 == profile.sha256)
    return sum(_rough_size(task) for task in mine if again or not task.job.output.exists())


def _rough_size(task: Task) -> float:
    """Megapixels of a photo, whose header may have been read."""
    if task.facts and task.facts.size:
        return task.facts.size[0] * task.facts.size[1] / 1e6
    path = task.job.input
    return _usual_ratio(path.suffix.lower()) * _size_of(path) / 1e6


def _usual_ratio(suffix: str) -> float:
    """Megapixels for a megabyte of such files."""
    if suffix in RAW_SUFFIXES:
        return RAW_RATIO
    return LOSSLESS_RATIO if suffix in LOSSLESS_SUFFIXES else LOSSY_RATIO


def _is_cheap(path: Path) -> bool:
    """Whether the header can be read without a process of LibRaw's."""
    if path.suffix.lower() not in RAW_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGICS


def _size_of(path: Path) -> float:
    try:
        return float(path.stat().st_size)
    except OSError:
        return 0.0
