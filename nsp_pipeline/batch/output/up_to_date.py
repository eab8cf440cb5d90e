"""What to do with one photo: make it, skip it, or say why not; from the disk as it is and the record of before."""

import os
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.mark import Mark, read_mark
from nsp_pipeline.batch.output.record import Row, Stamp, Status
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.file_names import absolute_name, printable

NOT_OURS = "exists already and was not written by nsp (or was changed since); --overwrite replaces it"
NEW, GONE, CHANGED = "new", "its output is gone", "the photo changed"
RECOGNISED = "recognised by the mark that nsp leaves in its outputs; the manifest knew nothing of it"
"""Why a photo's profile was chosen, where only its output could tell."""


class Action(StrEnum):
    """What to do with a photo."""

    MAKE = "make"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class Wanted:
    """What a finished photo must have been made with to be skipped; `precision` None: any will do."""

    settings: str
    settings_if_damaged: str
    """Of a photo whose picture is damaged."""
    profile_sha256: str
    precision: str | None = None


@dataclass(frozen=True)
class Decision:
    """The action and its reason in words."""

    action: Action
    reason: str
    known: Row | None = None
    """Of a photo to skip: its record, brought up to date where only times or places moved."""
    repeated: bool = False
    """A failure that is on record already."""
    stale: bool = False
    """Of a photo to skip: whether the record does not say so yet."""


def decide(
    job: Job, row: Row | None, unmade: Row | None, wanted: Wanted, *, overwrite: bool, retry_failed: bool
) -> Decision:
    """Decide on a photo, by the record of its output (`row`) and of its last failure (`unmade`).

    Sizes and times are compared first; where only the time differs, the content's hash is the arbiter.
    `overwrite` replaces outputs that are not ours; what is ours and still matches is skipped all the same, so that
    the same command continues a run.
    """
    source, present, recorded = stamp(job.input), _status(job.output), row
    failure = _same_input(job, unmade, source)
    if (
        failure
        and failure.lasting
        and not retry_failed
        and _matches(failure, wanted)
        and failure.version == __version__
    ):
        return Decision(Action.FAIL, f"{failure.error} (failed before; --retry-failed tries again)", repeated=True)
    if present is None and not os.path.lexists(job.output):
        return Decision(Action.MAKE, GONE if row else NEW)
    if present and stat.S_ISDIR(present.st_mode):
        return Decision(Action.FAIL, f"a folder stands where its output should be: {printable(job.output)}")
    ours = _if_ours(job.output, row, _stamp_of(present))
    if ours is None:
        row = _row_of_marked(job)
        ours = stamp(job.output) if row else None
    if row is None or ours is None:
        return Decision(Action.MAKE, "replaces a file") if overwrite else Decision(Action.FAIL, NOT_OURS)
    known = _same_input(job, row, source)
    if known is None and row.input != absolute_name(job.input) and not overwrite:
        other = f", {row.input}" if row.input else ""
        reason = f"its output is the result of another photo{other}; --overwrite replaces it"
        return Decision(Action.FAIL, reason)
    if known is None:
        return Decision(Action.MAKE, CHANGED)
    if not _matches(known, wanted):
        return Decision(Action.MAKE, "settings or profile changed")
    if known.output_mtime_ns != ours.mtime_ns:
        known = replace(known, output_mtime_ns=ours.mtime_ns)
    return Decision(Action.SKIP, "already done", known, stale=known is not recorded or unmade is not None)


def stamp(path: Path) -> Stamp | None:
    """Size and time of a file; None where it cannot be looked at."""
    return _stamp_of(_status(path))


def _stamp_of(status: os.stat_result | None) -> Stamp | None:
    return Stamp(status.st_size, status.st_mtime_ns) if status else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content; raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _same_input(job: Job, row: Row | None, source: Stamp | None) -> Row | None:
    """The record, if it is of this very photo; another one, with the photo's present place and time, if it moved."""
    if row is None or source is None or row.input_sha256 is None or row.input_size not in (None, source.size):
        return None
    name = absolute_name(job.input)
    unmoved = row.input == name and row.input_mtime_ns == source.mtime_ns
    if not unmoved and _hash_or_none(job.input) != row.input_sha256:
        return None
    if unmoved and row.input_size == source.size:
        return row
    return replace(row, input=name, input_size=source.size, input_mtime_ns=source.mtime_ns)


def our_output(path: Path, row: Row | None) -> Stamp | None:
    """The stamp of a file that stands at an output's place, if it is the one that the record speaks of."""
    return _if_ours(path, row, stamp(path))


def _if_ours(path: Path, row: Row | None, present: Stamp | None) -> Stamp | None:
    recorded = row.output_stamp if row else None
    if recorded is None or present is None or present.size != recorded.size:
        return None
    if present.mtime_ns != recorded.mtime_ns and _hash_or_none(path) != recorded.sha256:
        return None
    return present


def marked_output(path: Path, photo_sha256: str | None) -> Mark | None:
    """The mark of a file that stands at an output's place, if it says that nsp made the file from this very photo."""
    mark = read_mark(path)
    return mark if mark and mark.photo == photo_sha256 else None


def _row_of_marked(job: Job) -> Row | None:
    """The record of a finished output, from its mark alone; of an unknown photo, until its content shows which."""
    mark = read_mark(job.output)
    present = stamp(job.output)
    if mark is None or present is None:
        return None
    return Row(
        output=job.key,
        input="",
        status=Status.DONE,
        input_sha256=mark.photo,
        settings=mark.settings,
        profile=mark.profile,
        profile_sha256=mark.profile_sha256,
        why=RECOGNISED,
        version=mark.version,
        output_size=present.size,
        output_mtime_ns=present.mtime_ns,
        output_sha256=_hash_or_none(job.output),
        made=Provenance(precision=mark.precision or None),
    )


def _matches(row: Row, wanted: Wanted) -> bool:
    settings = wanted.settings_if_damaged if row.made.damaged else wanted.settings
    same = (row.settings, row.profile_sha256) == (settings, wanted.profile_sha256)
    # float32 is what every other precision stands for: nobody wants a photo made again to be less exact.
    return same and (wanted.precision is None or row.made.precision in (None, "fp32", wanted.precision))


def _hash_or_none(path: Path) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None
