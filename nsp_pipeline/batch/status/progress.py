"""How far OUTPUT is: what its manifest says, what runs do there at this moment, and whether the outputs still exist."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from nsp_pipeline.batch.outcome import Outcome
from nsp_pipeline.batch.output.activity import read_activities
from nsp_pipeline.batch.output.finished import finished_photos
from nsp_pipeline.batch.output.lock import is_running, running_shards
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.status.next_run import Due, what_is_due
from nsp_pipeline.batch.status.standing import where_they_stand
from nsp_pipeline.file_names import from_printable, printable

Item = TypeVar("Item")


@dataclass(frozen=True)
class Tally:
    """One run, or several shards together, in numbers that add up: total = done + skipped + failed + all that is left.

    While it runs, `remaining` are still to be made; of a run that is over, those it did not come to. `unchecked` were
    finished before and are not looked at yet, or were not.
    """

    total: int
    done: int
    skipped: int
    failed: int
    remaining: int
    unchecked: int

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Pace:
    """How fast runs at work are. `seconds_left` is None before each has made its first photo."""

    photos_per_hour: float
    megapixels_per_hour: float
    seconds_left: float | None
    in_work: tuple[str, ...]
    """Photos that are read, computed or written now."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, with as many digits as mean something."""
        return {
            "photos_per_hour": round(self.photos_per_hour, 1),
            "megapixels_per_hour": round(self.megapixels_per_hour, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left, 1),
            "in_work": list(self.in_work),
        }


@dataclass(frozen=True)
class Progress:
    """All of OUTPUT."""

    output: str
    running: bool | None
    """None where that cannot be told without writing."""
    counts: Mapping[str, int]
    """Photos by status, each counted once."""
    gone: tuple[str, ...]
    """Outputs that were made and are not there any more, by their paths below OUTPUT."""
    damaged: tuple[Row, ...]
    """Photos that were made of what could be read of them (--damaged keep)."""
    earlier: tuple[str, ...]
    """Outputs of these photos that earlier runs made otherwise, or before their photos failed, and that are there."""
    other_settings: int
    """Photos that were made with other settings or another profile than the last run's."""
    failures: tuple[Row, ...]
    last_run: Mapping[str, Any] | None
    run: Tally | None
    """Of the run that is at work, else of the last one; None where no record is left of it."""
    pace: Pace | None
    """Of the run that is at work."""
    due: tuple[Due, ...] | None
    """Photos on record that the next run of the same command would make again; None while a run is at work."""

    @property
    def due_by_reason(self) -> dict[str, list[Due]]:
        """The most frequent reason first."""
        return _grouped([(entry.reason, entry) for entry in self.due or ()])

    @property
    def lasting(self) -> int:
        """Photos that failed and would fail again: the next run does not try them."""
        named = {entry.output for entry in self.due or ()}
        return sum(row.lasting and row.output not in named for row in self.failures)

    @property
    def failures_by_reason(self) -> dict[str, list[Row]]:
        """The most frequent reason first."""
        return _grouped([(row.error or "for a reason that was not recorded", row) for row in self.failures])

    def as_json(self) -> dict[str, Any]:
        """The document that --json prints."""
        return {
            "output": self.output,
            "running": self.running,
            **self.counts,
            "gone": list(self.gone),
            "damaged": [{"input": row.input, "output": row.output, "damage": row.made.damaged} for row in self.damaged],
            "earlier": list(self.earlier),
            "made_with_other_settings": self.other_settings,
            **self.failures_as_json(),
            "last_run": _run_as_json(self.last_run) if self.last_run else None,
            "run": asdict(self.run) if self.run else None,
            "pace": self.pace.as_json() if self.pace else None,
            "next_run": None if self.due is None else [asdict(entry) for entry in self.due],
            "next_run_by_reason": {reason: len(entries) for reason, entries in self.due_by_reason.items()},
        }

    def failures_as_json(self) -> dict[str, Any]:
        """The part of the document that says what failed; `tried_again` is whether the next run tries it."""
        return {
            "failures": [
                {"input": row.input, "output": row.output, "error": row.error, "tried_again": not row.lasting}
                for row in self.failures
            ],
            "failures_by_reason": {reason: len(rows) for reason, rows in self.failures_by_reason.items()},
        }


def look_at(root: Path, manifest: Manifest) -> Progress:
    """Say how far OUTPUT is; changes nothing. Raises OutputError where its record cannot be read."""
    runs, activities = manifest.last_runs(), read_activities(root)
    wanted = {pair for run in runs for pair in run["wanted"]}
    finished = finished_photos(root, manifest)
    standing = where_they_stand(finished, manifest.unmade(), wanted)
    made = [row for row in standing.latest if row.status is Status.DONE]
    counts = Counter(row.status for row in standing.latest)
    alive = running_shards(root, activities)
    working = [activities[index] for index in alive]
    there = {row.output for row in finished if os.path.lexists(root / from_printable(row.output))}
    return Progress(
        output=printable(root),
        running=True if alive else is_running(root),
        counts={str(status): counts[status] for status in Status},
        gone=tuple(row.output for row in made if row.output not in there),
        damaged=tuple(row for row in made if row.made.damaged),
        earlier=tuple(row.output for row in standing.earlier if row.output in there),
        other_settings=sum((row.settings, row.profile_sha256) not in wanted for row in made) if wanted else 0,
        failures=tuple(row for row in standing.latest if row.status is Status.FAILED),
        last_run=runs[0] if runs else None,
        run=_added([_tally(one) for one in working]) if working else _over(runs, list(activities.values())),
        pace=_pace(working) if working else None,
        due=None if alive else tuple(what_is_due(root, finished, standing.latest, wanted)),
    )


def _run_as_json(run: Mapping[str, Any]) -> dict[str, Any]:
    """One run's record; times to the millisecond."""
    named = {key: value for key, value in run.items() if key != "wanted"}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in named.items()}


def _pace(activities: Sequence[Mapping[str, Any]]) -> Pace:
    """The rates of living runs add up, and the slowest of them decides when all is done."""
    photos, megapixels, lefts = 0.0, 0.0, list[float | None]()
    for activity in activities:
        seconds = max(time.time() - activity["started"], 1e-3)
        photos += activity[str(Outcome.DONE)] / seconds
        megapixels += activity["megapixels"] / seconds
        made = activity[str(Outcome.DONE)]
        lefts.append(_tally(activity).remaining * seconds / made if made else None)
    known = [left for left in lefts if left is not None]
    return Pace(
        photos_per_hour=3600 * photos,
        megapixels_per_hour=3600 * megapixels,
        seconds_left=max(known) if len(known) == len(lefts) else None,
        in_work=tuple(file["input"] for activity in activities for file in activity["in_work"].values()),
    )


def _over(runs: Sequence[Mapping[str, Any]], dead: Sequence[Mapping[str, Any]]) -> Tally | None:
    """What the last run, or all shards of it, got done; of runs that were killed their last notes say it."""
    names = [field.name for field in fields(Tally)]
    ended = [Tally(*(run[name] for name in names)) for run in runs if run["ended"] is not None and run["total"]]
    tallies = [*ended, *(_tally(activity) for activity in dead)]
    return _added(tallies) if tallies and len(tallies) == len(runs) else None


def _tally(activity: Mapping[str, Any]) -> Tally:
    done, skipped, failed = (activity[str(outcome)] for outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED))
    missed = activity["total"] - done - skipped - failed
    remaining = min(activity["left"], missed)
    return Tally(activity["total"], done, skipped, failed, remaining, missed - remaining)


def _grouped(entries: Iterable[tuple[str, Item]]) -> dict[str, list[Item]]:
    """Entries by reason, the most frequent first."""
    groups: dict[str, list[Item]] = {}
    for reason, entry in entries:
        groups.setdefault(reason, []).append(entry)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _added(tallies: Sequence[Tally]) -> Tally:
    return sum(tallies[1:], start=tallies[0])
