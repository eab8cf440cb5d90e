"""A run on the terminal: a bar with rate and time left; in a log, one line a photo."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from nsp_pipeline.batch.listeners.words import duration, profile_line, result_line
from nsp_pipeline.batch.outcome import Outcome, Result
from nsp_pipeline.engines.engine import EngineInfo

LONGEST_NAME = 32
P = ParamSpec("P")


def quietly(call: Callable[P, None]) -> Callable[P, None]:
    """Let a terminal that went away (a closed pipe, a lost connection) not end a night's work."""

    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            call(*args, **kwargs)
        except (OSError, ValueError):
            return

    return guarded


class PatientConsole(Console):
    """A console on stderr that falls silent when nobody listens any more, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        """See Console."""
        self.quiet = True


def terminal_reporter(console: Console) -> "Bar | Lines":
    """The reporter that fits: a bar where a person looks on, lines elsewhere."""
    return Bar(console) if console.is_terminal else Lines(console)


class Lines:
    """One line for each photo made or failed, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def begin(self, total: int) -> None:
        """See Reporter."""
        self._total = total

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        self._print(profile_line(info, why))

    def working(self, name: str, share: float) -> None:
        """A log does not need it."""

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        if result.outcome != Outcome.SKIPPED:
            self._print(f"[{number}/{self._total}] {result_line(result)}")

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        self._print(text)

    @quietly
    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Bar:
    """A progress bar, with failures printed above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        columns = (
            TextColumn("{task.fields[name]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self._progress = Progress(*columns, console=console, transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("", start=False, total=None, name="starting", pace="")
        self._finished = 0

    def __enter__(self) -> Self:
        self._guarded(self._progress.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guarded(self._progress.stop)

    def begin(self, total: int) -> None:
        """See Reporter."""
        self._pace.begin(total)
        self._guarded(lambda: self._progress.reset(self._task, total=total))

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        self.say(profile_line(info, why))

    def working(self, name: str, share: float) -> None:
        """See Reporter."""
        shown = name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]
        text = f"{escape(shown)} {share:4.0%}"
        self._update(self._finished + share, name=text)

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        self._pace.count(result)
        self._finished = number
        if result.outcome == Outcome.FAILED or result.made.damaged:
            self.say(result_line(result))
        self._update(number)

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        self._guarded(lambda: self._console.print(text, highlight=False, markup=False, soft_wrap=True))

    def _update(self, completed: float, **fields: Any) -> None:
        pace = self._pace.text()
        self._guarded(lambda: self._progress.update(self._task, completed=completed, pace=pace, **fields))

    @staticmethod
    @quietly
    def _guarded(call: Callable[[], None]) -> None:
        call()


class Pace:
    """How fast photos are made, and how long the rest will take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._total = 0
        self._ended = 0
        self._made = 0
        self._megapixels = 0.0

    def begin(self, total: int) -> None:
        """The work starts now, with this many photos to go."""
        self._began = self._clock()
        self._total = total

    def count(self, result: Result) -> None:
        """One photo has come to its end; those skipped say nothing about the pace of the others."""
        self._ended += 1
        if result.outcome == Outcome.DONE:
            self._made += 1
            self._megapixels += result.made.megapixels or 0.0

    def text(self) -> str:
        """Such as "3.1 photos/min  0.42 MP/s  1 h 12 min left"; empty before the first photo is made."""
        seconds = self._clock() - self._began
        if not self._made or seconds <= 0:
            return ""
        left = (self._total - self._ended) * seconds / self._made
        rate = self._megapixels / seconds
        return f"{60 * self._made / seconds:.1f} photos/min  {rate:.2f} MP/s  {duration(left)} left"
