"""What runs in an actor: photos from the shared folder through an engine and back; one row comes home."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import engine_pool
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.output.publish import Owner, Written, partial_path, write_partial
from nsp_pipeline.batch.output.record import Stamp
from nsp_pipeline.batch.photo import Failure, explain, infer_photo, read_photo, row_of
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.batch.workers.shared_folders import Proof, what_differs
from nsp_pipeline.denoise.trusted import InferenceContext
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import MissingCapabilityError, NspError, OutputError
from nsp_pipeline.machine.cpus import limit_libraries
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


class PhotoWorker:
    """Makes photos, of which it may be given several at once: one is at the engine, others are read or written."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup
        self._guard = threading.Lock()
        limit_libraries(setup.settings.threads, over_environment=True)
        self._engines = engine_pool(setup.settings, setup.sources, lambda line: None)

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
        settings, profile = self._setup.settings, self._setup.profiles[profile_sha256]
        task = Task(job, profile, why)
        try:
            ready = read_photo(task, settings)
            with self._guard:
                context = InferenceContext(
                    self._engines.get(profile),
                    reference=lambda: self._engines.reference(profile),
                    on_tile=lambda done, total: None,
                    say=lambda line: None,
                )
                made = infer_photo(ready, settings, context)
            row = row_of(task, settings, made.source, made.made)
            partial = self._partial(job)
            return Done(made.source, made.made, write_partial(partial, job, made.frame, row, settings.encoding))
        except (OutputError, MissingCapabilityError) as error:
            return Fatal(str(error), isinstance(error, OutputError))
        except Exception as error:
            return explain(error, settings)

    def _partial(self, job: Job) -> Path:
        partial = partial_path(job, self._setup.owner)
        partial.unlink(missing_ok=True)  # left by a worker of the same number that died over this photo
        return partial


def absolute(job: Job) -> Job:
    """The job as another process finds it, whatever folder that one works in."""
    return replace(job, input=job.input.absolute(), output=job.output.absolute())
