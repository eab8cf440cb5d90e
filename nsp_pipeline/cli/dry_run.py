"""What `--dry-run` says: photos, megapixels, time and disk by profile; each photo with -v or in JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from nsp_pipeline.batch.ahead.forecast import Forecast
from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.folder import FolderRun
from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.batch.output.up_to_date import GONE, NEW, Action
from nsp_pipeline.batch.run import Foreseen
from nsp_pipeline.cli.shared.finding import search_document
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json, print_line, print_rich
from nsp_pipeline.cli.shared.verbosity import is_quiet, is_verbose
from nsp_pipeline.file_names import printable


def tell_ahead(
    run: FolderRun, console: Console, calibration: Mapping[str, Any] | None = None, *, as_json: bool
) -> None:
    """Print what a run would do, and what it would take; a JSON document has what is said of calibrations as well."""
    foreseen, tasks = run.foresee()
    if as_json:
        known = {"calibration": calibration} if calibration else {}
        print_json({**_document(run, foreseen, _forecast(run, tasks, console) if tasks else None), **known})
        return
    if is_verbose():
        for entry in foreseen:
            print_line(_line(entry))
    for reason, count in Counter(entry.reason for entry in foreseen if entry.action == Action.FAIL).most_common():
        print_line(f"{_counted(count)} would fail: {reason}")
    for reason, count in Counter(entry.reason for entry in foreseen if entry.action == Action.SKIP).most_common():
        print_line(f"{_counted(count)} skipped: {reason}")
    again = (entry.reason for entry in foreseen if entry.action == Action.MAKE and entry.reason not in (NEW, GONE))
    for reason, count in Counter(again).most_common():
        print_line(f"{_counted(count)} would be made again and replaced: {reason}")
    if not tasks:
        if foreseen:
            print_line("nothing to make")
        return
    ahead = _forecast(run, tasks, console)
    if not is_quiet():
        print_rich(_table(ahead))
    for line in total_lines(ahead):
        print_line(line)


def _forecast(run: FolderRun, tasks: Sequence[Task], console: Console) -> Forecast:
    with console.status("trying pieces of photos, to tell the time", spinner="dots"):
        return run.forecast(tasks, lambda line: say(console, line))


def _document(run: FolderRun, foreseen: Sequence[Foreseen], ahead: Forecast | None) -> dict[str, Any]:
    """The same as JSON, of the form that a run's document has: the whole, the profiles, photo by photo."""
    counts = Counter(str(entry.action) for entry in foreseen)
    shares = ahead.shares if ahead else ()
    return {
        "summary": {
            "output": printable(run.plan.file or run.plan.root),
            **{str(action): counts[str(action)] for action in Action},
            "megapixels": round(sum(share.megapixels for share in shares), 2),
            "seconds": _rounded(ahead.seconds) if ahead else 0,
            "bytes": _rounded(ahead.bytes) if ahead else 0,
            "bytes_free": ahead.free if ahead else None,
            "trouble": ahead.trouble if ahead else None,
        },
        "profiles": [
            {**vars(share), "seconds": _rounded(share.seconds), "bytes": _rounded(share.bytes)} for share in shares
        ],
        "photos": [vars(entry) for entry in foreseen],
        "search": search_document(run.plan.found),
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def total_lines(ahead: Forecast) -> list[str]:
    """The whole in a sentence, and what stands in the way."""
    photos = _counted(sum(share.photos for share in ahead.shares))
    parts = [f"{sum(share.megapixels for share in ahead.shares):.0f} megapixels"]
    parts += [f"about {duration(ahead.seconds)} here"] if ahead.seconds is not None else []
    parts += [f"about {size_in_words(ahead.bytes)} on the disk"] if ahead.bytes is not None else []
    free = f" ({size_in_words(ahead.free)} are free)" if ahead.free is not None else ""
    lines = [f"{photos} to make: {', '.join(parts)}{free}"]
    if ahead.is_too_much:
        lines.append("the disk is too small: make room, or choose an OUTPUT on another disk")
    if ahead.trouble:
        lines.append(f"not all could be tried: {ahead.trouble}")
    return lines


def size_in_words(size: float) -> str:
    """Bytes as a person says them, such as "2.1 GB"."""
    for unit, least in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= least:
            return f"{size / least:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


def _table(ahead: Forecast) -> Table:
    right = [Column(name, justify="right", no_wrap=True) for name in ("photos", "megapixels", "time", "disk")]
    table = Table("profile", *right, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for share in ahead.shares:
        table.add_row(
            Text(share.profile),
            str(share.photos),
            f"{share.megapixels:.0f}",
            "?" if share.seconds is None else duration(share.seconds),
            "?" if share.bytes is None else size_in_words(share.bytes),
        )
    return table


def _line(entry: Foreseen) -> str:
    made_by = f" with profile {entry.profile} ({entry.why})" if entry.profile and entry.action == Action.MAKE else ""
    target = f" -> {entry.output}" if entry.output and entry.action == Action.MAKE else ""
    return f"{entry.action} {entry.input}{target}{made_by}: {entry.reason}"


def _counted(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"
