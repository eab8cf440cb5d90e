"""The events of a run, and the listener interface that terminal, log and tests implement."""

from typing import Any, Protocol

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.outcome import Result
from nsp_pipeline.engines.engine import EngineInfo


class Reporter(Protocol):
    """Hears of a run. Calls may come from any thread, one at a time; none may raise."""

    def begin(self, total: int, work: Workload | None = None) -> None:
        """The run starts; it has this many photos before it, and `work` says how large they are."""

    def using(self, info: EngineInfo, why: str) -> None:
        """A profile is used for the first time, on this engine, for this reason."""

    def working(self, name: str, share: float) -> None:
        """A photo is at its engine, and this share of it (0 to 1) is done."""

    def finished(self, result: Result, number: int) -> None:
        """One photo has come to its end, the `number`-th to do so."""

    def say(self, text: str, **facts: Any) -> None:
        """Anything else worth knowing; `facts` are for logs."""


class Everybody:
    """Passes everything on to several reporters."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        for reporter in self._reporters:
            reporter.begin(total, work)

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        for reporter in self._reporters:
            reporter.using(info, why)

    def working(self, name: str, share: float) -> None:
        """See Reporter."""
        for reporter in self._reporters:
            reporter.working(name, share)

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        for reporter in self._reporters:
            reporter.finished(result, number)

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        for reporter in self._reporters:
            reporter.say(text, **facts)
