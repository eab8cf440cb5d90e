"""What runs in an actor: photos from the shared folder through an engine and back; one row comes home."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import engine_pool
from nsp_pipeline.batch.headroom import Headroom, bytes_held, footprint_of, guess_footprint, photo_memory
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.publish import Owner, Written, partial_path, write_partial
from nsp_pipeline.batch.output.record import Stamp
from nsp_pipeline.batch.photo import Failure, Made, Ready, explain, infer_photo, read_photo, row_of
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.batch.workers.shared_folders import Proof, what_differs
from nsp_pipeline.denoise.trusted import InferenceContext
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import MissingCapabilityError, NspError, OutputError
from nsp_pipeline.machine.cpus import limit_libraries
from nsp_pipeline.machine.memory import share_memory
from nsp_pipeline.profiles.bundle import Profile


@dataclass(frozen=True)
class WorkerSetup:
    """What all workers of a run are started with."""

    settings: RunSettings
    sources: Sources
    profiles: Mapping[str, Profile]
    """By hash; the first is the one that is opened at once."""
    owner: Owner
    version: str
    proof: Proof
    beside: int = 1
    """How many workers its machine has, which share its memory: what is free, and --memory."""
    megapixels: Mapping[str, float] = field(default_factory=dict)
    """About how many each profile has before it, by hash."""


@dataclass(frozen=True)
class Done:
    """A photo that was written under a temporary name."""

    source: Stamp
    made: Provenance
    written: Written


@dataclass(frozen=True)
class Fatal:
    """What no photo after this one would do better with: `output` where the disk cannot be written."""

    message: str
    output: bool


AT_ONCE = 2
"""Photos that a worker has at a time: while one is at the engine, the other is read or written."""


class PhotoWorker:
    """Makes photos, of which it may be given several at once: one is at the engine, others are read or written."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._guard = threading.Lock()
        limit_libraries(setup.settings.threads, over_environment=True)
        share_memory(setup.beside)
        asked = setup.settings.memory
        self._headroom = Headroom(AT_ONCE, photo_memory(None if asked is None else asked // setup.beside))
        inference, encoding = setup.settings.inference, setup.settings.encoding
        self._held_of = partial(bytes_held, mode=inference.mode, bit_depth=encoding.bit_depth)
        ahead = setup.megapixels
        self._engines = engine_pool(
            setup.settings, setup.sources, lambda line: None, ahead=lambda profile: ahead.get(profile.sha256)
        )

    def begin(self) -> EngineInfo | str:
        """Check that this machine sees the same folders, and open the first engine; returns it, or what is wrong."""
        if self._setup.version != __version__:
            return f"it has nsp {__version__}, and this machine {self._setup.version}"
        if trouble := what_differs(self._setup.proof):
            return trouble
        try:
            return self._engines.get(next(iter(self._setup.profiles.values()))).info
        except NspError as error:
            return str(error)

    def make(self, job: Job, profile_sha256: str, why: str) -> Done | Failure | Fatal:
        """Read, denoise and write one photo; whatever goes wrong with it is returned."""
        settings, task = self._setup.settings, Task(job, self._setup.profiles[profile_sha256], why)
        foreseen = guess_footprint(job.input)
        held = self._held_of(foreseen)
        self._headroom.admit(held, lambda: False)
        try:
            self._headroom.require_room(job.input, foreseen, held)
            ready = read_photo(task, settings, self._headroom.allocator(held, self._setup.proof.token.parent))
            guessed, held = held, self._held_of(footprint_of(ready.frame))
            self._headroom.resize(guessed, held)
            return self._write(task, self._infer(ready))
        except (OutputError, MissingCapabilityError) as error:
            return Fatal(str(error), isinstance(error, OutputError))
        except Exception as error:
            return explain(error, settings)
        finally:
            self._headroom.begin()
            self._headroom.release(held)

    def _infer(self, ready: Ready) -> Made:
        profile = ready.task.profile
        assert profile is not None
        with self._guard:
            context = InferenceContext(
                self._engines.get(profile),
                reference=lambda: self._engines.reference(profile),
                on_tile=lambda done, total: None,
                say=lambda line: None,
            )
            return infer_photo(ready, self._setup.settings, context, self._partial(ready.task.job))

    def _write(self, task: Task, made: Made) -> Done:
        settings, made = self._setup.settings, made.measured()
        row = row_of(task, settings, made.source, made.made)
        partial = partial_path(task.job, self._setup.owner)
        written = write_partial(partial, task.job, made.frame, row, settings.encoding, made.early)
        return Done(made.source, made.made, written)

    def _partial(self, job: Job) -> Path:
        partial = partial_path(job, self._setup.owner)
        partial.unlink(missing_ok=True)  # left by a worker of the same number that died over this photo
        return partial


def absolute(job: Job) -> Job:
    """The job as another process finds it, whatever folder that one works in."""
    return replace(job, input=job.input.absolute(), output=job.output.absolute())
