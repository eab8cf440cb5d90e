"""What is said of a run in words: its profiles, its photos, its end."""

from collections import defaultdict
from collections.abc import Sequence

from nsp_pipeline.batch.outcome import Ended, Outcome, Result, Summary
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.engines.words import engine_in_words
from nsp_pipeline.file_names import printable

MOST_LOST_NAMED = 12
"""Items of metadata that the last lines of a run name."""
MOST_FAILURES_NAMED = 5
"""Photos that failed for one reason and that the last lines of a run name."""


def profile_line(info: EngineInfo, why: str) -> str:
    """Which profile runs on what, and why that one."""
    computing = engine_in_words(info.name, info.provider, info.precision)
    fallback = f"; {info.fallback}" if info.fallback else ""
    return f"profile {info.profile} ({why}) on {computing}{fallback}"


def result_line(result: Result) -> str:
    """One photo's end in one line."""
    if result.outcome != Outcome.DONE:
        return f"{result.name} {result.outcome}: {result.reason}"
    made = result.made
    parts = [f"{made.megapixels or 0:.1f} MP", f"{made.seconds or 0:.1f} s"]
    parts.append(f"noise {made.noise_before or 0:.1f} -> {made.noise_after or 0:.1f} of 255")
    parts += [f"strength {made.strength:.0%}"] if made.strength is not None else []
    parts += [f"profile {result.profile} ({result.why})"] if result.profile else []
    parts += [made.damaged] if made.damaged else []
    return f"{result.name}: {', '.join(parts)}"


def summary_lines(summary: Summary) -> list[str]:
    """The run in a few lines: what was done, what could not be kept, and what failed."""
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
    place = f"output: {printable(summary.file)}" if summary.file else f"output in {printable(summary.root)}"
    lines = [f"{', '.join(counts)} in {duration(summary.seconds)}{pace}; {place}"]
    lines += [f"  damaged, made of what is left: {result.name}: {result.made.damaged}" for result in summary.damaged]
    lines += _lost_lines(summary.lost)
    lines += failure_lines(failed)
    if summary.ended == Ended.TIME_UP:
        left = "1 photo is left" if summary.remaining == 1 else f"{summary.remaining} photos are left"
        lines.append(f"time is up (--max-duration): {left}; run the same command again to continue")
    if summary.ended == Ended.INTERRUPTED:
        lines.append("interrupted; run the same command again to continue")
    return lines


def failure_lines(failed: Sequence[Result]) -> list[str]:
    """The photos that failed, by reason, the most frequent first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for result in failed:
        reasons[result.reason or ""].append(result.name)
    lines = []
    for reason, names in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        if len(names) <= MOST_FAILURES_NAMED:
            lines += [f"  failed: {name}: {reason}" for name in names]
            continue
        lines.append(f"  {len(names)} failed: {reason}")
        lines += [f"    {name}" for name in names[:MOST_FAILURES_NAMED]]
        lines.append(f"    and {len(names) - MOST_FAILURES_NAMED} more; nsp status OUTPUT --failed names all")
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
