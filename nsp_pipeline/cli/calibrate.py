"""`nsp calibrate`: noisy photos in, a profile out."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nsp_pipeline.cli.exporting import make_onnx, require_training
from nsp_pipeline.cli.quantities import DeviceType, DurationType
from nsp_pipeline.errors import ExitCode, OutputError, RecipeError, UsageError
from nsp_pipeline.profiles.bundle import Profile, require_writable
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.settings import TrainingSettings

LOG_EVERY = 100
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
    help="Profile to start from, a name or a file; none starts from nothing. The recipe `camera` says builtin.",
)
@click.option("--backbone", type=click.Choice(["dbsn", "tbsn"]), help="Network to train instead of the recipe's.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Train for this many steps instead of the recipe's.")
@click.option("--max-time", type=DurationType(), metavar="TIME", help="Train no longer than 20m, 8h.")
@click.option("--resume", is_flag=True, help="Go on with a training of the same photos and options that was killed.")
@click.option(
    "--device", type=DeviceType(), default="auto", show_default=True, help="auto takes a GPU if there is one."
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
    from nsp_pipeline.calibration.calibrate import Course, Origin, calibrate
    from nsp_pipeline.calibration.photos import find_photos, load_photos
    from nsp_pipeline.calibration.ranks import join_ranks

    settings, start = _settings(recipe, base, {"backbone": backbone, "steps": max_steps})
    require_writable(out)
    device = _usable(device)
    files = find_photos(photos, exclude)
    with join_ranks(device) as ranks, _training_folder(out, resume=resume, first=ranks.first) as folder:
        console = Console(stderr=True, quiet=not ranks.first)
        _say(console, f"reading {len(files)} photos")
        photo_set = load_photos(
            files,
            smallest_side=settings.crop,
            memory=settings.memory,
            seed=settings.seed,
            cache=settings.cache,
            cache_folder=folder / f"cache-{ranks.rank}",
        )
        for reason in photo_set.refused:
            _say(console, f"left out: {reason}", style="yellow")
        _say(
            console,
            f"training on {len(photo_set.training)} photos, {len(photo_set.held_out)} held out, recipe {recipe}, "
            f"from {start.name if start else 'nothing'}, {settings.steps} steps on {device}",
        )
        with _stop_on_interrupt(console) as should_stop, _progress(console, settings.steps) as on_step:
            profile = calibrate(
                photo_set,
                settings,
                out,
                origin=Origin(origin or ", ".join(str(path) for path in photos), licence),
                make_onnx=make_onnx,
                base=start,
                course=Course(device, folder, resume, max_time, ranks),
                should_stop=should_stop,
                on_step=on_step,
                on_trouble=lambda message: _say(console, message, style="yellow"),
            )
    if profile is None:
        return
    scores = profile.spec.scores
    if scores.accepted is not None:
        accepted = "accepted" if scores.accepted else f"not accepted, the weights of {scores.base} stay"
        _say(console, f"{accepted}: {scores.verdict}")
    _say(console, f"profile {profile.path}: {profile.spec.training.steps} steps; log and pictures in {folder}")
    _say(console, f"use it: nsp denoise PHOTOS CLEAN --profile {profile.path}")
    if as_json:
        click.echo(json.dumps(profile.spec.model_dump(mode="json"), indent=2))
    if should_stop():
        raise SystemExit(ExitCode.INTERRUPTED)


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: paths may hold brackets, and a command to copy must not be broken in two."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


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


@contextmanager
def _training_folder(out: Path, *, resume: bool, first: bool) -> Iterator[Path]:
    """The folder of log, pictures and checkpoint; the checkpoint and the cached photos go when training has ended."""
    from nsp_pipeline.calibration.train import CHECKPOINT_FILE
    from nsp_pipeline.calibration.training_log import clear_log

    folder = out.with_name(f"{out.name}.training")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if first and not resume:
            if (folder / CHECKPOINT_FILE).exists():
                raise UsageError(
                    f"{folder} holds a training that was cut off: --resume goes on with it; to start again, delete it"
                )
            clear_log(folder)
        rank = os.environ.get("RANK", "0")
        (folder / f"cache-{rank}").mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder / f"cache-{rank}", ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # which only an empty one allows
    if first:
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _usable(device: str) -> str:
    """The device to train on; raises UsageError when PyTorch cannot use the one that was named."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: PyTorch cannot use it here: {reason}") from None
    return device


@contextmanager
def _stop_on_interrupt(console: Console) -> Iterator[Any]:
    """Turn the first Ctrl-C into a request to finish, and let the second one through."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        _say(console, "stopping; writing the profile so far (Ctrl-C again to give up)")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(console: Console, steps: int) -> Iterator[Any]:
    """Draw a bar on a terminal; on anything else write a line now and then."""
    if not sys.stderr.isatty():

        def log(progress: Any) -> None:
            if progress.step % LOG_EVERY == 0 or progress.step == progress.steps:
                rate = f"{progress.steps_per_second:.2f} steps/s"
                _say(console, f"step {progress.step}/{progress.steps}  loss {progress.loss:.5f}  {rate}")

        yield log
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.5f}  {task.fields[rate]:.2f} steps/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=steps, loss=0.0, rate=0.0)
        yield lambda progress: bar.update(
            task,
            total=progress.steps,
            completed=progress.step,
            loss=progress.loss,
            rate=progress.steps_per_second,
        )
