"""What the next run of the same command would make again, and why; from the record and the files as they are now."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from nsp_pipeline.batch.assign import AS_ASKED
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.output.up_to_date import CHANGED, NEW, RECOGNISED, Action, Wanted, decide
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.file_names import from_printable
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.profiles.choose import choose_profile, user_entries

OTHER_SETTINGS = "the last run had other settings or another profile"
AGAIN = "failed for a reason that may be gone by now"
FITS_NOW = "a profile made for its camera and ISO is there now"


@dataclass(frozen=True)
class Due:
    """One photo that the next run would make, and why."""

    input: str
    output: str
    reason: str


def what_is_due(
    root: Path, made: Iterable[Row], latest: Iterable[Row], wanted: Collection[tuple[str, str]]
) -> list[Due]:
    """Say which photos on record the next run would make; contents are read only where times alone differ.

    Photos that are gone are none of them, and neither are failures that would come again. Of photos that no run has
    seen yet the record knows nothing. Where the user has profiles, photos whose profile was chosen are asked for their
    camera: a profile may have come for it since, or a name in the user's table of names.

    Args:
        root: OUTPUT.
        made: records of all finished outputs.
        latest: one record of every photo, see standing.py.
        wanted: hashes of settings and profile that the last run worked with; empty: not known, and taken for the same.
    """
    by_output = {row.output: row for row in made}
    some_fit = any(entry.spec for entry in user_entries())
    due = []
    for row in latest:
        failed = row if row.status is Status.FAILED else None
        if some_fit and not failed and _has_a_profile_now(row):
            due.append(Due(row.input, row.output, FITS_NOW))
            continue
        # What was refused for its name or its format, before any profile was looked for, would be refused again.
        if row.status is Status.LEFT_OUT or (failed and not row.why):
            continue
        if reason := _why_again(root, row, by_output.get(row.output), failed, wanted):
            again = CHANGED if row.lasting else AGAIN
            due.append(Due(row.input, row.output, again if failed and reason == NEW else reason))
    return due


def _why_again(
    root: Path, row: Row, made: Row | None, unmade: Row | None, wanted: Collection[tuple[str, str]]
) -> str | None:
    """Why the photo of `row` is made by the next run; None where it is not."""
    if not _is_there(row.input):
        return None
    same = not wanted or (row.settings, row.profile_sha256) in wanted
    as_it_is = Wanted(row.settings or "", row.settings or "", row.profile_sha256 or "")
    job = Job(Path(from_printable(row.input)), root / from_printable(row.output), row.output)
    decision = decide(job, made, unmade, as_it_is, overwrite=False, retry_failed=False)
    if decision.action == Action.MAKE:
        return decision.reason
    return OTHER_SETTINGS if not same and (decision.action == Action.SKIP or decision.repeated) else None


def _has_a_profile_now(row: Row) -> bool:
    """Whether `auto` takes another profile for a photo now, one that was made for its camera and ISO."""
    if not row.why or row.why in (AS_ASKED, RECOGNISED):
        return False
    try:
        camera = read_facts(Path(from_printable(row.input))).camera
        chosen = choose_profile(camera, on_missing="skip").profile
    except (PhotoError, UsageError):  # the next run tells of it
        return False
    return chosen is not None and chosen.sha256 != row.profile_sha256


def _is_there(printed: str) -> bool:
    return os.path.lexists(from_printable(printed))
