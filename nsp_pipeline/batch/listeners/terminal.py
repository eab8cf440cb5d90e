"""A run on the terminal: a bar with rate and time left; in a log, one line a photo."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from nsp_pipeline.batch.outcome import Ended, Outcome, Result, Summary
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.file_names import printable

LONGEST_NAME = 32
MOST_LOST_NAMED = 12
"""Items of metadata that the last lines of a run name."""

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


def profile_line(info: EngineInfo, why: str) -> str:
    """Which profile runs on what, and why that one."""
    fallback = f"; {info.fallback}" if info.fallback else ""
    return f"profile {info.profile} ({why}) on {info.name}, {info.provider}, {info.precision}{fallback}"


def result_line(result: Result) -> str:
    """One photo's end in one line."""
    if result.outcome != Outcome.DONE:
        return f"{result.name} {result.outcome}: {result.reason}"
    made = result.made
    damaged = f"; {made.damaged}" if made.damaged else ""
    strength = f" strength {made.strength:.2f}" if made.strength is not None else ""
    return (
        f"{result.name} {made.megapixels or 0:.1f} MP {made.seconds or 0:.1f} s{strength} "
        f"noise {made.noise_before or 0:.1f} -> {made.noise_after or 0:.1f}{damaged}"
    )


def summary_lines(summary: Summary) -> list[str]:
    """The run in a few lines, failures by name last."""
    done, skipped, failed = (summary.of(outcome) for outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED))
    counts = [f"{len(done)} done"]
    if skipped:
        reasons: dict[str, int] = {}
        for result in skipped:
            reasons[result.reason or ""] = reasons.get(result.reason or "", 0) + 1
        why = "; ".join(f"{count} {reason}" if len(reasons) > 1 else reason for reason, count in reasons.items())
        counts.append(f"{len(skipped)} skipped ({why})")
    if summary.damaged:
        counts.append(f"{len(summary.damaged)} of them damaged")
    if failed:
        counts.append(f"{len(failed)} failed")
    if summary.remaining:
        counts.append(f"{summary.remaining} left")
    if summary.unchecked:
        counts.append(f"{summary.unchecked} finished before and not looked at again")
    pace = f", {summary.megapixels_per_second:.2f} MP/s" if done else ""
    lines = [f"{', '.join(counts)} in {duration(summary.seconds)}{pace}; output in {printable(summary.root)}"]
    lines += [f"  damaged, made of what is left: {result.name}: {result.made.damaged}" for result in summary.damaged]
    lines += _lost_lines(summary.lost)
    lines += [f"  failed: {result.name}: {result.reason}" for result in failed]
    if summary.ended == Ended.TIME_UP:
        left = "1 photo is left" if summary.remaining == 1 else f"{summary.remaining} photos are left"
        lines.append(f"time is up (--max-duration): {left}; run the same command again to continue")
    if summary.ended == Ended.INTERRUPTED:
        lines.append("interrupted; run the same command again to continue")
    return lines


def _lost_lines(lost: dict[str, int]) -> list[str]:
    """What could not be kept, the most frequent first."""
    ranked = sorted(lost.items(), key=lambda entry: (-entry[1], entry[0]))
    lines = [f"  not kept in {count} photo{'s' * (count != 1)}: {name}" for name, count in ranked[:MOST_LOST_NAMED]]
    if len(ranked) > MOST_LOST_NAMED:
        lines.append(f"  and {len(ranked) - MOST_LOST_NAMED} more items of metadata; nsp verify OUTPUT names all")
    return lines


def duration(seconds: float) -> str:
    """Seconds in words, such as "12 s", "3 min 5 s", "2 h 7 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
