"""`nsp verify`: finished photos against their records and their originals' metadata."""

from pathlib import Path

import click

from nsp_pipeline.batch.output.manifest import read_manifest
from nsp_pipeline.batch.output.verify import Verdict, verify_output
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.say import note
from nsp_pipeline.cli.shared.standard_output import print_json, print_line
from nsp_pipeline.cli.shared.verbosity import is_verbose
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.file_names import printable


@click.command(
    name="verify",
    cls=HelpfulCommand,
    examples=("nsp verify clean",),
)
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def command(output: Path, as_json: bool) -> None:
    """Check the finished photos in OUTPUT: that they are there, unchanged and readable, and which metadata they lack.

    Each is read again and compared with its original: EXIF with the maker's notes, GPS, XMP, IPTC, colour profile,
    resolution, further pages. What that kind of file cannot hold is named. Changes nothing.

    Exit codes: 0 all is as it was made; 1 some photos are gone, changed, unreadable, or lack more than their record
    says; 2 no run ever worked there; 4 the record cannot be read.
    """
    folder = output.parent if output.is_file() else output
    with read_manifest(folder, note) as manifest:
        if manifest is None:
            raise UsageError(f"{printable(output)}: nsp has no record there; name the OUTPUT of an earlier run")
        verdicts = list(verify_output(folder, manifest))
    if as_json:
        print_json(_document(folder, verdicts))
    else:
        for line in _lines(verdicts):
            print_line(line)
    if any(verdict.trouble for verdict in verdicts):
        raise SystemExit(ExitCode.SOME_FAILED)


def _document(folder: Path, verdicts: list[Verdict]) -> dict[str, object]:
    counts = {
        "output": printable(folder),
        "checked": len(verdicts),
        "trouble": sum(bool(verdict.trouble) for verdict in verdicts),
        "damaged": sum(bool(verdict.damaged) for verdict in verdicts),
        "unchecked": sum(bool(verdict.unchecked) for verdict in verdicts),
        "with_losses": sum(bool(verdict.lost) for verdict in verdicts),
    }
    return {"summary": counts, "photos": [verdict.as_json() for verdict in verdicts]}


def _lines(verdicts: list[Verdict]) -> list[str]:
    lines, sound = list[str](), list[str]()
    for verdict in verdicts:
        if verdict.trouble:
            lines.append(f"{verdict.output}: {verdict.trouble}")
        if verdict.damaged:
            lines.append(f"{verdict.output}: made of a damaged photo, what could be read of it: {verdict.damaged}")
        if verdict.unchecked:
            lines.append(f"{verdict.output}: metadata not compared: {verdict.unchecked}")
        if verdict.lost:
            lines.append(f"{verdict.output}: not kept: {', '.join(verdict.lost)}")
        if is_verbose() and not (verdict.trouble or verdict.damaged or verdict.unchecked or verdict.lost):
            sound.append(f"{verdict.output}: as it was made, with all its metadata")
    whole = "1 photo" if len(verdicts) == 1 else f"{len(verdicts)} photos"
    if not lines:
        return [*sound, f"{whole} checked: nothing is damaged, changed or missing"]
    troubled = sum(bool(verdict.trouble) for verdict in verdicts)
    lacking = sum(bool(verdict.lost) for verdict in verdicts)
    counts = [f"{troubled} with trouble", f"{lacking} whose kind of file could not keep everything"]
    if damaged := sum(bool(verdict.damaged) for verdict in verdicts):
        counts.insert(1, f"{damaged} made of damaged photos")
    return [*sound, *lines, f"{whole} checked: {', '.join(counts)}"]
