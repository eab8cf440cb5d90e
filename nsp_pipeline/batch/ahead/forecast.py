"""What a run will take: photos, megapixels, time and disk, by profile."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nsp_pipeline.batch.ahead.probe import Probe, probe
from nsp_pipeline.batch.ahead.workload import Workload, rough_megapixels
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import EnginePool, engine_pool
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.errors import NspError
from nsp_pipeline.frames.sniff import FOREIGN_SUFFIXES, RAW_SUFFIXES
from nsp_pipeline.frames.write import OutputKind

MOST_TRIED = 3
"""Photos of one profile and kind that are tried before it is given up."""
LOSSLESS = (OutputKind.TIFF, OutputKind.PNG, OutputKind.DNG)
TIFF_MEGABYTES = 6.0
"""For a megapixel: three numbers of 16 bits."""
LOSSY_MEGABYTES = 0.6
LARGER = {"denoise": 1, "sr": 4, "sr-direct": 4}


@dataclass(frozen=True)
class Share:
    """The photos of one profile. Seconds and bytes are None where they could not be found out."""

    profile: str
    photos: int
    megapixels: float
    seconds: float | None
    bytes: float | None


@dataclass(frozen=True)
class Forecast:
    """A run before it begins; `free` are the bytes free where OUTPUT is to be, `trouble` why a time is not known."""

    shares: tuple[Share, ...]
    free: int | None
    trouble: str | None = None

    @property
    def seconds(self) -> float | None:
        """Of all profiles; None where one is not known."""
        return _sum([share.seconds for share in self.shares])

    @property
    def bytes(self) -> float | None:
        """Of all profiles; None where one is not known."""
        return _sum([share.bytes for share in self.shares])

    @property
    def is_too_much(self) -> bool:
        """Whether there is less room on the disk than will be needed."""
        return self.free is not None and self.bytes is not None and self.bytes > self.free


def forecast(
    tasks: Sequence[Task], root: Path, settings: RunSettings, sources: Sources, say: Callable[[str], None]
) -> Forecast:
    """Try a piece of a photo of each profile and kind on the real engine, which takes seconds, and sum up.

    Args:
        tasks: the photos that would be made.
        say: takes a line where an engine has to be built first.
    """
    work = Workload(tasks, {task.job.key for task in tasks})
    work.read()
    groups: dict[str, dict[str, list[Task]]] = defaultdict(lambda: defaultdict(list))
    for task in tasks:
        if task.profile:
            groups[task.profile.name][task.job.input.suffix.lower()].append(task)
    shares, trouble = [], None
    ahead = partial(rough_megapixels, tasks, again=True)
    with engine_pool(settings, sources, say, ahead=ahead) as engines:
        for name, kinds in groups.items():
            seconds, size = list[float | None](), list[float | None]()
            for own in kinds.values():
                tried, reason = _tried(own, settings, engines)
                trouble = trouble or reason
                sizes = [work.megapixels(task.job.name) for task in own]
                seconds.append(sum(map(tried.seconds, sizes)) if tried else None)
                size.append(sum(map(tried.bytes, sizes)) if tried else None)
            photos = [task for own in kinds.values() for task in own]
            megapixels = sum(work.megapixels(task.job.name) for task in photos)
            shares.append(Share(name, len(photos), megapixels, _sum(seconds), _sum(size)))
    return Forecast(tuple(shares), free_bytes(root), trouble)


def rough_bytes(tasks: Sequence[Task], work: Workload, mode: str) -> float:
    """What outputs will take at most, without trying: as much as their photos, or by their pixels for other kinds."""
    total = 0.0
    for task in tasks:
        own = task.job.input.suffix.lower() not in RAW_SUFFIXES | FOREIGN_SUFFIXES and task.job.kind is OutputKind.KEEP
        if own:
            size = work.length(task.job.name)
        else:
            lossless = task.job.kind in (*LOSSLESS, OutputKind.KEEP)
            size = work.megapixels(task.job.name) * (TIFF_MEGABYTES if lossless else LOSSY_MEGABYTES) * 1e6
        total += size * LARGER[mode]
    return total


def free_bytes(root: Path) -> int | None:
    """What is free on the disk of OUTPUT, which need not be there yet; None where that cannot be told."""
    for folder in (root.absolute(), *root.absolute().parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


def _tried(tasks: Sequence[Task], settings: RunSettings, engines: EnginePool) -> tuple[Probe | None, str | None]:
    """A probe of one of the photos, or why there is none."""
    reason = None
    for task in tasks[:MOST_TRIED]:
        try:
            assert task.profile is not None
            return probe(task, settings, engines.get(task.profile)), None
        except (NspError, OSError) as error:
            reason = str(error)
    return None, reason


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
