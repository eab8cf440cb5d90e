"""Photos that would meet in the output: `DSC_1.dng` beside `DSC_1.tif`, `a.jpg` beside `A.JPG`, one accent in two ways.

Some disks do not tell capitals or the spellings of accents apart, so no two outputs may differ in these alone.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path, PurePosixPath

from nsp_pipeline.batch.job import Job, Refused
from nsp_pipeline.batch.output.manifest import Row
from nsp_pipeline.batch.output.up_to_date import hash_file, stamp
from nsp_pipeline.file_names import absolute_name, from_printable, printable

MOST_NAMED = 3
NUMBERED = re.compile(r"(?P<stem>.+)-\d+(?P<suffix>(?:\.[^./]+)?)")


class OnClash(StrEnum):
    """What becomes of photos that would get one name: all of them fail, or all but one get numbers."""

    ERROR = "error"
    NUMBER = "number"


def refuse_clashes(jobs: Sequence[Job]) -> tuple[list[Job], list[Refused]]:
    """Part the jobs into those whose output is theirs alone, and those that would meet, each naming the others."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_disk_name(job.key), []).append(job)
    folders = _folders(jobs)
    kept, refused = [], []
    for job in jobs:
        name = _disk_name(job.key)
        others = [other for other in groups[name] if other is not job]
        if not others and name not in folders:
            kept.append(job)
            continue
        if others:
            both = "both" if len(others) == 1 else "all"
            trouble = f"it and {_named(others)} would {both} become {printable(job.output)}"
        else:
            trouble = f"{printable(job.output)} would be its output, and the folder of other outputs too"
        mend = "--on-name-clash number keeps them apart, or leave one out with --exclude"
        refused.append(Refused(job.input, job.key, f"{trouble}; {mend}"))
    return kept, refused


def number_clashes(jobs: Sequence[Job], root: Path, made: Iterable[Row]) -> list[Job]:
    """Return the jobs with a name of its own for every photo: one keeps its name, others become `name-2`, `name-3`.

    A photo keeps the name that an earlier run gave it (`made`, the manifest's records), whatever came or went since;
    a name that belongs to the result of a photo that is not here now is not given away. The rest is settled by the
    photos' own names, so that all shards come to the same, also while the others are at work.

    Returns the jobs in their order.
    """
    settled = _Names(_folders(jobs))
    rows = list(made)
    earlier = _by_plain_name(rows)
    ordered = sorted(jobs, key=_precedence)
    for job in ordered:
        own = (row for row in _own_rows(job, earlier.get(_disk_name(job.key), [])) if settled.is_free(row.output))
        if row := next(own, None):
            settled.give(job, row.output)
    for row in rows:
        if settled.is_free(row.output) and os.path.lexists(root / from_printable(row.output)):
            settled.reserve(row.output)
    left = [job for job in ordered if not settled.has(job)]
    for job in left:
        if settled.is_free(job.key):
            settled.give(job, job.key)
    for job in left:
        number = 2
        while not settled.has(job):
            if settled.is_free(key := _numbered(job.key, number)):
                settled.give(job, key)
            number += 1
    return [settled.renamed(job, root) for job in jobs]


class _Names:
    """Which output names are given, and to which photo."""

    def __init__(self, folders: set[str]) -> None:
        self._taken = set(folders)
        self._keys: dict[Job, str] = {}

    def is_free(self, key: str) -> bool:
        return _disk_name(key) not in self._taken

    def has(self, job: Job) -> bool:
        return job in self._keys

    def reserve(self, key: str) -> None:
        self._taken.add(_disk_name(key))

    def give(self, job: Job, key: str) -> None:
        self.reserve(key)
        self._keys[job] = key

    def renamed(self, job: Job, root: Path) -> Job:
        key = self._keys[job]
        return job if key == job.key else replace(job, key=key, output=root / from_printable(key))


def _named(jobs: Sequence[Job]) -> str:
    more = f" and {len(jobs) - MOST_NAMED} more" if len(jobs) > MOST_NAMED else ""
    return ", ".join(job.name for job in jobs[:MOST_NAMED]) + more


def _folders(jobs: Iterable[Job]) -> set[str]:
    """The names of all folders that the outputs lie in."""
    keys = {job.key.rpartition("/")[0] for job in jobs}
    return {_disk_name(str(way)) for key in keys for way in (PurePosixPath(key), *PurePosixPath(key).parents)}


def _precedence(job: Job) -> tuple[bool, str, str]:
    """Who keeps the name: a photo that is called so itself, then by the alphabet."""
    return printable(job.input.name) != PurePosixPath(job.key).name, job.input.name, absolute_name(job.input)


def _by_plain_name(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Records by the name that their photo would have without a number, where it may have one."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(_disk_name(row.output), []).append(row)
        if match := NUMBERED.fullmatch(row.output):
            families.setdefault(_disk_name(match["stem"] + match["suffix"]), []).append(row)
    return families


def _own_rows(job: Job, rows: Sequence[Row]) -> list[Row]:
    """The records that are of this very photo, also where the archive has moved since."""
    name = absolute_name(job.input)
    if own := [row for row in rows if row.input == name]:
        return own
    present = stamp(job.input)
    moved = [row for row in rows if present and row.input_size == present.size and _was_moved(row, job.input)]
    if not moved:
        return []
    try:
        digest = hash_file(job.input)
    except OSError:
        return []
    return [row for row in moved if row.input_sha256 == digest]


def _was_moved(row: Row, photo: Path) -> bool:
    """Whether a record may be of this photo in a place where it is no more."""
    before = from_printable(row.input)
    return Path(before).name == photo.name and not os.path.lexists(before)


def _numbered(key: str, number: int) -> str:
    path = PurePosixPath(key)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def _disk_name(key: str) -> str:
    if key.isascii():
        return key.lower()  # nearly all, and a plan has many thousands
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())
