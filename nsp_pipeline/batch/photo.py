"""The steps of one photo: decide and read it, run it, publish it; and its record, however it ends."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.headroom import NoRoomError
from nsp_pipeline.batch.job import RECORD_FOLDER, Refused
from nsp_pipeline.batch.outcome import Outcome, Result
from nsp_pipeline.batch.output.early import EarlyWrite, EarlyWrites, suits
from nsp_pipeline.batch.output.manifest import Death, Manifest
from nsp_pipeline.batch.output.mark import Mark
from nsp_pipeline.batch.output.publish import NotOursError, Publisher, Written, mark_of
from nsp_pipeline.batch.output.record import Row, Stamp, Status
from nsp_pipeline.batch.output.sidecars import with_sidecars
from nsp_pipeline.batch.output.up_to_date import Action, hash_file, stamp
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.batch.raw_photo import finished, read_to_denoise
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.denoise.known_noise import known_noise
from nsp_pipeline.denoise.photo import noise_left
from nsp_pipeline.denoise.trusted import InferenceContext, denoise_trusted
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import (
    DamagedPhotoError,
    DecoderFailedError,
    EngineFailedError,
    EngineOutOfMemoryError,
    NspError,
    PhotoError,
    UntrustedResultError,
)
from nsp_pipeline.file_names import absolute_name, printable
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.frames.read import read_facts, read_frame, read_frame_in_rows
from nsp_pipeline.frames.sidecar import SidecarNames
from nsp_pipeline.frames.write import OutputKind
from nsp_pipeline.machine.disk_array import Allocate
from nsp_pipeline.noise.estimate import estimate_noise, looks_at_windows
from nsp_pipeline.noise.windows import FEW, rows_looked_at

ERROR_LOG = "errors.log"
MOST_DEATHS = 2
"""So many runs may die over one photo; then it is the photo's fault."""


class TooLargeError(PhotoError):
    """The photo has more pixels than the run is to take."""


class ChangedError(PhotoError):
    """The photo was being written while we read it."""


PASSING = (
    *(NotOursError, TooLargeError, ChangedError, NoRoomError, DecoderFailedError, MemoryError, OSError),
    *(EngineFailedError, EngineOutOfMemoryError, UntrustedResultError),
)
"""Causes that may be gone the next time; any other failure would come again."""


@dataclass(frozen=True)
class Ready:
    """A photo that was read, and the file as it was then."""

    task: Task
    frame: Frame
    source: Stamp
    seconds: float
    noise: NoiseLevel | None = None
    """Where its pixels are as networks see them."""


@dataclass(frozen=True)
class Made:
    """A photo that went through its engine."""

    task: Task
    source: Stamp
    frame: Frame
    """The result."""
    made: Provenance
    early: EarlyWrite | None = None
    """What writes it already."""

    def measured(self) -> "Made":
        """With the noise that is left; whoever writes it has the time to look, while the engine makes the next."""
        if self.made.noise_after is not None:
            return self
        return replace(self, made=replace(self.made, noise_after=estimate_noise(self.frame.pixels, most=FEW).sigma))

    def abandon(self) -> None:
        """It will not be published: leave nothing of it."""
        if self.early:
            self.early.abandon()


@dataclass(frozen=True)
class Failure:
    """Why a photo failed."""

    reason: str
    passing: bool
    """Whether the cause may be gone the next time."""
    details: str | None = None
    """For the error log."""
    traceback: str | None = None
    """Of a bug of ours."""
    damage: str | None = None
    """What is wrong with the picture."""


@dataclass(frozen=True)
class PhotoSteps:
    """The steps that every photo goes through, each leaving its record in the manifest."""

    settings: RunSettings
    manifest: Manifest
    publisher: Publisher
    deaths: dict[str, Death] = field(default_factory=dict)
    """Photos that were in work when runs died, by output."""
    sidecars: SidecarNames = field(default_factory=SidecarNames)

    def refuse(self, entry: Refused) -> Result:
        """Record something that is no photo of ours."""
        name = absolute_name(entry.input)
        self.manifest.record_unmade(Row(entry.key, name, Status.FAILED, error=entry.reason, version=__version__))
        return Result(printable(entry.input), Outcome.FAILED, entry.reason)

    def settle(self, task: Task) -> Result | None:
        """Return the end of a photo that is not to be made; None for one that is.

        Raises DecoderFailedError for one that could not be asked for its camera.
        """
        if task.trouble:
            raise task.trouble
        if task.profile is None:
            self.manifest.record_unmade(replace(self._row(task), status=Status.LEFT_OUT))
            return self._result(task, Outcome.SKIPPED, task.why)
        decision = self.settings.decide(task, self.manifest)
        if decision.action == Action.MAKE:
            return self._deadly(task)
        if decision.action == Action.FAIL:
            if not decision.repeated:
                self.manifest.record_unmade(replace(self._row(task), error=decision.reason))
            return self._result(task, Outcome.FAILED, decision.reason)
        if self.sidecars.may_have(task.job.input):
            self.publisher.bring_sidecars(task.job)
        if decision.known and (decision.stale or task.job.key in self.deaths):
            self.manifest.published(decision.known)
        return self._result(task, Outcome.SKIPPED, decision.reason)

    def learn_deaths(self) -> None:
        """Take in what the manifest says of deaths by now."""
        self.deaths.update(self.manifest.deaths())

    def is_suspect(self, task: Task) -> bool:
        """Whether a run died while this photo was in work, and the photo has not changed since."""
        death, present = self.deaths.get(task.job.key), stamp(task.job.input)
        return bool(death and present and (death.size, death.mtime_ns) == (present.size, present.mtime_ns))

    def _deadly(self, task: Task) -> Result | None:
        """Fail a photo that too many runs died over; None for any other."""
        if self.settings.retry_failed or not self.is_suspect(task):
            return None
        count = self.deaths[task.job.key].count
        if count < MOST_DEATHS:
            return None
        times = {2: "twice"}.get(count, f"{count} times")
        reason = (
            f"nsp died {times} while working on this photo: ended from outside, perhaps because memory ran out; "
            "--retry-failed tries again, with a smaller --tile if you like"
        )
        self.manifest.record_deadly(replace(self._row(task, _whole_stamp(task)), error=reason, lasting=True))
        return self._result(task, Outcome.FAILED, reason)

    def read(self, task: Task, allocate: Allocate) -> Ready:
        """Read a photo; raises PhotoError."""
        return read_photo(task, self.settings, allocate)

    def infer(self, ready: Ready, context: InferenceContext) -> Made:
        """Denoise a photo that was read; see denoise_trusted."""
        return infer_photo(ready, self.settings, context, self.publisher.partial_path(ready.task.job))

    def publish(self, made: Made) -> Result:
        """Write a photo and record it; raises as Publisher.publish does."""
        began = time.monotonic()
        made = made.measured()
        self.manifest.keep_settings(self.settings.fingerprint(made.task, damaged=bool(made.made.damaged)))
        row = self.publisher.publish(
            made.task.job, made.frame, self._row(made.task, made.source, made.made), made.early
        )
        whole = replace(row.made, seconds=(made.made.seconds or 0.0) + time.monotonic() - began)
        return replace(self._result(made.task, Outcome.DONE, None), made=whole)

    def place(self, task: Task, source: Stamp, made: Provenance, written: Written) -> Result:
        """Give a photo that another process wrote its name, and record it; raises as Publisher.place does."""
        self.manifest.keep_settings(self.settings.fingerprint(task, damaged=bool(made.damaged)))
        row = self.publisher.place(written, task.job, row_of(task, self.settings, source, made))
        return replace(self._result(task, Outcome.DONE, None), made=row.made)

    def fail(self, task: Task, error: Exception) -> Result:
        """Record a photo that a step gave up on; bugs, and what libraries say, go to the error log."""
        return self.record_failure(task, explain(error, self.settings))

    def record_failure(self, task: Task, failure: Failure) -> Result:
        """Record a failure that may have happened in another process."""
        self._log(task, failure.details)
        passing, damage = failure.passing, failure.damage
        row = self._row(task, None if passing else _whole_stamp(task), Provenance(damaged=damage))
        lasting = not passing and row.input_sha256 is not None
        reason = f"{failure.reason} (traceback in {self._log_in_words})" if failure.traceback else failure.reason
        self.manifest.record_unmade(replace(row, error=reason, lasting=lasting))
        return replace(self._result(task, Outcome.FAILED, reason), traceback=failure.traceback)

    def _row(self, task: Task, source: Stamp | None = None, made: Provenance | None = None) -> Row:
        return row_of(task, self.settings, source, made)

    def _result(self, task: Task, outcome: Outcome, reason: str | None) -> Result:
        profile = task.profile.name if task.profile else None
        return Result(task.job.name, outcome, reason, printable(task.job.output), profile, task.why)

    @property
    def _log_in_words(self) -> str:
        path = self.manifest.path.with_name(ERROR_LOG)
        return f"{RECORD_FOLDER}/{ERROR_LOG}" if path.parent.name == RECORD_FOLDER else printable(path)

    def _log(self, task: Task, details: str | None) -> None:
        if not details:
            return
        path = self.manifest.path.with_name(ERROR_LOG)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {task.job.name}\n{details}\n")
        except OSError:
            # The disk may be the very trouble; the photo's own record follows.
            return


def _whole_stamp(task: Task) -> Stamp | None:
    """The input's stamp with its hash; None for what cannot be read at all."""
    present = stamp(task.job.input)
    try:
        return replace(present, sha256=hash_file(task.job.input)) if present else None
    except OSError:
        return None


def read_photo(task: Task, settings: RunSettings, allocate: Allocate) -> Ready:
    """Read a photo, its pixels into an array of `allocate` where its kind of file allows it; raises PhotoError."""
    began = time.monotonic()
    path = task.job.input
    before = stamp(path)
    try:
        digest = hash_file(path)
    except OSError as error:
        raise PhotoError(path, f"cannot be read: {error.strerror or error}") from error
    if settings.max_megapixels is not None:
        _require_header(path, settings)
    in_rows = settings.damaged == "fail" and task.job.kind is not OutputKind.DNG
    frame = read_frame_in_rows(path, rows_looked_at, allocate) if in_rows else None
    frame = frame or read_to_denoise(task, settings, partial(read_frame, allocate=allocate))
    if settings.max_megapixels is not None:  # RAW says before only how large its preview is
        _require_size(path, frame.pixels.shape[1], frame.pixels.shape[0], settings.max_megapixels)
    frame = with_sidecars(frame, task.job)
    _require_same(path, before)
    assert before is not None
    noise = _noise_of(frame, task, settings)
    return Ready(task, frame, replace(before, sha256=digest), time.monotonic() - began, noise)


def _noise_of(frame: Frame, task: Task, settings: RunSettings) -> NoiseLevel | None:
    """The noise of a photo that networks see as it is; None for others, and where rows to look at are still to come.

    What the profile knows of the camera's noise is part of it; where it knows any, rows that are needed are waited for,
    which raises PhotoError where they cannot be read.
    """
    if tone_for(frame, settings.inference.light):
        return None
    assert task.profile is not None
    known = known_noise(task.profile, frame.kind, frame.camera, settings.domain_of(task))
    if frame.rows and not looks_at_windows():
        if known is None:
            return None
        frame.rows.wait(len(frame.pixels))
    return estimate_noise(frame.pixels, prior=known)


def _require_same(path: Path, before: Stamp | None) -> None:
    if before is None or stamp(path) != replace(before, sha256=None):
        raise ChangedError(path, "changed while it was read; run again when it is complete")


def trouble_foreseen(task: Task, settings: RunSettings) -> str | None:
    """Why a photo will fail, as far as its header tells; None where it does not."""
    try:
        _require_header(task.job.input, settings)
    except DamagedPhotoError as error:
        return explain(error, settings).reason if settings.damaged == "fail" else None
    except PhotoError as error:
        return explain(error, settings).reason
    return None


def _require_header(path: Path, settings: RunSettings) -> None:
    """Raise PhotoError where a photo's header cannot be read, or speaks of more pixels than the run is to take."""
    size = read_facts(path).size
    if size and settings.max_megapixels is not None:
        _require_size(path, *size, settings.max_megapixels)


def _require_size(path: Path, width: int, height: int, most: float) -> None:
    if width * height > most * 1e6:
        megapixels = width * height / 1e6
        size = f"{width}×{height} is {f'{megapixels:.4g}' if megapixels < 1e4 else f'{megapixels:.0f}'} megapixels"
        raise TooLargeError(path, f"{size}; --max-megapixels {most:g} refuses it")


def infer_photo(ready: Ready, settings: RunSettings, context: InferenceContext, partial: Path) -> Made:
    """Denoise a photo that was read, and begin to write it to `partial` where it is large; see denoise_trusted."""
    began = time.monotonic()
    job = ready.task.job
    early = EarlyWrites(partial, job, ready.frame, _mark_by(ready, settings), settings.encoding)
    on_rows = early.on_rows if suits(ready.frame, job, settings.encoding, context.engine.info.scale) else None
    context = replace(context, on_rows=on_rows, noise=ready.noise)
    try:
        inferred, info = denoise_trusted(ready.frame, settings.inference, context, job.name)
        if ready.frame.rows:
            _require_same(job.input, ready.source)
        frame = finished(inferred, ready.task, settings)
    except BaseException:
        early.abandon()
        raise
    height, width = ready.frame.pixels.shape[:2]
    made = Provenance(
        engine=info.name,
        provider=info.provider,
        precision=info.precision,
        fallback=info.fallback or None,
        seconds=ready.seconds + time.monotonic() - began,
        megapixels=height * width / 1e6,
        strength=inferred.strength,
        noise_before=inferred.noise_before,
        noise_after=None if inferred.seen[1] is frame.pixels else noise_left(inferred),
        noise_known=inferred.noise_known,
        brightened=255 * inferred.most_brightened or None,
        damaged=ready.frame.damage,
    )
    return Made(ready.task, ready.source, frame, made, early.write)


def _mark_by(ready: Ready, settings: RunSettings) -> Callable[[EngineInfo], Mark]:
    """What an output says of itself, by the engine that makes it."""
    made = Provenance(damaged=ready.frame.damage)
    return lambda info: mark_of(row_of(ready.task, settings, ready.source, replace(made, precision=info.precision)))


def explain(error: Exception, settings: RunSettings) -> Failure:
    """What an error says of its photo."""
    passing = isinstance(error, PASSING) or isinstance(error.__cause__, PASSING)
    if isinstance(error, DamagedPhotoError) and settings.damaged == "fail":
        reason = f"{error.reason} (--damaged keep takes what can be read)"
        return Failure(reason, passing, error.details, damage=error.reason)
    if isinstance(error, PhotoError):
        return Failure(error.reason, passing, error.details)
    if isinstance(error, EngineFailedError):
        trace = "".join(traceback.format_exception(error))
        return Failure(f"{error}", passing, trace, trace)
    if isinstance(error, NspError):
        return Failure(str(error), passing)
    if isinstance(error, MemoryError):
        return Failure("not enough memory for this photo; close other programs, or try a smaller --tile", passing)
    trace = "".join(traceback.format_exception(error))
    reason = f"{type(error).__name__}: {error} (a bug in nsp)"
    return Failure(reason, passing, trace, trace)


def row_of(task: Task, settings: RunSettings, source: Stamp | None = None, made: Provenance | None = None) -> Row:
    """A record of failure, to be made better."""
    damaged = bool(made and made.damaged)
    wanted, profile_sha256 = settings.wanted(task, damaged=damaged) if task.profile else (None, None)
    return Row(
        output=task.job.key,
        input=absolute_name(task.job.input),
        status=Status.FAILED,
        input_size=source.size if source else None,
        input_mtime_ns=source.mtime_ns if source else None,
        input_sha256=source.sha256 if source else None,
        settings=wanted,
        profile=task.profile.name if task.profile else None,
        profile_sha256=profile_sha256,
        why=task.why,
        version=__version__,
        made=made or Provenance(),
    )
