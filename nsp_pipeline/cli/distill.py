"""`nsp distill`: a teacher's knowledge, and clean photos made noisy, into a small and fast network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.console import Console

from nsp_pipeline.cli.shared.exporting import make_onnx, require_training
from nsp_pipeline.cli.shared.finding import find_options
from nsp_pipeline.cli.shared.quantities import DeviceType, DurationType
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training import (
    chosen_photos,
    inherited_licence,
    progress,
    stop_on_interrupt,
    tell,
    training_folder,
    usable,
)
from nsp_pipeline.errors import ExitCode, RecipeError, UsageError
from nsp_pipeline.frames.find import FindRules
from nsp_pipeline.profiles.bundle import require_writable
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.student.settings import StudentSettings
    from nsp_pipeline.calibration.training.photos import PhotoSet

PREPARED_EVERY = 50


@click.command(name="distill")
@click.argument("photos", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--teacher", metavar="PROFILE", help="Calibrated profile whose view of the PHOTOS is taught.")
@click.option(
    "--clean",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Photos with little noise, files or folders, to put simulated noise on. May be repeated.",
)
@click.option("--recipe", default="standard", show_default=True, help="Training settings: a name or a TOML file.")
@click.option("--base", metavar="PROFILE", help="Student to start from; without it, from nothing.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Train for this many steps instead of the recipe's.")
@click.option("--max-time", type=DurationType(), metavar="TIME", help="Train no longer than 20m, 8h.")
@click.option("--resume", is_flag=True, help="Go on with a training of the same photos and options that was killed.")
@click.option(
    "--device", type=DeviceType(), default="auto", show_default=True, help="auto takes a GPU if there is one."
)
@click.option(
    "--pair",
    "pairs",
    nargs=2,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="A B",
    help="Two shots of one scene from a tripod, a stronger test of the result. May be repeated.",
)
@find_options
@click.option("--origin", help="Where the photos come from, for the profile's card.")
@click.option("--licence", default="not stated", help="Terms on which the profile may be used, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished profile's description as JSON on stdout.")
def command(
    photos: tuple[Path, ...],
    out: Path,
    teacher: str | None,
    clean: tuple[Path, ...],
    recipe: str,
    base: str | None,
    max_steps: int | None,
    max_time: float | None,
    resume: bool,
    device: str,
    pairs: tuple[tuple[Path, Path], ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    origin: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Train a small, fast network (a student) that sees every pixel and needs no PD.

    It learns from two sources, and either will do. From noisy PHOTOS: what the --teacher, a profile that
    `nsp calibrate` made of them, takes for clean. From --clean photos, from pictures that it paints itself, and from
    PHOTOS shrunk until their noise is gone: noise as cameras make it is put on, and the student takes it off.

    Ctrl-C ends training and writes the profile so far, with exit code 130; a second Ctrl-C gives up.
    """
    require_training()
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.student.distill import Sources, distill
    from nsp_pipeline.calibration.training.loop import RunOptions
    from nsp_pipeline.calibration.training.ranks import join_ranks
    from nsp_pipeline.calibration.training.shot_pairs import read_shot_pairs

    if not photos and not clean:
        raise UsageError("give noisy PHOTOS with their --teacher, or --clean photos, or both")
    settings = _settings(recipe, {"steps": max_steps})
    start, master = (find_profile(name) if name else None for name in (base, teacher))
    require_writable(out)
    shot_pairs = read_shot_pairs(pairs)
    device = usable(device)
    with join_ranks(device) as ranks, training_folder(out, resume=resume, first=ranks.first) as folder:
        console = Console(stderr=True, quiet=not ranks.first)
        cache = folder / f"cache-{ranks.rank}"
        sources = Sources(
            _photo_set(console, clean, FindRules(include=include, exclude=exclude), settings, cache),
            _photo_set(console, photos, FindRules(include=include, exclude=exclude), settings, cache),
            master,
        )
        say(console, f"preparing {settings.painted} painted pictures and what the teacher says")
        with stop_on_interrupt(console) as should_stop, progress(console, settings.steps) as on_step:
            profile = distill(
                sources,
                settings,
                out,
                origin=Origin(
                    origin or ", ".join(str(path) for path in (*photos, *clean)),
                    inherited_licence(licence, start, master),
                ),
                make_onnx=make_onnx,
                base=start,
                shot_pairs=shot_pairs,
                run=RunOptions(
                    device,
                    folder,
                    resume,
                    max_time,
                    ranks,
                    should_stop,
                    on_step,
                    on_trouble=lambda message: say(console, message, style="yellow"),
                ),
                on_prepared=lambda done, total: _say_prepared(console, done, total),
            )
    if profile is None:
        return
    tell(console, profile, folder, as_json=as_json)
    if should_stop():
        raise SystemExit(ExitCode.INTERRUPTED)


def _say_prepared(console: Console, done: int, total: int) -> None:
    if done % PREPARED_EVERY == 0 or done == total:
        say(console, f"prepared {done}/{total}")


def _photo_set(
    console: Console,
    roots: tuple[Path, ...],
    rules: FindRules,
    settings: "StudentSettings",
    cache: Path,
) -> "PhotoSet | None":
    from nsp_pipeline.calibration.training.photos import load_photos

    if not roots:
        return None
    files = chosen_photos(console, roots, rules)
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
    try:
        return StudentSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise RecipeError(f"recipe {recipe}, [distill]: {where}{first['msg']}") from None
