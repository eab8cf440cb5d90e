"""A run whose photos are made by workers on a cluster; only this process writes the manifest and gives names."""

import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.batch.ahead.workload import rough_megapixels
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.engine_pool import EnginePool
from nsp_pipeline.batch.headroom import POLL_SECONDS
from nsp_pipeline.batch.job import RECORD_FOLDER
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.output.publish import remove_strays
from nsp_pipeline.batch.output.up_to_date import stamp
from nsp_pipeline.batch.photo import Failure, PhotoSteps
from nsp_pipeline.batch.pipeline import Pipeline, Watch
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.batch.workers.crew import Crew, Died, Worker
from nsp_pipeline.batch.workers.process_crew import ProcessCrew
from nsp_pipeline.batch.workers.ray_connection import connected
from nsp_pipeline.batch.workers.ray_crew import RayCrew
from nsp_pipeline.batch.workers.shared_folders import proof_of
from nsp_pipeline.batch.workers.worker import AT_ONCE, Done, Fatal, WorkerSetup
from nsp_pipeline.errors import MissingCapabilityError, OutputError


class WorkersPipeline(Pipeline):
    """One run at work in other processes.

    A worker that dies takes at most AT_ONCE photos along. They come last, each alone with its worker; one whose second
    worker dies as well has failed.
    """

    def __init__(self, steps: PhotoSteps, engines: EnginePool, watch: Watch, sources: Sources, root: Path) -> None:
        super().__init__(steps, engines, watch)
        self._sources = sources
        self._root = root
        self._token = uuid.uuid4().hex
        self._deaths = 0
        self._suspects: deque[Task] = deque()

    def work(self, tasks: Iterable[Task], suspects: Iterable[Task] = ()) -> None:
        """See Pipeline."""
        self._suspects.extend(suspects)
        tasks = list(tasks)
        upcoming = self._to_make(tasks)
        first = next(upcoming, None)
        if first is None and not self._suspects:
            return  # all settled: no cluster is needed
        publisher = self._steps.publisher
        ahead = [first] if first else []
        known = [*ahead, *tasks, *self._suspects]
        profiles = {task.profile.sha256: task.profile for task in known if task.profile}
        jobs = [task.job for task in known]
        root = self._root.absolute()
        inputs = (job.input for job in jobs)
        with proof_of(root, inputs, root / RECORD_FOLDER, str(publisher.owner.shard)) as proof:
            setup = WorkerSetup(self._steps.settings, self._sources, profiles, publisher.owner, __version__, proof)
            work = {name: rough_megapixels(known, one, again=True) for name, one in profiles.items()}
            self._lead(replace(setup, megapixels=work), chain(ahead, upcoming))
        remove_strays({job.output.parent for job in jobs}, publisher.manifest, publisher.lock)

    def _lead(self, setup: WorkerSetup, upcoming: Iterator[Task]) -> None:
        try:
            with _crew_of(setup, self._reporter) as crew:
                self._keep_busy(crew, upcoming)
        except MissingCapabilityError as error:
            self._give_up(error)

    def _keep_busy(self, crew: Crew, upcoming: Iterator[Task]) -> None:
        more = True
        while not self._stopping():
            more = more and not self._out_of_time()
            crew.tend()
            for worker in crew.workers:
                while more and not worker.alone and len(worker.tasks) < AT_ONCE:
                    task = next(upcoming, None)
                    more = task is not None
                    if task:
                        self._give(crew, worker, task, alone=False)
            working = any(worker.tasks for worker in crew.workers)
            if not more and not self._suspects and not working:
                return
            if not more:
                self._give_suspects(crew)
            for ended in crew.wait(POLL_SECONDS):
                self._came_home(ended.task, ended.value)

    def _give(self, crew: Crew, worker: Worker, task: Task, *, alone: bool) -> None:
        self._activity.begin_work(task.job)
        crew.give(worker, task, alone=alone)

    def _give_suspects(self, crew: Crew) -> None:
        """Each to a worker that has nothing else."""
        for worker in crew.workers:
            if not worker.tasks and not self._out_of_time():
                task = next(self._to_make(self._drawn_suspects()), None)
                if task is None:
                    return
                self._give(crew, worker, task, alone=True)
        if self._out_of_time():
            self._suspects.clear()

    def _drawn_suspects(self) -> Iterator[Task]:
        while self._suspects:
            yield self._suspects.popleft()

    def _to_make(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Settle what is not to be made; yield what is."""
        for task in tasks:
            if self._stopping():
                return
            settled, result = self._attempt(task, partial(self._steps.settle, task))
            if result:
                self._attempt(task, partial(self.finish, result, task.job.key))
            elif settled:
                yield task

    def _came_home(self, task: Task, value: Done | Failure | Fatal | Died) -> None:
        if isinstance(value, Done):
            self._attempt(task, partial(self._place, task, value))
        elif isinstance(value, Failure):
            self._attempt(task, partial(self._record_failure, task, value))
        elif isinstance(value, Fatal):
            self._give_up((OutputError if value.output else MissingCapabilityError)(value.message))
        else:
            self._mourn(task, value)

    def _place(self, task: Task, done: Done) -> None:
        result = self._steps.place(task, done.source, done.made, done.written)
        self._activity.end_work(task.job)
        self.finish(result, task.job.key)

    def _record_failure(self, task: Task, failure: Failure) -> None:
        result = self._steps.record_failure(task, failure)
        self._activity.end_work(task.job)
        self.finish(result, task.job.key)

    def _mourn(self, task: Task, death: Died) -> None:
        """A worker died with this photo: it comes again later, on another one, and has the blame unless the machine."""
        self._activity.end_work(task.job)
        self._suspects.append(task)
        if death.blameless:
            self._tell(lambda: self._reporter.say(f"a machine went away; {task.job.name} is made on another"))
            return
        self._tell(lambda: self._reporter.say(f"a worker died; {task.job.name} comes again, last and alone"))
        present = stamp(task.job.input)
        self._deaths += 1
        file = (present.size, present.mtime_ns) if present else (None, None)
        self._steps.manifest.count_deaths(f"{self._token}-{self._deaths}", {task.job.key: file})
        self._steps.learn_deaths()


@contextmanager
def _crew_of(setup: WorkerSetup, reporter: Reporter) -> Iterator[Crew]:
    """The workers that the settings ask for; they end with the context."""
    settings = setup.settings
    with connected(settings.cluster) if settings.cluster else nullcontext() as ray:
        crew = RayCrew(ray, setup, reporter) if ray else ProcessCrew(setup, settings.devices, reporter)
        try:
            yield crew
        finally:
            crew.dismiss()
