"""What a run will do: from INPUT... OUTPUT to a list of jobs, with everything refused that can be refused up front.

The tree below a folder is kept. One folder fills OUTPUT itself; of several INPUTs each folder keeps its own name
below OUTPUT, and single files go to OUTPUT directly. Nothing is written here.
"""

import os
import stat
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path, PurePosixPath

from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.sniff import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, RAW_SUFFIXES
from nsp_pipeline.frames.write import OutputKind, output_suffix

RECORD_FOLDER = ".nsp"
"""Where a run keeps its manifest, lock and error log, below OUTPUT."""

KIND_OF_SUFFIX = {
    ".jpg": OutputKind.JPEG,
    ".jpeg": OutputKind.JPEG,
    ".jpe": OutputKind.JPEG,
    ".png": OutputKind.PNG,
    ".tif": OutputKind.TIFF,
    ".tiff": OutputKind.TIFF,
}
MOST_SHARDS = 1000
MOST_NAMED = 5


@dataclass(frozen=True)
class Job:
    """One photo to make: `key` is the output below the plan's root, with slashes, and names it in the manifest."""

    input: Path
    output: Path
    key: str
    kind: OutputKind = OutputKind.KEEP

    @property
    def name(self) -> str:
        """The input's path in words fit for a terminal."""
        return printable(self.input)


@dataclass(frozen=True)
class Refused:
    """Something found that looks like a photo and cannot be one of ours, and why."""

    input: Path
    key: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`: photos are dealt out by a hash of their relative path."""

    index: int
    count: int

    def takes(self, key: str) -> bool:
        """Whether this shard does that photo; the same on every machine."""
        return int.from_bytes(sha256(key.encode()).digest()[:8], "big") % self.count == self.index - 1


@dataclass(frozen=True)
class PlanRules:
    """What is looked at and what it becomes.

    Globs are matched without regard to case against a file's path below its INPUT and against its name; `*` spans
    folders. A folder that `exclude` matches is not entered. Without `include`, everything is included.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    kind: OutputKind = OutputKind.KEEP
    suffix: str = ""
    shard: Shard | None = None

    def admits(self, relative: str) -> bool:
        """Whether a file at this path below its INPUT is wanted."""
        return (not self.include or _matches(relative, self.include)) and not _matches(relative, self.exclude)


@dataclass(frozen=True)
class Plan:
    """All jobs of a run; `root` is the folder that holds the outputs and the record of the run."""

    root: Path
    jobs: tuple[Job, ...]
    refused: tuple[Refused, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    """How many files of each suffix are no photos."""


@dataclass(frozen=True)
class _Found:
    """A file met in the inputs: `relative` to its INPUT (for globs), `below` the output folder (for its place)."""

    path: Path
    relative: str
    below: PurePosixPath
    explicit: bool


def make_plan(inputs: Sequence[Path], output: Path, rules: PlanRules) -> Plan:
    """Plan a run.

    Raises:
        UsageError: an INPUT does not exist, two photos would get one name, OUTPUT lies in an INPUT that does not
            exclude it, or a photo would be written over.
    """
    for path in inputs:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(path)}: there is no such file or folder")
    single = _single_file_target(inputs, output, rules)
    if single is None and output.exists() and not output.is_dir():
        raise UsageError(f"{printable(output)}: OUTPUT is a file; it must be a folder for these INPUTs")
    _refuse_output_within_input(inputs, output, rules)
    root = output.parent if single else output
    jobs: list[Job] = []
    refused: list[Refused] = []
    ignored: Counter[str] = Counter()
    for found in _find(inputs, rules, refused):
        suffix = found.path.suffix.lower()
        if not rules.admits(found.relative):
            continue
        if reason := _not_a_regular_file(found.path):
            if found.explicit or suffix in PHOTO_SUFFIXES:
                refused.append(Refused(found.path, _key(found.below), reason))
        elif found.explicit or suffix in PHOTO_SUFFIXES:
            jobs.append(single or _job(found, output, rules))
        elif suffix in OTHER_IMAGE_SUFFIXES:
            refused.append(Refused(found.path, _key(found.below), f"format not supported ({suffix})"))
        else:
            ignored[suffix or "no suffix"] += 1
    jobs = list(dict.fromkeys(jobs))
    _refuse_collisions(jobs)
    _refuse_overwriting_inputs(jobs, [entry.input for entry in refused])
    if rules.shard:
        jobs = [job for job in jobs if rules.shard.takes(job.key)]
        refused = [entry for entry in refused if rules.shard.takes(entry.key)]
    return Plan(root, tuple(jobs), tuple(refused), dict(ignored))


def printable(path: Path | str) -> str:
    """A path as text that every terminal, log and database takes: odd bytes and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _key(below: PurePosixPath) -> str:
    return os.fsencode(str(below)).decode("utf-8", "backslashreplace")


def _matches(relative: str, globs: Iterable[str]) -> bool:
    path = relative.lower()
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(path, glob.lower().rstrip("/")) or fnmatchcase(name, glob.lower().rstrip("/")) for glob in globs
    )


def _single_file_target(inputs: Sequence[Path], output: Path, rules: PlanRules) -> Job | None:
    """The one job where OUTPUT is a file: INPUT is one file, and OUTPUT ends in a picture's suffix and is no folder."""
    suffix = output.suffix.lower()
    is_picture = suffix in PHOTO_SUFFIXES | OTHER_IMAGE_SUFFIXES
    if len(inputs) != 1 or inputs[0].is_dir() or output.is_dir() or not is_picture:
        return None
    kind = KIND_OF_SUFFIX.get(suffix)
    if kind is None:
        raise UsageError(f"{printable(output)}: nsp does not write {suffix}; it writes .jpg, .png and .tif")
    if rules.kind not in (OutputKind.KEEP, kind):
        raise UsageError(f"{printable(output)}: the name asks for {kind}, --format for {rules.kind}")
    if rules.suffix:
        raise UsageError(f"--suffix goes with an OUTPUT folder; {printable(output)} is a file's name already")
    return Job(inputs[0], output, _key(PurePosixPath(output.name)), kind)


def _job(found: _Found, output: Path, rules: PlanRules) -> Job:
    name = found.path.stem + rules.suffix + output_suffix(found.path, rules.kind)
    below = found.below.with_name(name)
    # What is called RAW becomes a .tif by name, so it must be one by content, whatever it was.
    is_raw = found.path.suffix.lower() in RAW_SUFFIXES
    kind = OutputKind.TIFF if is_raw and rules.kind is OutputKind.KEEP else rules.kind
    return Job(found.path, output / below, _key(below), kind)


def _find(inputs: Sequence[Path], rules: PlanRules, refused: list[Refused]) -> Iterator[_Found]:
    """Yield every file of the inputs; folders that cannot be read are added to `refused`."""
    for path in inputs:
        if path.is_dir():
            under = PurePosixPath(path.resolve().name if len(inputs) > 1 else "")
            for file, relative in _walk(path, rules, refused):
                yield _Found(file, relative, under / relative, explicit=False)
        else:
            yield _Found(path, path.name, PurePosixPath(path.name), explicit=True)


def _walk(folder: Path, rules: PlanRules, refused: list[Refused]) -> Iterator[tuple[Path, str]]:
    """Yield (file, path below `folder`) in a stable order, entering every real folder once.

    Links to folders wait until all real ones are done, so that photos keep their own place rather than a link's, and
    a link back up the tree leads nowhere.
    """
    seen: set[tuple[int, int]] = set()
    waiting = deque([(folder, "")])
    links: deque[tuple[Path, str]] = deque()
    while waiting or links:
        current, relative = waiting.popleft() if waiting else links.popleft()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror or error}"
            refused.append(Refused(current, _key(PurePosixPath(relative or ".")), reason))
            continue
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield current / entry.name, path
            elif rules.recursive and not _matches(path, rules.exclude):
                (links if entry.is_symlink() else waiting).append((current / entry.name, path))


def _not_a_regular_file(path: Path) -> str | None:
    """Why a path is nothing to open (a pipe would block for ever); None for files, and for what is gone by now."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"
    return None if stat.S_ISREG(mode) else "not a regular file"


def _refuse_output_within_input(inputs: Sequence[Path], output: Path, rules: PlanRules) -> None:
    target = output.resolve()
    for folder in (path for path in inputs if path.is_dir()):
        source = folder.resolve()
        if target == source:
            raise UsageError(f"{printable(output)}: OUTPUT is also an INPUT; originals are never written over")
        if not target.is_relative_to(source):
            continue
        below = target.relative_to(source)
        ways = [part.as_posix() for part in (below, *below.parents) if part != Path()]
        if not any(_matches(way, rules.exclude) or _matches(f"{way}/\0", rules.exclude) for way in ways):
            raise UsageError(
                f"{printable(output)}: OUTPUT lies inside the INPUT {printable(folder)}, so the next run would take "
                f"its results for photos; put it elsewhere, or add --exclude '{below.as_posix()}'"
            )


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    """Refuse two photos with one output, also where a disk does not tell capitals or accents' spellings apart."""
    taken: dict[str, Job] = {}
    pairs = [(other, job) for job in jobs if (other := taken.setdefault(_disk_name(job.key), job)) is not job]
    if pairs:
        shown = [f"{a.name} and {b.name} would both become {printable(b.output)}" for a, b in pairs[:MOST_NAMED]]
        more = f"; so would {len(pairs) - MOST_NAMED} more pairs" if len(pairs) > MOST_NAMED else ""
        raise UsageError(f"{'; '.join(shown)}{more}; leave some out with --exclude, or use different OUTPUT folders")
    for job in jobs:
        for parent in PurePosixPath(job.key).parents:
            if blocking := taken.get(_disk_name(str(parent))):
                raise UsageError(
                    f"{blocking.name} would become a file where {job.name} needs a folder: {printable(blocking.output)}"
                )


def _disk_name(key: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())


def _refuse_overwriting_inputs(jobs: Sequence[Job], others: Sequence[Path]) -> None:
    """Refuse outputs that are an input, by whatever name or link they go."""
    originals: dict[tuple[int, int], Path] = {}
    for path in (*(job.input for job in jobs), *others):
        if status := _status(path):
            originals[status.st_dev, status.st_ino] = path
    for job in jobs:
        status = _status(job.output)
        if status and (original := originals.get((status.st_dev, status.st_ino))):
            raise UsageError(
                f"{printable(job.output)}: this output of {job.name} is the photo {printable(original)} itself; "
                "originals are never written over: choose another OUTPUT, or --suffix"
            )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
