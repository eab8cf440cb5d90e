"""`nsp distill`: a teacher's knowledge, and clean photos made noisy, into a small and fast network."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from nsp_pipeline.calibration.training.ranks import join_ranks
from nsp_pipeline.cli.shared.exporting import make_onnx, require_training
from nsp_pipeline.cli.shared.finding import PHOTOS
from nsp_pipeline.cli.shared.helpful import HelpfulCommand
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.stop_signals import stop_signals
from nsp_pipeline.cli.shared.training import (
    checked_settings,
    chosen_photos,
    inherited_licence,
    preparing,
    progress,
    say_of_ranks,
    show_outcome,
    usable,
    without_ground_truth,
)
from nsp_pipeline.cli.shared.training_folder import cache_of, training_folder
from nsp_pipeline.cli.shared.training_options import how_to_train, what_it_is_for
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.profiles.bundle import Profile, require_writable
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.student.distill import Sources
    from nsp_pipeline.calibration.student.settings import StudentSettings
    from nsp_pipeline.calibration.training.photos import PhotoSet


@click.command(
    name="distill",
    cls=HelpfulCommand,
    examples=("nsp distill photos --teacher d800.nsp --out d800-fast.nsp",),
)
@click.argument("photos", nargs=-1, type=PHOTOS)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--teacher", metavar="PROFILE", help="Calibrated profile that the student learns from, on the PHOTOS.")
@click.option(
    "--clean",
    multiple=True,
    type=PHOTOS,
    help="Clean photos, files or folders, on which noise is simulated. May be repeated.",
)
@click.option(
    "--shots",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Store of simulated shots to learn from as well (python -m nsp_pipeline.cli.estimator shots).",
)
@click.option("--recipe", default="standard", show_default=True, help="Training settings: a name or a TOML file.")
@click.option("--base", metavar="PROFILE", help="Student to start from.  [default: random weights]")
@how_to_train
@what_it_is_for
def command(
    photos: tuple[Path, ...], out: Path, teacher: str | None, clean: tuple[Path, ...], as_json: bool, **options: Any
) -> None:
    """Train a small, fast network (a student) that sees every pixel and needs no PD.

    It learns from two sources, and either will do. From noisy PHOTOS: what the --teacher, a profile that
    `nsp calibrate` made of them, takes for clean. From --clean photos, from pictures that it paints itself, and from
    PHOTOS shrunk until their noise is gone: noise as cameras make it is put on, and the student takes it off.

    Ctrl-C (or kill, or a closed terminal) ends training and writes the profile so far, with exit code 130; a second
    Ctrl-C gives up.
    """
    with join_ranks(options["device"]) as ranks:
        require_training()
        begun = time.monotonic()
        _prepare(photos, out, teacher, clean, options)
        console = Console(stderr=True, quiet=not ranks.first)
        say_of_ranks(console, ranks)
        with stop_signals(console) as stop:
            with training_folder(out, resume=options["resume"], ranks=ranks, stopped=stop.asked) as folder:
                this = Run(folder, ranks, stop, begun, console)
                profile = _train(_sources(photos, clean, options, this), out, options, this)
            # The others end when the first has written.
            stopped = ranks.first_says(stop.asked())
        if profile is not None:
            show_outcome(console, profile, folder, stopped=bool(stopped), as_json=as_json)
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)


def _prepare(
    photos: tuple[Path, ...], out: Path, teacher: str | None, clean: tuple[Path, ...], options: dict[str, Any]
) -> None:
    """Put in the options' place what they name; raises UsageError for what cannot be trained."""
    from nsp_pipeline.calibration.training.shot_pairs import read_shot_pairs

    if not photos and not clean:
        raise UsageError("give noisy PHOTOS with their --teacher, or --clean photos, or both")
    options["settings"] = _settings(options["recipe"], {"steps": options["max_steps"]})
    options["start"], options["master"] = (find_profile(name) if name else None for name in (options["base"], teacher))
    require_writable(out)
    options["shot_pairs"] = read_shot_pairs(options["pairs"])
    options["device"] = usable(options["device"], options["threads"])
    options["origin"] = options["origin"] or ", ".join(map(printable, (*photos, *clean)))


def _sources(photos: tuple[Path, ...], clean: tuple[Path, ...], options: Mapping[str, Any], this: Run) -> "Sources":
    """Read all that is learnt from."""
    from nsp_pipeline.calibration.simulation.store import ShotStore
    from nsp_pipeline.calibration.student.distill import Sources

    rules = FindRules(include=options["include"], exclude=options["exclude"])
    console, cache = this.console, cache_of(this.folder)
    kept, given = (chosen_photos(console, roots, rules) if roots else [] for roots in (clean, photos))
    clean_set = _photo_set(console, kept, options["settings"], cache / "clean")
    noisy_set = _photo_set(console, without_ground_truth(console, given), options["settings"], cache / "noisy")
    return Sources(clean_set, noisy_set, options["master"], ShotStore(options["shots"]) if options["shots"] else None)


def _train(sources: "Sources", out: Path, options: Mapping[str, Any], this: Run) -> Profile | None:
    """Train, and write the profile; see the options of the command."""
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.student.distill import distill

    settings: StudentSettings = options["settings"]
    start, master = options["start"], sources.teacher
    if settings.noise_kinds == "cameras":
        say(this.console, f"preparing {settings.painted} painted pictures, and the teacher's targets")
    with this.stop.finishing_first(), progress(this.console, settings.steps) as on_step:
        return distill(
            sources,
            settings,
            out,
            origin=Origin(options["origin"], inherited_licence(options["licence"], start, master)),
            make_onnx=make_onnx,
            base=start,
            shot_pairs=options["shot_pairs"],
            run=this.options(options["device"], options["resume"], options["max_time"], on_step),
            on_prepared=preparing(this.console),
        )


def _photo_set(console: Console, files: list[Path], settings: "StudentSettings", cache: Path) -> "PhotoSet | None":
    from nsp_pipeline.calibration.training.photos import load_photos

    if not files:
        return None
    # Each set has a folder of its own: their files go by numbers.
    cache.mkdir(exist_ok=True)
    say(console, f"reading {len(files)} photos")
    photo_set = load_photos(
        files,
        smallest_side=2 * settings.crop,
        memory=settings.memory,
        seed=settings.seed,
        cache=settings.cache,
        cache_folder=cache,
    )
    for reason in photo_set.refused:
        say(console, f"left out: {reason}", style="yellow")
    say(console, f"{len(photo_set.training)} to train on, {len(photo_set.held_out)} held out")
    return photo_set


def _settings(recipe: str, overrides: dict[str, Any]) -> "StudentSettings":
    from nsp_pipeline.calibration.student.settings import StudentSettings

    fields = load_recipe(recipe, "distill", list(StudentSettings.model_fields))
    fields |= {key: value for key, value in overrides.items() if value is not None}
    return checked_settings(StudentSettings, fields, recipe, "distill")
