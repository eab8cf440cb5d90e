"""A run on the terminal: two lines that stay, for the run and for the photo at hand; in a log, a line now and then."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.listeners.fitted import fitted
from nsp_pipeline.batch.listeners.pace import Pace
from nsp_pipeline.batch.listeners.words import duration, profile_line, result_line
from nsp_pipeline.batch.outcome import Outcome, Result
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.frames.frame import Facts

LINE_SECONDS = 30.0
"""A log gets a line about the run no more often than this."""
SHORTEST_BAR, LONGEST_BAR = 8, 40
REFRESHES = 4
"""A second."""

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


def terminal_reporter(console: Console, *, verbose: bool = False, quiet: bool = False) -> "Bar | Lines | OnlyFailures":
    """The reporter that fits: a bar where a person looks on, lines elsewhere, failures alone where that was asked."""
    if quiet:
        return OnlyFailures(console)
    return Bar(console, verbose=verbose) if console.is_terminal else Lines(console, verbose=verbose)


class OnlyFailures:
    """Says which photos failed, and nothing else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._work: Workload | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        self._work = work

    def facts(self, name: str) -> Facts | None:
        """What the header of a photo of the run says, as far as it is known."""
        return self._work.facts(name) if self._work else None

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""

    def working(self, name: str, share: float) -> None:
        """See Reporter."""

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        if result.outcome == Outcome.FAILED:
            self._print(result_line(result))

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""

    @quietly
    def _print(self, text: str) -> None:
        if self._console.is_terminal:
            text = fitted(text, self._console.width)
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Lines(OnlyFailures):
    """For logs: failures at once, and how far the run is every LINE_SECONDS; if `verbose`, a line for each photo."""

    def __init__(self, console: Console, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._verbose, self._clock = verbose, clock
        self._pace = Pace(clock)
        self._last = clock()

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        super().begin(total, work)
        self._pace.begin(total, work)
        self._last = self._clock()

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        self._print(profile_line(info, why, verbose=self._verbose))

    def working(self, name: str, share: float) -> None:
        """See Reporter."""
        self._pace.working(name, share)
        self._now_and_then()

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        self._pace.count(result)
        told = self._verbose and result.outcome != Outcome.SKIPPED
        if told or result.outcome == Outcome.FAILED or result.made.damaged:
            self._print(f"[{number}/{self._pace.total}] {result_line(result)}")
        self._now_and_then()

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        self._print(text)

    def _now_and_then(self) -> None:
        if self._verbose or self._clock() - self._last < LINE_SECONDS:
            return
        self._last = self._clock()
        self._print(", ".join(run_parts(self._pace)))


class Bar(OnlyFailures):
    """Two lines that stay at the bottom; failures are printed above them, and if `verbose` every photo."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        super().__init__(console)
        self._verbose = verbose
        self._pace = Pace()
        self._photo: tuple[str, float] | None = None
        self._live = Live(
            console=console,
            get_renderable=self._drawn,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._guarded(self._live.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guarded(self._live.stop)

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        super().begin(total, work)
        self._pace.begin(total, work)

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        self.say(profile_line(info, why, verbose=self._verbose))

    def working(self, name: str, share: float) -> None:
        """See Reporter."""
        self._pace.working(name, share)
        self._photo = name, share

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        self._pace.count(result)
        told = self._verbose and result.outcome != Outcome.SKIPPED
        if told or result.outcome == Outcome.FAILED or result.made.damaged:
            self.say(result_line(result))

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        self._print(text)

    def _drawn(self) -> Text:
        if not self._pace.total:
            return Text("starting")
        width = self._console.width
        lines = run_line(self._pace, width)
        if self._photo:
            lines.append("\n").append(photo_line(*self._photo, self._pace.size_of(self._photo[0]), width))
        return lines

    @staticmethod
    @quietly
    def _guarded(call: Callable[[], None]) -> None:
        call()


def run_parts(pace: Pace) -> list[str]:
    """How far the run is, the most important first."""
    left = pace.seconds_left
    parts = [
        f"{int(100 * pace.share)} %",
        f"{duration(left)} left" if left is not None else "",
        f"{pace.ended} of {pace.total} photos",
        f"{pace.done:.0f} of {pace.done + pace.left:.0f} MP",
        f"{pace.megapixels_per_second:.2f} MP/s" if left is not None else "",
    ]
    return [part for part in parts if part]


def run_line(pace: Pace, width: int) -> Text:
    """The run in one line: a bar, and as many of its parts as there is room for."""
    parts = run_parts(pace)
    while len(parts) > 1 and SHORTEST_BAR + sum(2 + len(part) for part in parts) > width - 1:
        parts.pop()
    words = "  ".join(parts)
    room = max(0, min(LONGEST_BAR, width - 3 - len(words)))
    full = round(room * pace.share)
    return Text.assemble(("━" * full, "green"), ("━" * (room - full), "dim"), "  ", words, no_wrap=True)


def photo_line(name: str, share: float, megapixels: float, width: int) -> Text:
    """The photo at hand in one line: the end of its name, its size, and how much of it is done."""
    words = (f"  {megapixels:.0f} MP" if megapixels else "") + f"  {int(100 * share)} %"
    room = max(1, width - 1 - len(words))
    shown = name if len(name) <= room else "…" + name[1 - room :]
    return Text(shown + words, style="dim", no_wrap=True)
