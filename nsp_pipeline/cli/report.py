"""`nsp report`: what was done to an archive, as a page to look at."""

from pathlib import Path

import click
from rich.console import Console

from nsp_pipeline.atomic_file import require_writable
from nsp_pipeline.batch.output.manifest import Manifest, read_manifest
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import DurationType
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.report.run.make import write_report
from nsp_pipeline.report.run.pictures import PictureLimits

USUAL = PictureLimits()


@click.command(
    name="report",
    cls=HelpfulCommand,
    examples=(
        "nsp report clean --out report.html",
        "nsp report clean --pictures 1000 --max-time 10m",
    ),
)
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    metavar="PAGE.html",
    help="Where to write the page.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=USUAL.photos,
    show_default=True,
    metavar="N",
    help="Show pictures of this many photos at most, those with the most noise of each camera and ISO first.",
)
@click.option(
    "--max-time",
    type=DurationType(),
    default=f"{USUAL.seconds:g}s",
    show_default=True,
    metavar="TIME",
    help="Make pictures for this long at most.",
)
def command(output: Path, out: Path, pictures: int, max_time: float) -> None:
    """Write a page about the photos in OUTPUT: what failed and what helps, totals, cameras, and photo by photo.

    The page shows before and after at 100 % where most was removed, with a slider, and what was removed, amplified;
    photos can be filtered by state, camera, ISO and folder. It is one file that loads nothing. Nothing in OUTPUT is
    changed.

    Exit codes: 0 written; 2 no run ever worked there; 4 the page cannot be written, or the record not be read.
    """
    folder = output.parent if output.is_file() else output
    console = Console(stderr=True)
    with read_manifest(folder, lambda line: say(console, line)) as manifest:
        if manifest is None:
            raise UsageError(f"{printable(output)}: nsp has no record there; name the OUTPUT of an earlier run")
        require_writable(out)
        report_on(folder, manifest, out, PictureLimits(pictures, max_time), console)


def report_on(folder: Path, manifest: Manifest, page: Path, limits: PictureLimits, console: Console) -> None:
    """Write the page and say so; raises OutputError."""
    with console.status("report: reading the record", spinner="dots") as status:

        def on_progress(what: str, done: int, total: int) -> None:
            status.update(f"report: {what}, {done} of {total}")

        shown = write_report(folder, manifest, page, limits, on_progress)
    say(console, f"report: {printable(page)} (pictures of {shown} photo{'s' * (shown != 1)})")
