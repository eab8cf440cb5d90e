"""What stands at the end of a run: a table by camera and profile, and what to type next."""

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence

from rich.table import Column, Table
from rich.text import Text

from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.batch.outcome import Outcome, Result, Summary
from nsp_pipeline.file_names import printable

MOST_ROWS = 12

Shot = Callable[[str], str]
"""Gives the camera and ISO of a photo, by its name."""


def closing_table(results: Sequence[Result], shot: Shot) -> Table | None:
    """The photos that were made, by camera and profile; None where there are none.

    Noise is the mean sigma in 8-bit steps, before and after; seconds are those at work, of all photos together.
    """
    groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        if result.outcome == Outcome.DONE:
            groups[shot(result.name), result.profile or ""].append(result)
    if not groups:
        return None
    right = [Column(name, justify="right", no_wrap=True) for name in ("photos", "MP", "noise (of 255)", "time")]
    columns = [Column("camera", ratio=1, min_width=16), Column("profile", no_wrap=True), *right]
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), *map(_by_numbers, group[0])))
    for (camera, profile), own in ranked[:MOST_ROWS]:
        table.add_row(*map(Text, (camera, profile, *_figures(own))))
    if rest := [result for _, own in ranked[MOST_ROWS:] for result in own]:
        table.add_row(*map(Text, (f"and {len(ranked) - MOST_ROWS} more", "", *_figures(rest))))
    return table


def next_lines(summary: Summary, *, reported: bool) -> list[str]:
    """What to type next; `reported` is whether a report was written already."""
    root = shlex.quote(printable(summary.file or summary.root))
    lines = [] if reported or not summary.of(Outcome.DONE) else [f"before and after: nsp report {root}"]
    # Of a single photo that failed there is no output to ask for, but the folder's record.
    record = shlex.quote(printable(summary.root))
    return lines + ([f"what failed, and why: nsp status {record} --failed"] if summary.of(Outcome.FAILED) else [])


def _by_numbers(text: str) -> list[str | int]:
    """Sorts ISO 800 before ISO 3200."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", text)]


def _figures(results: Sequence[Result]) -> tuple[str, ...]:
    made = [result.made for result in results]
    noises = [
        sum(known) / len(known) if (known := [value for value in values if value is not None]) else 0.0
        for values in ([one.noise_before for one in made], [one.noise_after for one in made])
    ]
    return (
        str(len(made)),
        f"{sum(one.megapixels or 0.0 for one in made):.0f}",
        f"{noises[0]:.1f} -> {noises[1]:.1f}",
        duration(sum(one.seconds or 0.0 for one in made)),
    )
