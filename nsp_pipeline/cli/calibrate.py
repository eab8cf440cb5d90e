"""`nsp calibrate`: noisy photos in, a profile out."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nsp_pipeline.cli.exporting import make_onnx, require_training
from nsp_pipeline.errors import ExitCode, RecipeError, UsageError
from nsp_pipeline.profiles.bundle import require_writable
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.settings import TrainingSettings

LOG_EVERY = 100


@click.command(name="calibrate")
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--recipe", default="camera-scratch", show_default=True, help="Training settings: a name or a TOML file.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Train for this many steps instead of the recipe's.")
@click.option("--device", default="cpu", show_default=True, help="Torch device to train on: cpu, cuda, cuda:1 ...")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files whose name matches. May be repeated.")
@click.option("--origin", help="Where the photos come from, for the profile's card.")
@click.option("--licence", default="not stated", help="Terms on which the profile may be used, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished profile's description as JSON on stdout.")
def command(
    photos: tuple[Path, ...],
    out: Path,
    recipe: str,
    max_steps: int | None,
    device: str,
    exclude: tuple[str, ...],
    origin: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Fit a profile to a camera from its noisy PHOTOS (files or folders) alone.

    Ctrl-C ends training and writes the profile so far, with exit code 130; a second Ctrl-C gives up.
    """
    require_training()
    from nsp_pipeline.calibration.calibrate import Origin, calibrate
    from nsp_pipeline.calibration.photos import find_photos, load_photos

    settings = _settings(recipe, max_steps)
    require_writable(out)
    _require_device(device)
    console = Console(stderr=True)
    files = find_photos(photos, exclude)
    _say(console, f"reading {len(files)} photos")
    photo_set = load_photos(files, smallest_side=settings.crop, memory=settings.memory, seed=settings.seed)
    for reason in photo_set.refused:
        _say(console, f"left out: {reason}", style="yellow")
    _say(
        console,
        f"training on {len(photo_set.training)} photos, {len(photo_set.held_out)} held out, "
        f"recipe {recipe}, {settings.steps} steps on {device}",
    )
    with _stop_on_interrupt(console) as should_stop, _progress(console, settings.steps) as on_step:
        profile = calibrate(
            photo_set,
            settings,
            out,
            origin=Origin(origin or ", ".join(str(path) for path in photos), licence),
            make_onnx=make_onnx,
            device=device,
            should_stop=should_stop,
            on_step=on_step,
        )
    _say(console, f"profile {profile.path}: {profile.spec.training.steps} steps")
    _say(console, f"use it: nsp denoise PHOTOS CLEAN --profile {profile.path}")
    if as_json:
        click.echo(json.dumps(profile.spec.model_dump(mode="json"), indent=2))
    if should_stop() and profile.spec.training.steps < settings.steps:
        raise SystemExit(ExitCode.INTERRUPTED)


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: paths may hold brackets, and a command to copy must not be broken in two."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _settings(recipe: str, max_steps: int | None) -> "TrainingSettings":
    from nsp_pipeline.calibration.settings import TrainingSettings

    fields = load_recipe(recipe, "calibrate", TrainingSettings.model_fields)
    if max_steps:
        fields["steps"] = max_steps
    try:
        settings = TrainingSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"recipe {recipe}, [calibrate]: {first['loc'][0]}: {first['msg']}") from None
    _ = settings.geometry  # refuse an impossible s, t, n before any photo is read
    if settings.crop < settings.s:
        raise RecipeError(f"recipe {recipe}, [calibrate]: crop must be at least s = {settings.s} pixels")
    if settings.pd_factor not in (None, 1, settings.t):
        raise RecipeError(f"recipe {recipe}, [calibrate]: pd_factor must be 1 or t = {settings.t}")
    return settings


def _require_device(device: str) -> None:
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: PyTorch cannot use it here: {reason}") from None


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
            if progress.step % LOG_EVERY == 0 or progress.step == steps:
                rate = f"{progress.steps_per_second:.2f} steps/s"
                _say(console, f"step {progress.step}/{steps}  loss {progress.loss:.5f}  {rate}")

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
            task, completed=progress.step, loss=progress.loss, rate=progress.steps_per_second
        )
