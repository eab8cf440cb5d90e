"""`nsp status`: how far a denoised folder is, from its record, and from a look at what lies there."""

import time
from pathlib import Path

import click

from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.batch.output.manifest import read_manifest
from nsp_pipeline.batch.output.up_to_date import GONE
from nsp_pipeline.batch.status.progress import Pace, Progress, Tally, look_at
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.say import note
from nsp_pipeline.cli.shared.standard_output import print_json, print_line
from nsp_pipeline.cli.shared.verbosity import is_verbose
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable

MOST_NAMED = 20
"""Photos that are named for each reason; -v and --json name all."""


@click.command(
    name="status",
    cls=HelpfulCommand,
    examples=(
        "nsp status clean",
        "nsp status clean --failed",
    ),
)
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--failed", is_flag=True, help="Name every photo that failed, one a line, with its reason, and no more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(output: Path, failed: bool, as_json: bool) -> None:
    """Say what is done in OUTPUT, what failed and why; of a run at work, how fast it is and when it will be done.

    Where no run is at work, also what the next run of the same command would make again, and why. Of photos that no
    run has seen yet, `nsp denoise --dry-run` tells. Shards are added up. Changes nothing.

    Exit codes: 0 said; 2 no run ever worked there; 4 the record cannot be read.
    """
    folder = output.parent if output.is_file() else output
    with read_manifest(folder, note) as manifest:
        if manifest is None:
            raise UsageError(f"{printable(output)}: nsp has no record there; name the OUTPUT of an earlier run")
        progress = look_at(folder, manifest)
    if as_json:
        print_json(progress.failures_as_json() if failed else progress.as_json())
    else:
        for line in _failure_lines(progress) if failed else _lines(progress):
            print_line(line)


def _failure_lines(progress: Progress) -> list[str]:
    return [f"{row.input}: {reason}" for reason, rows in progress.failures_by_reason.items() for row in rows]


def _lines(progress: Progress) -> list[str]:
    counts = progress.counts
    left_out = f", {counts['left-out']} left out for want of a profile" if counts["left-out"] else ""
    lines = [f"{progress.output}: {counts['done']} done, {counts['failed']} failed{left_out}"]
    if progress.other_settings:
        lines.append(f"  {progress.other_settings} of the done ones with other settings than the last run's")
    if progress.gone:
        lines.append(f"  {len(progress.gone)} of the done ones are gone; the same command makes them again")
        lines += _named(list(progress.gone))
    if progress.damaged:
        lines.append(f"  {len(progress.damaged)} of the done ones made of damaged photos (--damaged keep)")
        lines += _named([f"{row.input}: {row.made.damaged}" for row in progress.damaged])
    for reason, rows in progress.failures_by_reason.items():
        lines.append(f"  {len(rows)} failed: {reason}")
        lines += _named([row.input for row in rows])
    if progress.earlier:
        lines.append(f"  beside them, {_earlier(len(progress.earlier))}")
    return [*lines, *_lines_of_run(progress), *_lines_of_next_run(progress)]


def _earlier(count: int) -> str:
    what = "1 finished file" if count == 1 else f"{count} finished files"
    return f"{what} of earlier runs, with another format, name or settings, or of a photo that failed since"


def _lines_of_next_run(progress: Progress) -> list[str]:
    lines: list[str] = []
    for reason, entries in progress.due_by_reason.items():
        if reason != GONE:  # named above
            lines.append(f"the next run makes {len(entries)} again: {reason}")
            lines += _named([entry.input for entry in entries])
    if progress.lasting and not progress.running:
        lines.append(f"the next run does not try again what failed ({progress.lasting}); with --retry-failed it does")
    return lines


def _named(names: list[str]) -> list[str]:
    most = len(names) if is_verbose() else MOST_NAMED
    more = [f"    and {len(names) - most} more; -v names all"] if len(names) > most else []
    return [f"    {name}" for name in names[:most]] + more


def _lines_of_run(progress: Progress) -> list[str]:
    numbers = [f"  {_numbers(progress.run)}"] if progress.run else []
    last = progress.last_run
    if progress.running:
        return ["a run is at work there now", *numbers, *(_pace(progress.pace) if progress.pace else [])]
    if last is None:
        return []
    if last["ended"] is None:
        return [f"the last run began {_when(last['started'])} and was killed; the same command continues it", *numbers]
    return [f"the last run ended {_when(last['ended'])}: {last['outcome']}", *numbers]


def _numbers(run: Tally) -> str:
    words = {
        "done": run.done, "skipped": run.skipped, "failed": run.failed, "left": run.remaining,
        "finished before and not looked at yet": run.unchecked,
    }  # fmt: skip
    return f"{run.total} photo{'' if run.total == 1 else 's'}: " + ", ".join(
        f"{count} {word}" for word, count in words.items() if count or word in ("done", "left")
    )


def _pace(pace: Pace) -> list[str]:
    lines = [f"  in work: {', '.join(pace.in_work)}"] if pace.in_work else []
    if pace.photos_per_hour:
        left = f", {duration(pace.seconds_left)} left" if pace.seconds_left is not None else ""
        lines.append(f"  {pace.photos_per_hour:.0f} photos/h, {pace.megapixels_per_hour:.0f} MP/h{left}")
    return lines


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
