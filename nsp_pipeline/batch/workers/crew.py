"""What the processes of a run look like to it, wherever they are."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.photo import Failure
from nsp_pipeline.batch.workers.worker import Done, Fatal


@dataclass
class Worker:
    """One process; `tasks` are the photos that it works on, by what tells them apart for its crew."""

    process: Any
    tasks: dict[Any, Task] = field(default_factory=dict)
    alone: bool = False
    """Whether it works on a photo that a worker died over."""


@dataclass(frozen=True)
class Died:
    """The worker died with this photo; `blameless` where the whole machine went away."""

    blameless: bool


@dataclass(frozen=True)
class Ended:
    """One photo is out of its worker's hands."""

    task: Task
    value: Done | Failure | Fatal | Died


class Crew(Protocol):
    """Processes that come and go. Methods are called from one thread."""

    @property
    def workers(self) -> list[Worker]:
        """Those that take photos now."""
        ...

    def tend(self) -> None:
        """Start workers where there is room for more."""

    def wait(self, seconds: float) -> list[Ended]:
        """Wait until something ends, or so long.

        Raises MissingCapabilityError where a worker cannot take part.
        """
        ...

    def give(self, worker: Worker, task: Task, *, alone: bool) -> None:
        """Let a worker make a photo."""

    def dismiss(self) -> None:
        """End all workers, whatever they are at."""
