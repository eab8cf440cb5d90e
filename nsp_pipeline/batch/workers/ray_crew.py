"""The workers of a run on a cluster: as many as its machines have GPUs or shares of processors."""

import time
from dataclasses import replace
from typing import Any

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.workers.crew import Died, Ended, Worker
from nsp_pipeline.batch.workers.worker import AT_ONCE, PhotoWorker, WorkerSetup, absolute
from nsp_pipeline.errors import MissingCapabilityError

LARGEST_SHARE = 8
"""Processors of one worker on a machine without a GPU; more of them speed up one engine ever less."""
TEND_SECONDS = 5.0
MOST_STILLBORN = 5
"""So many workers may die before they have begun, while none works."""
NODE_DIED = "node has died"
"""What Ray says of a worker that went with its machine."""


class NodeWorker(PhotoWorker):
    """A worker that shares the memory of the machine that Ray put it on with as many others as that has room for."""

    def __init__(self, setup: WorkerSetup, resource: str, share: int) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        rooms = [_room(node, resource, share) for node in ray.nodes() if node["NodeID"] == here]
        super().__init__(replace(setup, beside=max([1, *rooms])))


class RayCrew:
    """Workers that come with machines and go with them."""

    def __init__(self, ray: Any, setup: WorkerSetup, reporter: Reporter) -> None:
        self._ray = ray
        self._reporter = reporter
        on_gpu = setup.settings.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        self._share = 1 if on_gpu else self._share_of_processors(setup.settings.threads)
        self._resource = "GPU" if on_gpu else "CPU"
        if not on_gpu:
            setup = replace(setup, settings=replace(setup.settings, threads=self._share))
        self._setup = ray.put(setup)
        resources = {"num_gpus": 1, "num_cpus": 0} if on_gpu else {"num_cpus": self._share}
        # Restarting is ours to do: a photo that kills its worker must not be handed to the next one unseen.
        self._kind = ray.remote(**resources, max_concurrency=AT_ONCE, max_restarts=0, max_task_retries=0)(NodeWorker)
        self._starting: dict[Any, Worker] = {}
        self._tended = float("-inf")
        self._stillborn = 0
        self._working: list[Worker] = []

    def _share_of_processors(self, threads: int | None) -> int:
        counts = [int(node["Resources"].get("CPU", 0)) for node in self._nodes()]
        smallest = min((count for count in counts if count), default=0)
        if not smallest:
            raise MissingCapabilityError("--cluster: none of its machines offers a GPU or a processor to work on")
        return min(smallest, threads or LARGEST_SHARE)

    @property
    def workers(self) -> list[Worker]:
        """See Crew."""
        return self._working

    def tend(self) -> None:
        """See Crew; looks at the cluster every few seconds."""
        if time.monotonic() - self._tended < TEND_SECONDS:
            return
        self._tended = time.monotonic()
        room = sum(_room(node, self._resource, self._share) for node in self._nodes())
        for _ in range(room - len(self._working) - len(self._starting)):
            worker = Worker(self._kind.remote(self._setup, self._resource, self._share))
            self._starting[worker.process.begin.remote()] = worker

    def wait(self, seconds: float) -> list[Ended]:
        """See Crew; a machine that does not see the same folders, or cannot open the engine, cannot take part."""
        references = [*self._starting, *(reference for worker in self._working for reference in worker.tasks)]
        if not references:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        return [entry for reference in ended for entry in self._ended(reference)]

    def _ended(self, reference: Any) -> list[Ended]:
        starting = self._starting.pop(reference, None)
        if starting:
            self._started(starting, reference)
            return []
        worker = next(one for one in self._working if reference in one.tasks)
        try:
            value = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._working.remove(worker)
            self._tended = float("-inf")
            return [Ended(task, Died(NODE_DIED in str(error))) for task in worker.tasks.values()]
        task = worker.tasks.pop(reference)
        worker.alone = worker.alone and bool(worker.tasks)
        return [Ended(task, value)]

    def _started(self, worker: Worker, reference: Any) -> None:
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # Its machine may have gone away: the next look at the cluster starts another, if not for ever.
            self._stillborn += 1
            if self._stillborn > MOST_STILLBORN and not self._working:
                raise MissingCapabilityError(f"--cluster: its workers do not start: {error}") from error
            return
        if isinstance(found, str):
            self._ray.kill(worker.process)
            raise MissingCapabilityError(f"a machine of the cluster cannot take part: {found}")
        self._working.append(worker)
        self._reporter.using(found, f"worker {len(self._working)} of the cluster")

    def give(self, worker: Worker, task: Task, *, alone: bool) -> None:
        """See Crew."""
        assert task.profile is not None
        worker.alone = alone
        reference = worker.process.make.remote(absolute(task.job), task.profile.sha256, task.why)
        worker.tasks[reference] = task

    def dismiss(self) -> None:
        """See Crew."""
        for worker in (*self._working, *self._starting.values()):
            self._ray.kill(worker.process)

    def _nodes(self) -> list[Any]:
        return [node for node in self._ray.nodes() if node["Alive"]]


def _room(node: Any, resource: str, share: int) -> int:
    """How many workers a machine has room for."""
    return int(node["Resources"].get(resource, 0) // share)
