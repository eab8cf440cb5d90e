"""`nsp calibrate`: noisy photos in, a profile out."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from nsp_pipeline.calibration.archive.groups import only
from nsp_pipeline.calibration.training.ranks import Ranks, join_ranks
from nsp_pipeline.cli.calibrate.each import calibrate_each
from nsp_pipeline.cli.calibrate.on_cluster import Where
from nsp_pipeline.cli.calibrate.one import calibrate_one
from nsp_pipeline.cli.calibrate.originals import originals
from nsp_pipeline.cli.calibrate.plan import Plan, read_development, read_settings, read_student
from nsp_pipeline.cli.calibrate.reading import headers_by
from nsp_pipeline.cli.shared.development_options import development_options
from nsp_pipeline.cli.shared.exporting import require_training
from nsp_pipeline.cli.shared.finding import PHOTOS
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.quantities import IsoRangeType
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training import chosen_photos, show_outcome, usable, without_ground_truth
from nsp_pipeline.cli.shared.training_folder import folder_of, has_checkpoint
from nsp_pipeline.cli.shared.training_options import how_to_train, what_it_is_for
from nsp_pipeline.errors import ExitCode, OutputError, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.development import DOMAINS, Development, development_asked
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.profiles.bundle import require_writable


@click.command(
    name="calibrate",
    cls=HelpfulCommand,
    examples=(
        "nsp calibrate photos/d800 --out d800.nsp",
        "nsp calibrate photos --camera d800 --iso 3200-6400 --out d800.nsp",
        "nsp calibrate photos --split camera --out profiles --max-time 2h",
    ),
    groups={
        "Which photos": ("camera", "iso", "split", "include", "exclude"),
        "Training": (
            *("student", "max_steps", "max_time", "resume", "device", "threads", "cluster", "recipe"),
            *("with_teacher", "stop_at", "base", "backbone"),
        ),
        "RAW": ("domain", "white_balance", "highlights", "colour_space", "exposure"),
    },
)
@click.argument("photos", nargs=-1, required=True, type=PHOTOS)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--recipe", default="camera", show_default=True, help="Training settings: a name or a TOML file.")
@click.option(
    "--student",
    metavar="standard|quality|fast|PROFILE",
    help="Student to start from; the profile is as fast as it is.  [default: as the recipe says]",
)
@click.option(
    "--with-teacher",
    is_flag=True,
    help="Train a blind-spot network on the photos first, from which the student learns as well.",
)
@click.option(
    "--stop-at",
    type=click.Choice(["teacher"]),
    help="teacher: end with a blind-spot network that has seen nothing but the photos (Next-Scale Prediction).",
)
@click.option(
    "--base",
    metavar="PROFILE|none",
    help="Blind-spot network to start from, with --stop-at teacher or --with-teacher; none: random weights.  "
    "[default: as the recipe says]",
)
@click.option("--backbone", type=click.Choice(["dbsn", "tbsn"]), help="Its network, instead of the recipe's.")
@how_to_train
@click.option(
    "--camera", metavar="NAME", help="Only photos of cameras whose name contains this; `nsp scan` lists the names."
)
@click.option("--iso", type=IsoRangeType(), metavar="A-B", help="Only photos of these ISO: 800-3200, or 1600.")
@click.option(
    "--split",
    type=click.Choice(["camera", "group"]),
    help="Make a profile for each camera, or for each group of `nsp scan --noise`, in the folder OUT.",
)
@click.option(
    "--cluster",
    metavar="auto|ADDRESS",
    help="With --split: train each profile on a machine of a Ray cluster, which must see the same folders.",
)
@click.option(
    "--domain",
    type=click.Choice(tuple(DOMAINS)),
    default="developed",
    show_default=True,
    help="Of RAW: learn from developed pictures; from the sensor's colours, demosaiced; or from its mosaic, raw.",
)
@development_options
@what_it_is_for
def command(
    photos: tuple[Path, ...], out: Path, split: str | None, cluster: str | None, as_json: bool, **options: Any
) -> None:
    """Make a profile of a camera from its noisy PHOTOS (files or folders). No clean photo is needed.

    The profile that ships is trained further to take the noise of these photos away: noise cut out of their flat
    places is put onto clean pictures made of them. One photo in ten is kept out, to judge the result. Only if it is
    better there is it taken; else the profile keeps the weights that ship, and says so. Fewer than three photos leave
    none to judge by. The log, pictures before and after, and the checkpoint for --resume go to the folder OUT.training.

    With --stop-at teacher (and recipes without a student, as paper-sidd-dbsn) the profile is a blind-spot network,
    trained on the noisy photos alone; their noise decides s and PD if the recipe says "auto".

    Photos that a program changed or resized are left out, unless hardly any would be left.

    Clean photos that data sets keep beside noisy ones (x_GT_SRGB_y, x_mean, x_clean) are left out: the paper's training
    is nsp calibrate SIDD_Medium_Srgb --recipe paper-sidd-dbsn --out sidd.nsp

    For a folder with many cameras, --split camera makes a profile for each, those with many and noisy photos first. It
    leaves out photos that were edited or that a profile of yours fits, and cameras with fewer than three photos, and
    ends with the commands that install what helps. nsp denoise --calibrate does all this before it denoises.

    Ctrl-C (or kill, or a closed terminal) ends training and writes the profile so far, with exit code 130; a second
    Ctrl-C gives up. On several GPUs: torchrun --nproc-per-node N -m nsp_pipeline calibrate PHOTOS --out PROFILE
    """
    options["since"] = time.monotonic()
    with join_ranks(options["device"]) as ranks:
        stopped = _calibrate(ranks, photos, out, split, cluster, as_json, options)
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)


def _calibrate(
    ranks: Ranks,
    photos: Sequence[Path],
    out: Path,
    split: str | None,
    cluster: str | None,
    as_json: bool,
    options: dict[str, Any],
) -> bool:
    """Do what the command says, and return whether somebody stopped it."""
    require_training()
    if split and options["pairs"]:
        raise UsageError("--pair shows one camera; with --split there are several: calibrate that camera by itself")
    if split and ranks.count > 1:
        raise UsageError("--split trains each profile on one GPU: leave torchrun out; on several GPUs, --cluster auto")
    if cluster and not split:
        raise UsageError("--cluster spreads the profiles of --split; one profile is trained on one machine")
    plan = replace(_plan(photos, **{name: options[name] for name in PLANNED}), since=options["since"])
    if not split:
        require_writable(out)
    console = Console(stderr=True, quiet=not ranks.first)
    asked = {name: options[name] for name in ("include", "exclude", "camera", "iso")}
    files = _files(console, photos, by=headers_by(plan), **asked)
    if split:
        where = Where(cluster, options["device"], options["threads"]) if cluster else None
        calibrate_each(plan, files, out, split, where=where, as_json=as_json)
        return False
    files = originals(console, files, read_aliases(aliases_file()))
    try:
        made = calibrate_one(plan, files, out, ranks)
    except OutputError:
        if has_checkpoint(out):
            say(console, f"what was learnt is kept in {folder_of(out)}; the same command with --resume goes on with it")
        raise
    if made.profile is not None:
        show_outcome(console, made.profile, made.folder, stopped=made.stopped, as_json=as_json)
    return made.stopped


PLANNED = (
    "recipe", "student", "stop_at", "with_teacher", "base", "backbone",
    "max_steps", "max_time", "resume", "device", "threads", "pairs", "origin", "licence",
    "white_balance", "highlights", "colour_space", "exposure", "domain",
)  # fmt: skip
"""The options that say how to train."""


def usual_plan(photos: Sequence[Path], **changes: Any) -> Plan:
    """Return how `nsp calibrate` trains where nobody says otherwise, but for the changes, by their options' names."""
    usual = command.make_context("calibrate", [str(photos[0]), "--out", "unused"]).params
    return _plan(photos, **{**{name: usual[name] for name in PLANNED}, **changes})


def _plan(photos: Sequence[Path], **options: Any) -> Plan:
    """Read the options; raises UsageError for what cannot be trained, before any photo of the archive is opened."""
    from nsp_pipeline.calibration.training.shot_pairs import read_shot_pairs

    student = read_student(
        options["recipe"],
        options["student"],
        options["max_steps"],
        stop_at=options["stop_at"],
        with_teacher=options["with_teacher"],
    )
    changes = {"backbone": options["backbone"], "steps": options["max_steps"]}
    settings, measured, start = read_settings(options["recipe"], options["base"], changes)
    if student and not student.taught and (options["base"] or options["backbone"]):
        raise UsageError(
            "--base and --backbone are of a blind-spot network: add --stop-at teacher to end in one, or --with-teacher "
            "to learn from one. The student to start from is named by --student"
        )
    return Plan(
        recipe=options["recipe"],
        settings=settings,
        measured=measured,
        start=start,
        shot_pairs=read_shot_pairs(options["pairs"]),
        device=usable(options["device"], options["threads"]),
        resume=options["resume"],
        max_time=options["max_time"],
        origin=options["origin"] or ", ".join(map(printable, photos)),
        licence=options["licence"],
        development=_development(options),
        student=student,
    )


def _development(options: dict[str, Any]) -> Development:
    development = read_development(options["recipe"], development_asked(options))
    if options["domain"] == "developed":
        return development
    if options["colour_space"]:
        raise UsageError(f"--domain {options['domain']} learns from the sensor's own colours; leave --colour-space out")
    return replace(development, colour_space=DOMAINS[options["domain"]])


def _files(
    console: Console,
    photos: Sequence[Path],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    camera: str | None,
    iso: tuple[int, int] | None,
    by: float | None,
) -> Sequence[Path]:
    """The photos to train on; raises UsageError where there is none."""
    files = without_ground_truth(console, chosen_photos(console, photos, FindRules(include=include, exclude=exclude)))
    if (camera or iso) and not (files := only(files, read_aliases(aliases_file()), camera=camera, iso=iso, by=by)):
        raise UsageError("no photo is of that --camera and --iso; `nsp scan` lists what there is")
    return files
