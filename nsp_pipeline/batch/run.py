"""A whole run, in the order it happens: assign profiles, open the engine, lock the output, work, record."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from nsp_pipeline import __version__
from nsp_pipeline.batch.assign import Task, assign_profiles
from nsp_pipeline.batch.engine_pool import EnginePool
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.outcome import Ended, Outcome, Summary
from nsp_pipeline.batch.output.lock import locked_output
from nsp_pipeline.batch.output.manifest import Manifest, read_manifest
from nsp_pipeline.batch.output.publish import Publisher, recover, remove_strays
from nsp_pipeline.batch.output.up_to_date import Action
from nsp_pipeline.batch.photo import PhotoSteps
from nsp_pipeline.batch.pipeline import Pipeline
from nsp_pipeline.batch.plan import Plan
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.engines.choose import open_engine, open_reference
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.with_pd import open_with_pd
from nsp_pipeline.errors import MissingCapabilityError, OutputError
from nsp_pipeline.file_names import absolute_name, printable
from nsp_pipeline.profiles.bundle import Profile


@dataclass(frozen=True)
class Foreseen:
    """What a dry run says of one photo."""

    input: str
    output: str | None
    action: Action
    reason: str
    profile: str | None = None
    why: str | None = None


def run_batch(plan: Plan, settings: RunSettings, reporter: Reporter) -> Summary:
    """Do a whole run.

    Returns a summary; failures of single photos are in it, and what stopped the run. The first interrupt (Ctrl-C,
    SIGTERM, SIGHUP) ends the run early and cleanly; a second one kills it.

    Raises:
        UsageError, ProfileError, MissingCapabilityError: refused before any work.
        OutputError: another run holds OUTPUT, or its record cannot be opened.
    """
    began = time.monotonic()
    tasks = _assign(plan, settings)
    with _engine_pool(settings, reporter) as engines, _interruptible() as interrupted:
        if tasks and tasks[0].profile:
            engines.get(tasks[0].profile)
        with locked_output(plan.root, settings.shard) as lock, Manifest.open(plan.root) as manifest:
            recover(manifest, plan.root, settings.shard)
            manifest.forget_gone({absolute_name(job.input): job.key for job in plan.jobs})
            folders = {job.output.parent for job in plan.jobs} | {plan.root}
            if strays := remove_strays(folders, manifest, lock):
                reporter.say(f"removed {strays} unfinished files of a run that was killed", strays=strays)
            shard = settings.shard
            manifest.start_run(__version__, f"{shard.index}/{shard.count}" if shard else None)
            publisher = Publisher(manifest, lock, settings.encoding, settings.overwrite, interrupted.is_set)
            steps = PhotoSteps(settings, manifest, publisher)
            pipeline = Pipeline(steps, engines, reporter, interrupted)
            reporter.begin(len(tasks) + len(plan.refused))
            for entry in plan.refused:
                pipeline.finish(steps.refuse(entry))
            pipeline.work(tasks)
            summary = _summarise(plan, pipeline, time.monotonic() - began)
            _record_end(manifest, summary)
    return summary


def foresee(plan: Plan, settings: RunSettings) -> list[Foreseen]:
    """Say what a run would do, photo by photo, and write nothing.

    Raises as run_batch does, but for what only shows in writing.
    """
    foreseen = [Foreseen(printable(entry.input), None, Action.FAIL, entry.reason) for entry in plan.refused]
    with read_manifest(plan.root) as manifest:
        for task in _assign(plan, settings):
            names = task.job.name, printable(task.job.output)
            if task.profile is None:
                foreseen.append(Foreseen(*names, Action.SKIP, task.why))
            else:
                decision = settings.decide(task, manifest)
                foreseen.append(Foreseen(*names, decision.action, decision.reason, task.profile.name, task.why))
    return foreseen


def _assign(plan: Plan, settings: RunSettings) -> list[Task]:
    mode, pd = settings.inference.mode, settings.inference.pd
    tasks = assign_profiles(plan.jobs, profile=settings.profile, on_missing=settings.on_missing, mode=mode)
    for task in tasks:
        if task.profile and pd != "auto":
            task.profile.spec.inference_with(pd)  # a student's PD is refused before any work
    return tasks


def _engine_pool(settings: RunSettings, reporter: Reporter) -> EnginePool:
    on_gpu = settings.require_gpu or settings.device.startswith("cuda")
    # Who asks for the GPU is not to wait for the CPU.
    reference = None if on_gpu else lambda profile: _open_reference(profile, settings)
    return EnginePool(lambda profile: _open(profile, settings, reporter), reference)


def _open_reference(profile: Profile, settings: RunSettings) -> Engine:
    inference = settings.inference
    return open_with_pd(profile, inference.mode, inference.pd, lambda mode: open_reference(profile, mode=mode))


def _open(profile: Profile, settings: RunSettings, reporter: Reporter) -> Engine:
    def open_mode(mode: str) -> Engine:
        return open_engine(
            profile,
            mode=mode,
            engine=settings.engine,
            device="cuda" if settings.require_gpu and settings.device == "auto" else settings.device,
            precision=settings.precision,
            threads=None,
            on_build=reporter.say,
        )

    engine = open_with_pd(profile, settings.inference.mode, settings.inference.pd, open_mode)
    if settings.require_gpu and "CPU" in engine.info.provider:
        engine.close()
        raise MissingCapabilityError(
            f"--require-gpu: {engine.info.name} would run on {engine.info.provider}; `nsp doctor` says what is missing"
        )
    return engine


def _summarise(plan: Plan, pipeline: Pipeline, seconds: float) -> Summary:
    remaining = len(plan.jobs) + len(plan.refused) - len(pipeline.results)
    # Time that ran out over the very last photo, or an interrupt after it, took nothing away.
    ended = pipeline.ended if remaining or pipeline.fatal else Ended.COMPLETE
    return Summary(plan.root, tuple(pipeline.results), remaining, seconds, ended, pipeline.fatal)


def _record_end(manifest: Manifest, summary: Summary) -> None:
    counts = {str(outcome): len(summary.of(outcome)) for outcome in Outcome}
    # On a disk that just filled up this cannot be written either; the run's own error is the one to report.
    with suppress(OutputError) if summary.fatal else nullcontext():
        manifest.end_run(str(summary.ended), remaining=summary.remaining, **counts)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first interrupt into an event, and let the second one kill."""
    event = threading.Event()
    before: dict[int, Any] = {}

    def ask(signum: int, frame: FrameType | None) -> None:
        event.set()
        for number in before:
            signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # Under nohup, or in a shell's background, a signal is ignored on purpose.
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, ask)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
