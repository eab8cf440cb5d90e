"""Make what ships and learns from simulated shots: the noise estimator, and `dbsn`, which calibrations start from.

One command each, all resumable.

python -m nsp_pipeline.cli.estimator shots FOLDER --photos CLEAN --photos MORE=0.35
python -m nsp_pipeline.cli.estimator train FOLDER
python -m nsp_pipeline.cli.estimator write FOLDER estimator.onnx
python -m nsp_pipeline.cli.estimator tell FOLDER
python -m nsp_pipeline.cli.estimator base FOLDER dbsn.nsp
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from nsp_pipeline.cli.main import run_command
from nsp_pipeline.cli.shared.exporting import make_onnx, require_training
from nsp_pipeline.cli.shared.quantities import DurationType
from nsp_pipeline.cli.shared.standard_output import print_line
from nsp_pipeline.cli.shared.training import checked_settings
from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.profiles.bundle import require_writable
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.estimator.settings import EstimatorSettings
    from nsp_pipeline.calibration.simulation.scenes import Scenes
    from nsp_pipeline.calibration.training.loop import Progress

KEPT_APART = 7
"""Every so many-th photo of a folder is kept out of training; the held-out shots are made of those."""

RECIPE = files("nsp_pipeline.calibration.estimator") / "recipe.toml"

SHOTS, HELD, TRAINING, WEIGHTS, BASE_TRAINING = "shots", "held", "training", "weights.pt", "base"
EVERY = 100

folder_argument = click.argument("folder", type=click.Path(path_type=Path))
recipe_option = click.option("--recipe", default=str(RECIPE), help="TOML file of settings, instead of what ships.")


@click.group(help=__doc__)
def main() -> None:
    """Run one of the commands."""
    require_training()
    import torch

    torch.set_num_threads(1)


@main.command()
@folder_argument
@click.option("--photos", multiple=True, required=True, help="Folder of clean photos, =WEIGHT to be drawn less often.")
@click.option("--as-they-are", is_flag=True, help="The photos have no noise: do not shrink them.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that simulate.")
@recipe_option
def shots(folder: Path, photos: tuple[str, ...], as_they_are: bool, workers: int, recipe: str) -> None:
    """Simulate shots to train on, and others of other photos to judge by."""
    from nsp_pipeline.calibration.simulation.store import StoreRecipe, make_store

    found = load_recipe(recipe, "store", ("shots", "held_shots", "side", "seed"))
    training, apart = _scenes(photos, as_they_are)
    for name, scenes, count, seed in (
        (SHOTS, training, found["shots"], found["seed"]),
        (HELD, apart, found["held_shots"], found["seed"] + 98),
    ):
        make_store(folder / name, StoreRecipe(count, found["side"], seed), scenes, workers=workers, on_shot=_say)


@main.command("train")
@folder_argument
@recipe_option
@click.option("--max-time", type=DurationType(), metavar="TIME", help="End the schedule within 20m, 8h.")
def train_network(folder: Path, recipe: str, max_time: float | None) -> None:
    """Train on the shots, from the last checkpoint where there is one."""
    import torch

    from nsp_pipeline.calibration.estimator.objective import EstimatorObjective
    from nsp_pipeline.calibration.simulation.store import ShotStore
    from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE, RunOptions, train

    settings = _settings(recipe)
    objective = EstimatorObjective(ShotStore(folder / SHOTS), ShotStore(folder / HELD), settings)
    logs = folder / TRAINING
    logs.mkdir(exist_ok=True)
    run = RunOptions(
        folder=logs,
        resume=(logs / CHECKPOINT_FILE).exists(),
        max_seconds=max_time,
        on_step=_say_step,
    )
    trained = train(objective, settings, run=run)
    torch.save(trained.network.state_dict(), folder / WEIGHTS)
    error = np.median(trained.judgement.mse) if trained.judgement else float("nan")
    print_line(f"step {trained.best_step} of {trained.steps}, {trained.seconds:.0f} s, median error {error:.3f}")


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@recipe_option
def write(source: Path, target: Path, recipe: str) -> None:
    """Write the trained network as an ONNX file.

    SOURCE is the folder of a training, or weights as a .safetensors file, which `nsp_pipeline.cli.together` makes.
    """
    import torch
    from safetensors.torch import load_file

    from nsp_export.noise_file import noise_onnx

    network = _settings(recipe).build()
    apart = source.suffix == ".safetensors"
    network.load_state_dict(load_file(source) if apart else torch.load(source / WEIGHTS, weights_only=True))
    target.write_bytes(noise_onnx(network))


@main.command()
@folder_argument
def tell(folder: Path) -> None:
    """Keep what the shipped estimator says of each shot, so that students learn with its errors."""
    from nsp_pipeline.calibration.simulation.store import save_told
    from nsp_pipeline.noise.estimate import estimate_noise

    for name in (SHOTS, HELD):
        save_told(folder / name, lambda pixels: estimate_noise(pixels).as_told.table)


@main.command()
@folder_argument
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--recipe", default="dbsn", show_default=True, help="Training settings: a name or a TOML file.")
@click.option("--max-time", type=DurationType(), metavar="TIME", help="End the schedule within 20m, 8h.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--origin", default="simulated shots", help="Of which scenes they are; a note for the profile's card.")
@click.option("--licence", default="not stated", help="Licence of the profile; a note for its card.")
def base(
    folder: Path, target: Path, recipe: str, max_time: float | None, device: str, origin: str, licence: str
) -> None:
    """Train the blind-spot network that calibrations start from, and write its profile."""
    from nsp_pipeline.calibration.next_scale.from_shots import make_base
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.simulation.store import ShotStore
    from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE, RunOptions

    fields = load_recipe(recipe, "calibrate", list(NextScaleSettings.model_fields))
    settings = checked_settings(NextScaleSettings, fields, recipe, "calibrate")
    require_writable(target)
    logs = folder / BASE_TRAINING
    logs.mkdir(exist_ok=True)
    resume = (logs / CHECKPOINT_FILE).exists()
    run = RunOptions(device=device, folder=logs, resume=resume, max_seconds=max_time, on_step=_say_step)
    stores = ShotStore(folder / SHOTS), ShotStore(folder / HELD)
    profile = make_base(*stores, settings, target, origin=Origin(origin, licence), make_onnx=make_onnx, run=run)
    print_line(f"{profile.path}: {profile.spec.training.steps} steps")


def _settings(recipe: str) -> "EstimatorSettings":
    from nsp_pipeline.calibration.estimator.settings import EstimatorSettings

    return EstimatorSettings(**load_recipe(recipe, "train", EstimatorSettings.model_fields))


def _scenes(photos: tuple[str, ...], as_they_are: bool) -> "tuple[Scenes, Scenes]":
    """Scenes to train on, and those kept apart."""
    from nsp_pipeline.calibration.simulation.scenes import Scenes, clean_scene

    parts: tuple[list[Any], list[Any]] = ([], [])
    for entry in photos:
        name, _, weight = entry.partition("=")
        for number, path in enumerate(find_photos([Path(name)]).paths):
            pixels = read_frame(path).pixels
            scene = np.asarray(from_unit(to_unit(pixels), np.dtype(np.uint8))) if as_they_are else clean_scene(pixels)
            if scene is None:
                click.echo(f"{path}: too noisy, left out", err=True)
                continue
            parts[number % KEPT_APART == KEPT_APART // 2].append((scene, float(weight or 1)))
    training, apart = (Scenes(*zip(*part, strict=True)) for part in parts)
    return training, apart


def _say(done: int, total: int) -> None:
    if done % EVERY == 0 or done == total:
        click.echo(f"{done} of {total} shots", err=True)


def _say_step(progress: "Progress") -> None:
    if progress.step % EVERY == 0:
        click.echo(
            f"step {progress.step} of {progress.steps}, loss {progress.loss:.3f}, {progress.steps_per_second:.2f}/s",
            err=True,
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
