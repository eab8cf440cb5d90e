"""A whole run, in the order it happens: assign profiles, open the engine, lock the output, work, record."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from nsp_pipeline import __version__
from nsp_pipeline.batch.ahead.forecast import free_bytes, rough_bytes
from nsp_pipeline.batch.ahead.workload import Workload, rough_megapixels
from nsp_pipeline.batch.assign import Task, assign_profiles, reasons
from nsp_pipeline.batch.engine_pool import engine_pool
from nsp_pipeline.batch.interrupt import interruptible
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.outcome import Ended, Summary
from nsp_pipeline.batch.output.activity import Activity, settle_deaths
from nsp_pipeline.batch.output.lock import OutputLock, locked_output
from nsp_pipeline.batch.output.manifest import Manifest, read_manifest
from nsp_pipeline.batch.output.place import begin_record
from nsp_pipeline.batch.output.publish import Publisher, recover, remove_strays
from nsp_pipeline.batch.output.up_to_date import Action
from nsp_pipeline.batch.photo import PhotoSteps, trouble_foreseen
from nsp_pipeline.batch.pipeline import Pipeline, Watch
from nsp_pipeline.batch.plan import Plan
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import absolute_name, printable

INSTALLED = Sources()


@dataclass(frozen=True)
class Foreseen:
    """What a dry run says of one photo."""

    input: str
    output: str | None
    action: Action
    reason: str
    profile: str | None = None
    why: str | None = None


def run_batch(
    plan: Plan,
    settings: RunSettings,
    reporter: Reporter,
    sources: Sources = INSTALLED,
    cancel: threading.Event | None = None,
) -> Summary:
    """Do a whole run.

    Returns a summary; failures of single photos are in it, and what stopped the run. Setting `cancel` ends the run
    early and cleanly. Without it, the first interrupt (Ctrl-C, SIGTERM, SIGHUP) does, and a second one kills.

    Raises:
        UsageError, ProfileError, MissingCapabilityError: refused before any work.
        OutputError: another run holds OUTPUT, or its record cannot be opened.
    """
    began = time.monotonic()
    tasks = _assign(plan, settings, sources)
    total = len(tasks) + len(plan.refused)
    listening = nullcontext(cancel) if cancel else interruptible()
    ahead = partial(rough_megapixels, tasks, again=settings.overwrite)
    with engine_pool(settings, sources, reporter.say, ahead=ahead) as engines, listening as interrupted:
        if tasks and tasks[0].profile and not settings.in_other_processes:
            engines.get(tasks[0].profile)
        begin_record(plan.root, single=plan.file is not None and not settings.in_other_processes)
        with locked_output(plan.root, settings.shard) as lock, Manifest.open(plan.root, reporter.say) as manifest:
            _settle_the_past(plan, settings, manifest, lock, reporter)
            wanted = {task.job.key: settings.wanted(task) if task.profile else None for task in tasks}
            unfinished = _unfinished(plan, wanted, manifest)
            shard = settings.shard
            part = f"{shard.index}/{shard.count}" if shard else None
            manifest.start_run(__version__, part, total, _all_wanted(tasks, settings))
            blames = not settings.in_other_processes
            with Activity.of_run(plan.root, shard, total, len(unfinished), blames=blames) as activity:
                publisher = Publisher(manifest, lock, settings.encoding, settings.overwrite, interrupted.is_set)
                steps = PhotoSteps(settings, manifest, publisher, manifest.deaths())
                watch = Watch(reporter, activity, interrupted, unfinished, reasons(tasks))
                pipeline = Pipeline(steps, engines, watch)
                if settings.in_other_processes:
                    from nsp_pipeline.batch.workers.pipeline import WorkersPipeline  # which most runs do without

                    pipeline = WorkersPipeline(steps, engines, watch, sources, plan.root)
                with Workload(tasks, unfinished) as work:
                    _warn_of_the_disk(plan, settings, tasks, work, reporter)
                    reporter.begin(total, work)
                    _work(pipeline, steps, plan, tasks, watch)
            summary = _summarise(plan, pipeline, unfinished, time.monotonic() - began)
            _record_end(manifest, summary)
    return summary


def foresee(plan: Plan, settings: RunSettings, sources: Sources = INSTALLED) -> tuple[list[Foreseen], list[Task]]:
    """Say what a run would do, photo by photo, and which it would make; writes nothing.

    Of photos that it would make, headers are read; whether their pictures are damaged shows when they are decoded.
    Raises as run_batch does, but for what only shows in writing.
    """
    foreseen = [Foreseen(printable(entry.input), None, Action.FAIL, entry.reason) for entry in plan.refused]
    to_make = []
    with read_manifest(plan.root) as manifest:
        for task in _assign(plan, settings, sources):
            names = task.job.name, printable(task.job.output)
            if task.profile is None:
                foreseen.append(Foreseen(*names, Action.SKIP, task.why))
                continue
            decision = settings.decide(task, manifest)
            action, reason = decision.action, decision.reason
            if action == Action.MAKE and (trouble := trouble_foreseen(task, settings)):
                action, reason = Action.FAIL, trouble
            foreseen.append(Foreseen(*names, action, reason, task.profile.name, task.why))
            if action == Action.MAKE:
                to_make.append(task)
    return foreseen, to_make


def _assign(plan: Plan, settings: RunSettings, sources: Sources) -> list[Task]:
    mode, pd = settings.inference.mode, settings.inference.pd
    tasks = assign_profiles(plan.jobs, sources, profile=settings.profile, on_missing=settings.on_missing, mode=mode)
    for task in tasks:
        if task.profile and pd != "auto":
            task.profile.spec.inference_with(pd)  # a student's PD is refused before any work
        if task.profile and task.profile.spec.development:
            settings.require_development(task.profile)
    return tasks


def _settle_the_past(
    plan: Plan, settings: RunSettings, manifest: Manifest, lock: OutputLock, reporter: Reporter
) -> None:
    """Bring the record and the folder in order after runs that were killed."""
    recover(manifest, plan.root, settings.shard)
    settle_deaths(plan.root, manifest, lock)
    manifest.forget_gone({absolute_name(job.input): job.key for job in plan.jobs})
    folders = {job.output.parent for job in plan.jobs} | {plan.root}
    if strays := remove_strays(folders, manifest, lock):
        reporter.say(f"removed {strays} unfinished files of a run that was killed", strays=strays)


def _warn_of_the_disk(
    plan: Plan, settings: RunSettings, tasks: Sequence[Task], work: Workload, reporter: Reporter
) -> None:
    """Say so where the disk will hardly hold what is to be made: better now than in the middle of the night."""
    named = set(work.names)
    needed = rough_bytes([task for task in tasks if task.job.name in named], work, settings.inference.mode)
    free = free_bytes(plan.root)
    if free is not None and needed > free:
        reporter.say(
            f"the disk may be too small: about {needed / 1e9:.1f} GB are to be written, and {free / 1e9:.1f} GB are "
            "free; make room, or stop with Ctrl-C (--dry-run tells more exactly)"
        )


def _all_wanted(tasks: Sequence[Task], settings: RunSettings) -> set[tuple[str, str]]:
    """Hashes of settings and profile that photos of this run, sound and damaged, are made with."""
    with_profile = [task for task in tasks if task.profile]
    return {settings.wanted(task, damaged=damaged) for task in with_profile for damaged in (False, True)}


def _unfinished(plan: Plan, wanted: Mapping[str, tuple[str, str] | None], manifest: Manifest) -> set[str]:
    """Outputs that no earlier run has made as they are wanted, by the record alone."""
    known = manifest.made_with()
    missing = {key for key, pair in wanted.items() if pair is None or known.get(key) != pair}
    return missing | {entry.key for entry in plan.refused}


def _work(pipeline: Pipeline, steps: PhotoSteps, plan: Plan, tasks: Sequence[Task], watch: Watch) -> None:
    for entry in plan.refused:
        pipeline.finish(steps.refuse(entry), entry.key)
    # One that died right after it was published is no suspect.
    suspects = [task for task in tasks if task.job.key in watch.unfinished and steps.is_suspect(task)]
    if suspects:
        photos = "1 photo was" if len(suspects) == 1 else f"{len(suspects)} photos were"
        watch.reporter.say(f"{photos} in work when an earlier run was killed; these come last, one at a time")
    alone = {task.job.key for task in suspects}
    pipeline.work((task for task in tasks if task.job.key not in alone), suspects)


def _summarise(plan: Plan, pipeline: Pipeline, unfinished: Collection[str], seconds: float) -> Summary:
    missed = len(plan.jobs) + len(plan.refused) - len(pipeline.results)
    unchecked = max(0, missed - len(unfinished))
    remaining = missed - unchecked
    # Time that ran out over the very last photo, or an interrupt after it, took nothing away.
    ended = pipeline.ended if missed or pipeline.fatal else Ended.COMPLETE
    return Summary(plan.root, tuple(pipeline.results), remaining, seconds, ended, pipeline.fatal, unchecked, plan.file)


def _record_end(manifest: Manifest, summary: Summary) -> None:
    # On a disk that just filled up this cannot be written either; the run's own error is the one to report.
    with suppress(OutputError) if summary.fatal else nullcontext():
        manifest.end_run(str(summary.ended), summary.counts())
