"""`nsp scan`: which cameras, ISO and kinds of file an archive holds, and how noisy they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from nsp_pipeline.calibration.archive.groups import Group, group_photos, merge_alike
from nsp_pipeline.calibration.archive.survey import advise, measure_groups, noise_spec
from nsp_pipeline.calibration.archive.verdict import (
    calibration_in_words,
    can_calibrate,
    enough_together,
    noise_in_words,
)
from nsp_pipeline.cli.calibrate.how_long import usual_seconds
from nsp_pipeline.cli.shared.finding import PHOTOS, find_options, search_document, search_lines
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.recipe_options import recipe_option
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json, print_rich, printed_to_a_terminal
from nsp_pipeline.cli.shared.verbosity import is_quiet, is_verbose
from nsp_pipeline.errors import ExitCode, PhotoError, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.report.noise_page import noise_report
from nsp_pipeline.report.page import write_page

EXPLAINED = (
    "noise: its standard deviation, in steps of 0 to 255",
    "nsp calibrate makes a profile of a group; -v says more",
)
EXPLAINED_MORE = (
    EXPLAINED[0],
    "alike: correlation of the noise of neighbouring pixels; s, PD: what nsp calibrate takes for it",
)
NO_TORCH = "nsp calibrate needs PyTorch: pip install 'nsp-pipeline[cpu,train]'"


@click.command(
    name="scan",
    cls=HelpfulCommand,
    examples=(
        "nsp scan photos",
        "nsp scan photos --noise --report noise.html",
    ),
)
@click.argument("photos", nargs=-1, required=True, type=PHOTOS)
@recipe_option
@click.option("--noise", is_flag=True, help="Measure the noise of every group as well; this opens some of its photos.")
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Photos to open of each group.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with a picture of each group, what its noise means, and the measurements; needs --noise.",
)
@find_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, with the files of each group."
)
def command(
    photos: tuple[Path, ...],
    noise: bool,
    samples: int,
    report: Path | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    as_json: bool,
) -> None:
    """List what PHOTOS (files or folders) are: groups by camera, ISO, kind of file and size.

    Only metadata is read, which takes seconds. ISO is grouped in third stops. With --noise some photos of each group
    are opened; neighbouring ISO with the same noise are joined, and each group's verdict says whether a profile of its
    own can be made of it, and how long that takes here. Photos that were edited or resized, or have no metadata, are
    listed apart.

    If one camera goes by several names, give it one in cameras.toml (`nsp doctor` shows where that file is):

    \b
      [aliases]
      "NIKON D800" = "Studio Nikon"

    Exit codes: 0 all done; 1 some photos or folders cannot be read; 2 wrong usage, or a folder without any photo; 4 the
    report cannot be written.
    """
    if report and not noise:
        raise UsageError("--report shows measured noise: add --noise")
    console = Console(stderr=True)
    found = find_photos(photos, FindRules(include=include, exclude=exclude))
    seconds = None
    with _progress(console) as progress:
        bar = progress.add_task("reading metadata", total=None)
        groups, refused = group_photos(
            found.paths,
            read_aliases(aliases_file()),
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
        if noise:
            bar = progress.add_task("measuring noise", total=None)
            groups, failed = measure_groups(
                groups, samples, lambda done, total: progress.update(bar, completed=done, total=total)
            )
            groups = merge_alike(groups)
            refused += failed
            if any(map(can_calibrate, groups)):
                progress.add_task("trying how long a calibration takes", total=None)
                seconds = usual_seconds()
    refused = [entry.error for entry in found.unreadable] + refused
    for line in search_lines(found):
        say(console, line)
    for error in refused:
        say(console, f"left out: {error}", style="yellow")
    if as_json:
        known = {"calibration_seconds": round(seconds)} if seconds else {}
        print_json({**_document(groups, refused, measured=noise), **known, "search": search_document(found)})
    elif groups:
        print_rich(*_table(groups, measured=noise, seconds=seconds))
    if report and groups:
        write_page(report, noise_report(groups, seconds))
        say(console, f"report: {printable(report)}")
    if trouble := found.nothing or found.without_photos:
        raise UsageError(trouble)
    if refused:
        raise SystemExit(ExitCode.SOME_FAILED)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=is_quiet())


def _table(groups: Sequence[Group], *, measured: bool, seconds: float | None) -> list[Table | Text]:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    named = (
        ("camera", "ISO", "kind", "size")
        if _in_full() or not measured or _differ_in_kind(groups)
        else ("camera", "ISO")
    )
    for column in named:
        table.add_column(column, no_wrap=column != "camera")
    table.add_column("photos", justify="right", no_wrap=True)
    if measured:
        table.add_column("noise (of 255)", justify="right", no_wrap=True)
        table.add_column("in words")
    if measured and _in_full():
        for column in ("alike", "s", "PD"):
            table.add_column(column, justify="right", no_wrap=True)
    troubles: list[str] = []
    for group in groups:
        about = [
            group.camera or "no metadata",
            _iso(group),
            f"{'edited ' * group.edited}{group.kind}",
            "{}×{}".format(*group.size) if group.size else "",
        ]
        cells = [*about[: len(named)], str(len(group.paths))]
        if measured:
            level = f"{group.sigma:.1f}" if group.sigma is not None else ""
            cells += [level, f"{noise_in_words(group.sigma)}; {calibration_in_words(group, seconds)}"]
            cells += _method_cells(group, troubles)
        # Texts, not strings: what a camera calls itself is no markup.
        table.add_row(*map(Text, cells))
    notes = [f"({mark}) {text}" for mark, text in enumerate(troubles, 1)] if _in_full() else []
    if measured:
        missing = seconds is None and any(map(can_calibrate, groups))
        together = [
            f"{camera}: its {count} photos of all ISO together are enough for a profile (nsp calibrate --split camera)"
            for camera, count in enough_together(groups).items()
        ]
        notes = [*(EXPLAINED_MORE if _in_full() else EXPLAINED), *together, *[NO_TORCH] * missing, *notes]
    return [table, *map(Text, notes)]


def _differ_in_kind(groups: Sequence[Group]) -> bool:
    """Whether some of the groups are told apart by more than camera and ISO."""
    return len({(group.camera, group.iso) for group in groups}) < len(groups)


def _in_full() -> bool:
    """Whether to show every column: another program may look for it."""
    return is_verbose() or not printed_to_a_terminal()


def _method_cells(group: Group, troubles: list[str]) -> list[str]:
    """In full correlation, s and PD; what stands in the way gets a number, and its text goes under the table."""
    advice = advise(group.noise)
    if advice.trouble and advice.trouble not in troubles:
        troubles.append(advice.trouble)
    if not _in_full():
        return []
    mark = f"({troubles.index(advice.trouble) + 1})" if advice.trouble else ""
    shared = f"{group.noise.by_lag[0]:.2f}" if group.noise else ""
    return [shared, mark or str(advice.s), mark or ("no" if advice.pd_factor == 1 else str(advice.pd_factor))]


def _iso(group: Group) -> str:
    if group.iso is None:
        return "?"
    return f"{group.iso[0]}" if group.iso[0] == group.iso[1] else f"{group.iso[0]}-{group.iso[1]}"


def _document(groups: Sequence[Group], refused: Sequence[PhotoError], *, measured: bool) -> dict[str, Any]:
    return {
        "groups": [{**_about(group), **({"noise": _noise(group)} if measured else {})} for group in groups],
        "refused": [{"file": printable(error.path), "reason": error.reason} for error in refused],
    }


def _about(group: Group) -> dict[str, Any]:
    return {
        "camera": group.camera,
        "iso_min": group.iso[0] if group.iso else None,
        "iso_max": group.iso[1] if group.iso else None,
        "kind": group.kind,
        "size": list(group.size) if group.size else None,
        "edited": group.edited,
        "photos": len(group.paths),
        "files": [printable(path) for path in group.paths],
    }


def _noise(group: Group) -> dict[str, Any]:
    noise, advice = group.noise, advise(group.noise)
    known: dict[str, Any] = {"s": advice.s, "pd_factor": advice.pd_factor, "trouble": advice.trouble}
    if group.sigma is not None:
        known["sigma"] = round(group.sigma, 4)
    if group.estimate is not None:
        known["table"] = group.estimate.table[0].round(6).tolist()
        known["unsure"] = group.estimate.unsure.round(4).tolist()
    if noise is None:
        return known
    return {
        **known,
        "flat_patches": noise.flat_patches,
        "correlation_by_lag": noise.by_lag.round(4).tolist(),
        "channels": noise_spec(noise),
    }
