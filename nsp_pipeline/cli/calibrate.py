"""`nsp calibrate`: noisy photos in, a profile out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.console import Console

from nsp_pipeline.cli.exporting import make_onnx, require_training
from nsp_pipeline.cli.quantities import DeviceType, DurationType
from nsp_pipeline.cli.training import progress, say, stop_on_interrupt, tell, training_folder, usable
from nsp_pipeline.errors import ExitCode, RecipeError
from nsp_pipeline.profiles.bundle import Profile, require_writable
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.settings import TrainingSettings

NO_BASE = "none"


@click.command(name="calibrate")
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--recipe", default="camera", show_default=True, help="Training settings: a name or a TOML file.")
@click.option(
    "--base",
    metavar="PROFILE|none",
    help="Profile to start from, a name or a file; none starts from nothing. Recipe `camera`: dbsn-noncommercial.",
)
@click.option("--backbone", type=click.Choice(["dbsn", "tbsn"]), help="Network to train instead of the recipe's.")
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
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files whose name matches. May be repeated.")
@click.option("--origin", help="Where the photos come from, for the profile's card.")
@click.option("--licence", default="not stated", help="Terms on which the profile may be used, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished profile's description as JSON on stdout.")
def command(
    photos: tuple[Path, ...],
    out: Path,
    recipe: str,
    base: str | None,
    backbone: str | None,
    max_steps: int | None,
    max_time: float | None,
    resume: bool,
    device: str,
    pairs: tuple[tuple[Path, Path], ...],
    exclude: tuple[str, ...],
    origin: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Fit a profile to a camera from its noisy PHOTOS (files or folders) alone.

    One photo in ten is kept out of training. With a base, the new weights are taken only if they beat it on those;
    else the profile holds the base's weights and says so. Log, pictures and the checkpoint for --resume go into the
    folder OUT.training.

    Ctrl-C ends training and writes the profile so far, with exit code 130; a second Ctrl-C gives up. Several GPUs:
    torchrun --nproc-per-node N -m nsp_pipeline calibrate ...
    """
    require_training()
    from nsp_pipeline.calibration.calibrate import calibrate
    from nsp_pipeline.calibration.photos import find_photos, load_photos
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.ranks import join_ranks
    from nsp_pipeline.calibration.shot_pairs import read_shot_pairs
    from nsp_pipeline.calibration.train import Course

    settings, start = _settings(recipe, base, {"backbone": backbone, "steps": max_steps})
    require_writable(out)
    shot_pairs = read_shot_pairs(pairs)
    device = usable(device)
    files = find_photos(photos, exclude)
    with join_ranks(device) as ranks, training_folder(out, resume=resume, first=ranks.first) as folder:
        console = Console(stderr=True, quiet=not ranks.first)
        say(console, f"reading {len(files)} photos")
        photo_set = load_photos(
            files,
            smallest_side=settings.crop,
            memory=settings.memory,
            seed=settings.seed,
            cache=settings.cache,
            cache_folder=folder / f"cache-{ranks.rank}",
        )
        for reason in photo_set.refused:
            say(console, f"left out: {reason}", style="yellow")
        say(
            console,
            f"training on {len(photo_set.training)} photos, {len(photo_set.held_out)} held out, recipe {recipe}, "
            f"from {start.name if start else 'nothing'}, {settings.steps} steps on {device}",
        )
        with stop_on_interrupt(console) as should_stop, progress(console, settings.steps) as on_step:
            profile = calibrate(
                photo_set,
                settings,
                out,
                origin=Origin(origin or ", ".join(str(path) for path in photos), licence),
                make_onnx=make_onnx,
                base=start,
                shot_pairs=shot_pairs,
                course=Course(
                    device,
                    folder,
                    resume,
                    max_time,
                    ranks,
                    should_stop,
                    on_step,
                    on_trouble=lambda message: say(console, message, style="yellow"),
                ),
            )
    if profile is None:
        return
    tell(console, profile, folder, as_json=as_json)
    if should_stop():
        raise SystemExit(ExitCode.INTERRUPTED)


def _settings(recipe: str, base: str | None, wishes: dict[str, Any]) -> "tuple[TrainingSettings, Profile | None]":
    """Settings of the recipe, with the wishes that are not None, and the profile to start from.

    A recipe that leaves the network open takes the base's.
    """
    from nsp_pipeline.calibration.settings import TrainingSettings

    fields = load_recipe(recipe, "calibrate", [*TrainingSettings.model_fields, "base"])
    fields |= {key: value for key, value in wishes.items() if value is not None}
    base = base or fields.get("base", NO_BASE)
    fields.pop("base", None)
    start = None if base == NO_BASE else find_profile(base)
    if start and "backbone" not in fields:
        sizes = {key: value for key, value in start.spec.backbone.sizes.items() if key != "scale"}
        fields = {**sizes, "t": start.spec.backbone.scale, "backbone": start.spec.backbone.name, **fields}
    try:
        settings = TrainingSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise RecipeError(f"recipe {recipe}, [calibrate]: {where}{first['msg']}") from None
    _ = settings.geometry  # refuse an impossible s, t, n before any photo is read
    if settings.crop < settings.s:
        raise RecipeError(f"recipe {recipe}, [calibrate]: crop must be at least s = {settings.s} pixels")
    if settings.pd_factor not in (None, 1, settings.t):
        raise RecipeError(f"recipe {recipe}, [calibrate]: pd_factor must be 1 or t = {settings.t}")
    return settings, start
