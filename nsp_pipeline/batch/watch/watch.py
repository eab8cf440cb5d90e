"""`--watch`: look, take what stands still, look again."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nsp_pipeline.batch.folder import FolderRun
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.outcome import Ended, Summary
from nsp_pipeline.batch.output.manifest import MANIFEST_FILE, Manifest, read_manifest
from nsp_pipeline.batch.output.place import begin_record, record_folder
from nsp_pipeline.batch.output.record import Stamp
from nsp_pipeline.batch.watch.kept_engines import KeptEngines
from nsp_pipeline.batch.watch.stillness import Stillness
from nsp_pipeline.errors import MissingCapabilityError, NspError, OutputError
from nsp_pipeline.file_names import absolute_name, printable

LOOK_SECONDS = 1.0
LOOKING_SHARE = 20
"""A look that takes long, over a network, is followed by a pause of so many times as long."""
RETRY_SECONDS = 300.0
"""After so long, photos are tried again that failed for a reason that may be gone."""
TROUBLE_SECONDS = 5.0
"""Pause after something went wrong with the folders themselves."""


@dataclass(frozen=True)
class Watched:
    """All that was done while watching: photos by outcome, and whether photos are left that time ran out for."""

    counts: Counter[str]
    left: int
    seconds: float


class FolderWatch:
    """Follows the INPUT of one command.

    Args:
        again: plans the command anew; raises UsageError where an INPUT is not there.
        reporter: hears of every photo, and of what is waited for.
        cancel: when set, the watch ends: soon, and with nothing half done.
    """

    def __init__(self, again: Callable[[], FolderRun], reporter: Reporter, cancel: threading.Event) -> None:
        self._again = again
        self._reporter = reporter
        self._cancel = cancel
        self._stillness = Stillness(time.monotonic)
        self._settled: dict[Path, tuple[Stamp, float]] = {}
        """Photos that came to their end, as they were then, and when they are tried again."""
        self._refused: set[tuple[str, str]] = set()
        self._told: set[Path] = set()
        self._trouble: str | None = None
        self._counts: Counter[str] = Counter()
        self._left = 0

    def follow(self) -> Watched:
        """Watch until cancelled, or until the time of the command is up; returns what was done.

        Raises what planning raises at the first look, OutputError where OUTPUT cannot be made then, and
        MissingCapabilityError; any later trouble is waited out.
        """
        began = time.monotonic()
        first = self._again()
        begin_record(first.plan.root, single=first.plan.file is not None)
        with Manifest.open(first.plan.root, self._reporter.say):
            pass  # from now on, an OUTPUT without a manifest is one that went away
        deadline = began + first.settings.max_seconds if first.settings.max_seconds is not None else None
        with KeptEngines(first.sources) as engines:
            while not self._cancel.is_set() and (deadline is None or time.monotonic() < deadline):
                looked = time.monotonic()
                pause = self._round(engines, deadline)
                pause = max(pause, LOOKING_SHARE * (time.monotonic() - looked) if pause == LOOK_SECONDS else 0)
                until = min(pause, max(0.0, deadline - time.monotonic())) if deadline is not None else pause
                self._cancel.wait(until)
        return Watched(self._counts, self._left, time.monotonic() - began)

    def _round(self, engines: KeptEngines, deadline: float | None) -> float:
        """Look once, and make what stands still; returns seconds until the next look."""
        try:
            run = replace(self._again(), sources=engines.sources)
            self._require_root(run.plan.root)
            run, stamps = self._ready(run, deadline)
            self._recover()
            if not run.plan.jobs and not run.plan.refused:
                return LOOK_SECONDS
            summary = run.work(self._reporter, self._cancel)
            self._settle(run, summary, stamps)
            if summary.fatal:
                raise summary.fatal
        except MissingCapabilityError:
            raise
        except NspError as error:
            self._wait_for(str(error))
            return TROUBLE_SECONDS
        # Making photos took the time; the pause after it is that after a quick look.
        return LOOK_SECONDS if not run.plan.jobs else 0.0

    def _ready(self, run: FolderRun, deadline: float | None) -> tuple[FolderRun, dict[Path, Stamp]]:
        """The part of a run that can be done now, and how its photos are."""
        still, moving = self._stillness.look(job.input for job in run.plan.jobs)
        now = time.monotonic()
        self._tell_moving(moving)
        jobs = tuple(job for job in run.plan.jobs if job.input in still and self._is_due(job.input, still, now))
        refused = tuple(e for e in run.plan.refused if (e.key, e.reason) not in self._refused)
        self._left = len(jobs) + len(moving)
        seconds = None if deadline is None else max(0.0, deadline - now)
        settings = replace(run.settings, max_seconds=seconds)
        return replace(run, plan=replace(run.plan, jobs=jobs, refused=refused), settings=settings), still

    def _is_due(self, path: Path, still: dict[Path, Stamp], now: float) -> bool:
        before, again = self._settled.get(path, (None, 0.0))
        return before != still[path] or now >= again

    def _settle(self, run: FolderRun, summary: Summary, stamps: dict[Path, Stamp]) -> None:
        """Remember what came to its end, so that it is left alone until it changes."""
        ended = {result.name: result for result in summary.results}
        self._counts.update(str(result.outcome) for result in summary.results)
        with read_manifest(run.plan.root) as manifest:
            for job in run.plan.jobs:
                if job.name not in ended:
                    continue
                row = manifest.find_unmade(job.key, absolute_name(job.input)) if manifest else None
                passing = row is not None and not row.lasting
                again = time.monotonic() + RETRY_SECONDS if passing else float("inf")
                self._settled[job.input] = (stamps[job.input], again)
                self._told.discard(job.input)
        self._left = summary.remaining if summary.ended == Ended.TIME_UP else 0
        if not summary.fatal:
            self._refused |= {(entry.key, entry.reason) for entry in run.plan.refused}

    def _require_root(self, root: Path) -> None:
        """Raise OutputError where OUTPUT was there and is not now: nothing may be written below its mount point."""
        if not (record_folder(root) / MANIFEST_FILE).exists():
            raise OutputError(f"{printable(root)}: what nsp wrote there is gone; is the disk or share connected?")

    def _tell_moving(self, moving: Iterable[Path]) -> None:
        for path in moving:
            if path not in self._told:
                self._told.add(path)
                self._reporter.say(f"waiting until it is completely written: {printable(path)}")

    def _wait_for(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._reporter.say(f"waiting, as something is in the way: {trouble}")

    def _recover(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._reporter.say("the folders are there again; going on")
