"""A run as calls of another program's function."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.outcome import Result
from nsp_pipeline.engines.engine import EngineInfo


@dataclass(frozen=True)
class FolderProgress:
    """One photo has come to its end: it is number `finished` of `total`."""

    finished: int
    total: int
    latest: Result


class Callback:
    """Tells a function of every photo that has come to its end; where the function raises, the run is asked to end."""

    def __init__(self, function: Callable[[FolderProgress], object], cancel: threading.Event) -> None:
        self._function = function
        self._cancel = cancel
        self._total = 0
        self.error: BaseException | None = None
        """What the function raised."""

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        self._total = total

    def using(self, info: EngineInfo, why: str) -> None:
        """Every result says it."""

    def working(self, name: str, share: float) -> None:
        """Only whole photos are told of."""

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        if self.error:
            return
        try:
            self._function(FolderProgress(number, self._total, result))
        except BaseException as error:
            self.error = error
            self._cancel.set()

    def say(self, text: str, **facts: Any) -> None:
        """Results and the summary say what matters to a program."""
