"""What is said of a run in words: its profiles, its photos, its end."""

from collections import Counter
from collections.abc import Sequence

from nsp_pipeline.batch.outcome import Ended, Outcome, Result, Summary
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.engines.words import engine_in_words
from nsp_pipeline.file_names import printable

MOST_LOST_NAMED = 12
"""Items of metadata that the last lines of a run name."""
MOST_REASONS = 5
"""Why photos failed, in the last lines of a run."""


def profile_line(info: EngineInfo, why: str, *, verbose: bool = False) -> str:
    """Which profile runs on what, and why that one; if `verbose`, also why on that engine."""
    parts = [f"profile {info.profile} ({why}) on {engine_in_words(info.name, info.provider, info.precision)}"]
    parts += [info.chosen] if verbose and info.chosen else []
    parts += [info.fallback] if info.fallback else []
    return "; ".join(parts)


def result_line(result: Result) -> str:
    """One photo's end in one line."""
    if result.outcome != Outcome.DONE:
        return f"{result.name} {result.outcome}: {result.reason}"
    made = result.made
    parts = [f"{made.megapixels or 0:.1f} MP", f"{made.seconds or 0:.1f} s"]
    parts.append(f"noise {made.noise_before or 0:.1f} -> {made.noise_after or 0:.1f} of 255")
    parts += noise_notes(made)
    parts += [f"strength {100 * made.strength:.0f} %"] if made.strength is not None else []
    parts += [f"profile {result.profile} ({result.why})"] if result.profile else []
    parts += [made.damaged] if made.damaged else []
    return f"{result.name}: {', '.join(parts)}"


def noise_notes(made: Provenance) -> list[str]:
    """Where the noise of a photo was known from, and what it asked for, where either is out of the ordinary."""
    notes = []
    if made.noise_known == 0:
        notes.append("unlike the camera's other photos: estimated from this one alone")
    elif percent := round(100 * (made.noise_known or 0)):
        notes.append(f"{percent} % of it known from the camera's other photos")
    if made.brightened is not None:
        notes.append(f"brightened by up to {made.brightened:.1f} of 255, as its noise lies under a tone curve")
    return notes


def summary_lines(summary: Summary) -> list[str]:
    """The run in a few lines: what was done, what could not be kept, and why photos failed."""
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
    lines += reason_lines(failed)
    if summary.ended == Ended.TIME_UP:
        left = "1 photo is left" if summary.remaining == 1 else f"{summary.remaining} photos are left"
        lines.append(f"time is up (--max-duration): {left}; run the same command again to continue")
    if summary.ended == Ended.INTERRUPTED:
        lines.append("interrupted; run the same command again to continue")
    return lines


def reason_lines(failed: Sequence[Result]) -> list[str]:
    """Why photos failed, where several did for one reason; each was named with its reason when it failed."""
    counts = Counter(result.reason or "" for result in failed)
    common = [(reason, count) for reason, count in counts.most_common() if count > 1]
    lines = [f"  {count} failed: {reason}" for reason, count in common[:MOST_REASONS]]
    if left := sum(counts.values()) - sum(count for _, count in common[:MOST_REASONS]) if lines else 0:
        lines.append(f"  {left} for other reasons")
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
