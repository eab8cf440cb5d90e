"""`nsp profiles`: what profiles there are, and whether they are whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.markdown import Markdown
from rich.table import Column, Table
from rich.text import Text

from nsp_pipeline.cli.profiles.files import export, import_, install, remove
from nsp_pipeline.cli.profiles.words import camera_of, described, gain_of, isos_of, licence_of, purpose_of, rate_of
from nsp_pipeline.cli.shared.exporting import compare_with_weights
from nsp_pipeline.cli.shared.helpful import HelpfulGroup
from nsp_pipeline.cli.shared.say import note
from nsp_pipeline.cli.shared.standard_output import print_json, print_line, print_rich, printed_to_a_terminal
from nsp_pipeline.cli.shared.training_folder import picture_of
from nsp_pipeline.cli.shared.verbosity import is_verbose
from nsp_pipeline.engines.verify import verify_profile
from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles.bundle import CARD_FILE, WEIGHTS_FILE, load_profile
from nsp_pipeline.profiles.choose import find_profile, installed_profiles, user_entries
from nsp_pipeline.report.page import write_page
from nsp_pipeline.report.profile_page import profile_report

EXAMPLES = (
    "nsp profiles list",
    "nsp profiles show standard",
    "nsp profiles install d800.nsp    then nsp denoise uses it for that camera",
)


@click.group(name="profiles", cls=HelpfulGroup, examples=EXAMPLES, commands=[import_, install, remove, export])
def command() -> None:
    """List, show, check and move profiles. PROFILE is a name, a .nsp file or a folder."""


@command.command(name="list", examples=("nsp profiles list",), short_help="List all profiles.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON on stdout.")
def list_(as_json: bool) -> None:
    """List the profiles that ship with nsp and those in your profile folder."""
    rows = [_row(name, path) for name, path in installed_profiles().items()]
    listed = {row["path"] for row in rows}
    others = [entry for entry in user_entries() if str(entry.path) not in listed]
    rows += [{"name": entry.name, "path": str(entry.path), "error": entry.trouble} for entry in others]
    if as_json:
        print_json(rows)
        return
    in_full = is_verbose() or not printed_to_a_terminal()
    print_rich(_table(rows, in_full=in_full))
    if not in_full:
        print_line("gain: how much nearer to a clean photo; s/MP: measured on this machine")
        print_line("nsp profiles show NAME tells more")


def _table(rows: Sequence[Mapping[str, str]], *, in_full: bool) -> Table:
    """Fits 80 columns where it is not in full; names, which are what one types, are never broken."""
    columns: list[Column | str] = [
        Column("name", no_wrap=True),
        "camera",
        Column("ISO", no_wrap=True),
        "for",
        Column("gain", justify="right", no_wrap=True),
        Column("licence", min_width=14),
    ]
    rates = ["seconds_a_megapixel"] if any(row.get("seconds_a_megapixel") for row in rows) else []
    columns[-1:-1] = [Column("s/MP", justify="right", no_wrap=True) for _ in rates]
    columns += ["network", Column("file", overflow="fold")] if in_full else []
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for row in rows:
        # Texts, not strings: a name with brackets in it is no markup.
        if "error" in row:
            cells = [row["name"], "", "", row["error"], "", *("" for _ in rates), ""]
        else:
            cells = [row[column] for column in ("name", "camera", "iso", "purpose", "gain", *rates, "licence_in_short")]
        cells += [row.get("network", ""), row["path"]] if in_full else []
        table.add_row(*map(Text, cells), style="red" if "error" in row else None)
    return table


def _row(name: str, path: Path) -> dict[str, str]:
    try:
        profile = load_profile(path)
    except ProfileError as error:
        return {"name": name, "path": str(path), "error": str(error)}
    spec = profile.spec
    return {
        "name": name,
        "camera": camera_of(spec),
        "iso": isos_of(spec),
        "purpose": purpose_of(name, spec),
        "gain": gain_of(name, spec),
        "seconds_a_megapixel": rate_of(profile),
        "network": spec.backbone.name,
        "licence": spec.data.licence,
        "licence_in_short": licence_of(spec),
        "path": str(path),
    }


@command.command(
    examples=("nsp profiles show standard", "nsp profiles show d800.nsp --report d800.html"),
    short_help="Say what a profile is for, and how good it is.",
)
@click.argument("profile")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with plots of the camera's noise and of the training, and with crops before and after it where "
    "PROFILE.training is still beside the profile.",
)
@click.option("--json", "as_json", is_flag=True, help="Print profile.json on stdout.")
def show(profile: str, report: Path | None, as_json: bool) -> None:
    """Show what a profile is for, what it was made from, and how good it is; with -v its whole card."""
    bundle = find_profile(profile)
    if report:
        crops = picture_of(bundle.path, bundle.spec.training.steps)
        write_page(report, profile_report(bundle, crops.read_bytes() if crops else None))
        note(f"plots: {report}")
    if as_json:
        print_json(bundle.spec.model_dump(mode="json"))
        return
    if not is_verbose():
        print_line(described(bundle))
        return
    card = bundle.read(CARD_FILE).decode("utf-8", "replace")
    if printed_to_a_terminal():
        print_rich(Markdown(card))
    else:
        print_line(card.rstrip("\n"))


@command.command(examples=("nsp profiles verify d800.nsp",), short_help="Check that a profile is whole and runs.")
@click.argument("profile")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON on stdout.")
def verify(profile: str, as_json: bool) -> None:
    """Check that a profile is whole and that its models run; with PyTorch, compare them with the weights."""
    bundle = find_profile(profile)
    findings = verify_profile(bundle)
    findings[WEIGHTS_FILE] = compare_with_weights(bundle)
    for inner in bundle.inner:
        findings[f"{inner.path.name}: {WEIGHTS_FILE}"] = compare_with_weights(inner)
    if as_json:
        print_json(findings)
    else:
        for name, finding in findings.items():
            note(f"{name}: {finding}")
