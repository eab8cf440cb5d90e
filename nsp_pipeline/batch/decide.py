"""What to do with one photo: make it, skip it, or say why not; from the disk as it is and the record of before."""

import os
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.manifest import Row, Stamp, Status
from nsp_pipeline.batch.plan import Job, printable

NOT_OURS = "exists already and was not written by nsp (or was changed since); --overwrite replaces it"


class Action(StrEnum):
    """What to do with a photo."""

    MAKE = "make"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class Wanted:
    """What a finished photo must have been made with to be skipped; `precision` None: any will do."""

    settings: str
    profile_sha256: str
    precision: str | None = None


@dataclass(frozen=True)
class Decision:
    """The action and its reason in words; `known` is the record brought up to date where only times or places moved."""

    action: Action
    reason: str
    known: Row | None = None


def decide(job: Job, row: Row | None, wanted: Wanted, *, overwrite: bool, retry_failed: bool) -> Decision:
    """Decide on a photo.

    Sizes and times are compared first; where only the time differs, the content's hash is the arbiter.
    `overwrite` replaces outputs that are not ours; what is ours and still matches is skipped all the same, so that
    the same command continues a run.
    """
    source = stamp(job.input)
    known = _same_input(job, row, source)
    settled = _matches(known, wanted)
    if (
        known
        and settled
        and known.status == Status.FAILED
        and known.lasting
        and known.version == __version__
        and not retry_failed
    ):
        return Decision(Action.FAIL, f"{known.error} (failed before; --retry-failed tries again)", known)
    if not os.path.lexists(job.output):
        return Decision(Action.MAKE, "its output is gone" if row and row.status == Status.DONE else "new")
    if job.output.is_dir():
        return Decision(Action.FAIL, f"a folder stands where its output should be: {printable(job.output)}")
    ours = our_output(job.output, row)
    if row is None or ours is None:
        return Decision(Action.MAKE, "replaces a file") if overwrite else Decision(Action.FAIL, NOT_OURS)
    if known is None and row.input != absolute_name(job.input) and not overwrite:
        reason = f"its output is the result of another photo, {row.input}; --overwrite replaces it"
        return Decision(Action.FAIL, reason)
    if known is None:
        return Decision(Action.MAKE, "the photo changed")
    if not settled:
        return Decision(Action.MAKE, "settings or profile changed")
    if known.status != Status.DONE:
        return Decision(Action.MAKE, "failed before")
    known = replace(known, output_mtime_ns=ours.mtime_ns)
    return Decision(Action.SKIP, "already done", known)


def absolute_name(path: Path) -> str:
    """A photo as the manifest names it: its absolute path, links not resolved."""
    return printable(os.path.abspath(path))  # noqa: PTH100


def stamp(path: Path) -> Stamp | None:
    """Size and time of a file; None where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content; raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _same_input(job: Job, row: Row | None, source: Stamp | None) -> Row | None:
    """The record, if it is of this very photo; with the photo's present place and time."""
    if row is None or source is None or row.input_sha256 is None or row.input_size != source.size:
        return None
    name = absolute_name(job.input)
    unmoved = row.input == name and row.input_mtime_ns == source.mtime_ns
    if not unmoved and _hash_or_none(job.input) != row.input_sha256:
        return None
    return replace(row, input=name, input_mtime_ns=source.mtime_ns)


def our_output(path: Path, row: Row | None) -> Stamp | None:
    """The stamp of a file that stands at an output's place, if it is the one that the record speaks of."""
    recorded = row.output_stamp if row else None
    present = stamp(path)
    if recorded is None or present is None or present.size != recorded.size:
        return None
    if present.mtime_ns != recorded.mtime_ns and _hash_or_none(path) != recorded.sha256:
        return None
    return present


def _matches(row: Row | None, wanted: Wanted) -> bool:
    return (
        row is not None
        and (row.settings, row.profile_sha256) == (wanted.settings, wanted.profile_sha256)
        and wanted.precision in (None, row.precision)
    )


def _hash_or_none(path: Path) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None
