"""Workers of this machine: one process for each GPU."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.job import Job
from nsp_pipeline.batch.listeners.listener import Reporter
from nsp_pipeline.batch.workers.crew import Died, Ended, Worker
from nsp_pipeline.batch.workers.worker import AT_ONCE, PhotoWorker, WorkerSetup, absolute
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.machine.cpus import usable_cpus


class ProcessCrew:
    """One worker process for each device; one that died is started anew."""

    def __init__(self, setup: WorkerSetup, devices: Sequence[str], reporter: Reporter) -> None:
        self._reporter = reporter
        # Started anew rather than forked: CUDA does not survive a fork, and neither do locks of threads.
        self._context = multiprocessing.get_context("spawn")
        threads = setup.settings.threads or max(1, usable_cpus() // len(devices))
        self._setups = {
            device: replace(
                setup, settings=replace(setup.settings, device=device, threads=threads), beside=len(devices)
            )
            for device in devices
        }
        self._links: dict[str, Connection] = {}
        self._starting: dict[str, Worker] = {}
        self._working: dict[str, Worker] = {}
        self._given = 0

    @property
    def workers(self) -> list[Worker]:
        """See Crew."""
        return list(self._working.values())

    def tend(self) -> None:
        """See Crew."""
        for device, setup in self._setups.items():
            if device not in self._links:
                ours, theirs = self._context.Pipe()
                process = self._context.Process(target=_serve, args=(setup, theirs), daemon=False)
                process.start()
                theirs.close()
                self._links[device] = ours
                self._starting[device] = Worker(process)

    def wait(self, seconds: float) -> list[Ended]:
        """See Crew."""
        devices = {link: device for device, link in self._links.items()}
        ended: list[Ended] = []
        for link in wait(list(devices), timeout=seconds):
            assert isinstance(link, Connection)
            device = devices[link]
            try:
                number, value = link.recv()
            except (EOFError, OSError):
                ended += self._lost(device)
                continue
            if number is None:
                self._started(device, value)
            else:
                worker = self._working[device]
                ended.append(Ended(worker.tasks.pop(number), value))
                worker.alone = worker.alone and bool(worker.tasks)
        return ended

    def give(self, worker: Worker, task: Task, *, alone: bool) -> None:
        """See Crew."""
        assert task.profile is not None
        device = next(device for device, one in self._working.items() if one is worker)
        self._given += 1
        worker.alone = alone
        worker.tasks[self._given] = task
        try:
            self._links[device].send((self._given, absolute(task.job), task.profile.sha256, task.why))
        except OSError:
            return  # it just died, which the next wait tells

    def dismiss(self) -> None:
        """See Crew."""
        for worker in (*self._working.values(), *self._starting.values()):
            worker.process.kill()
            worker.process.join()

    def _started(self, device: str, found: Any) -> None:
        worker = self._starting.pop(device)
        if isinstance(found, str):
            raise MissingCapabilityError(f"{device}: {found}")
        self._working[device] = worker
        self._reporter.using(found, f"the worker on {device}")

    def _lost(self, device: str) -> list[Ended]:
        self._links.pop(device).close()
        if worker := self._starting.pop(device, None):
            worker.process.join()
            raise MissingCapabilityError(
                f"{device}: the worker died while it opened its engine (exit code {worker.process.exitcode}); "
                "`nsp doctor` may say what is missing"
            )
        worker = self._working.pop(device)
        worker.process.join()
        return [Ended(task, Died(blameless=False)) for task in worker.tasks.values()]


def _serve(setup: WorkerSetup, link: Connection) -> None:
    """The life of a worker process; it ends when the other end of the link is closed, or its owner died."""
    # Ctrl-C goes to all processes of a terminal; the one that leads says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker, guard = PhotoWorker(setup), threading.Lock()
    link.send((None, worker.begin()))

    def make(number: int, job: Job, profile_sha256: str, why: str) -> None:
        value = worker.make(job, profile_sha256, why)
        with guard:
            link.send((number, value))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        while True:
            try:
                threads.submit(make, *link.recv())
            except (EOFError, OSError):
                os._exit(0)  # whatever is half made has no name yet
