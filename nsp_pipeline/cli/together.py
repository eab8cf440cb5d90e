"""`python -m nsp_pipeline.cli.together`: train all that ships, students and estimator, on one GPU in one go.

What the trainings of `nsp distill` and `python -m nsp_pipeline.cli.estimator` do one after the other with a store of
shots, this does at once: a GPU waits for nobody.
"""

import csv
import math
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nsp_pipeline.atomic_file import appearing
from nsp_pipeline.cli.main import run_command
from nsp_pipeline.cli.shared.exporting import require_training
from nsp_pipeline.cli.shared.quantities import NumberType
from nsp_pipeline.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from nsp_pipeline.calibration.together.train import TogetherSettings

FROM_NOTHING, GOING_ON = 2e-3, 1e-3
"""The highest learning rates of students, and of those that were trained before."""

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


taken_option = click.option(
    "--taken",
    type=FOLDER,
    help="Pictures as cameras make them, at full size, of low ISO and cleaned (nsp denoise): what students of cameras' "
    "noise learn from, in the end at least.",
)
resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Go on with a training that was cut off, from where it was last judged: the same command, with this.",
)


@click.group()
def main() -> None:
    """Train what ships on one GPU: `all` or a part; `mix` trainings of one base, `profile`, `join`, `graphs` anew."""
    require_training()


@main.command("train")
@click.argument("scenes", type=FOLDER)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seconds", type=int, default=1500, show_default=True, help="Time to train, start included.")
@click.option("--steps", type=click.IntRange(min=1), help="Train so many steps, in place of a time.")
@click.option("--device", default="cuda", show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), default=12, show_default=True, help="Processes that simulate cameras."
)
@click.option("--students", default="fast,standard,quality", show_default=True, help="Empty: the estimator alone.")
@click.option(
    "--counts", default="36,48,60", show_default=True, help="Crops of a batch: any noise, developed light, cameras."
)
@click.option(
    "--parts", type=click.IntRange(min=1), default=1, show_default=True, help="Steps in which a batch is learnt from."
)
@click.option("--side", type=int, default=192, show_default=True, help="Of the crops, in pixels.")
@click.option(
    "--pooled", type=click.IntRange(min=1), default=40_000, show_default=True, help="Simulated shots that are held."
)
@click.option(
    "--noise",
    type=click.Choice(["any", "unsmoothed", "white"]),
    default="any",
    show_default=True,
    help="What any noise is: for students that make everything, or one kind beside others.",
)
@click.option("--base", type=FOLDER, help="Weights to go on from: OUT of an earlier training.")
@click.option("--keep-estimator", is_flag=True, help="Leave the estimator of --base as it is.")
@click.option(
    "--teachers",
    type=FILE,
    nargs=2,
    metavar="CAMERA WHITE",
    help="Learn what these two networks make of the crops together, in place of the clean pictures: one for noise that "
    "cameras smoothed, one for white noise. The students of --base are then networks for white noise.",
)
@click.option("--photos", type=FOLDER, help="Camera photos that --photo-crops are cut from.")
@taken_option
@click.option(
    "--photo-crops", type=click.IntRange(min=0), default=0, help="Crops of a batch from --photos, as they are."
)
@click.option(
    "--judge-every",
    type=int,
    default=60,
    show_default=True,
    help="Seconds; weights are saved then, and what --resume goes on from.",
)
@click.option(
    "--held-out",
    type=click.IntRange(min=2),
    default=6,
    show_default=True,
    help="Every so-many-th scene is kept to judge by.",
)
@click.option("--threads", type=click.IntRange(min=1), help="Of the main process, on a CPU.")
@click.option("--seed", type=int, default=0)
@resume_option
def train_all(
    scenes: Path, out: Path, threads: int | None, photos: Path | None, taken: Path | None, resume: bool, **options: Any
) -> None:
    """Train students and estimator on SCENES, clean pictures without noise, and write their weights to OUT."""
    from nsp_pipeline.calibration.together.train import TogetherSettings

    base = options["base"]
    settings = TogetherSettings(
        seconds=math.inf if options["steps"] else options["seconds"],
        steps=options["steps"],
        counts=_counts(options["counts"]),
        students=[name for name in options["students"].split(",") if name],
        learning_rate=GOING_ON if base else FROM_NOTHING,
        **{
            name: options[name]
            for name in ("parts", "side", "workers", "pooled", "noise", "base", "keep_estimator", "seed", "teachers")
        },
        estimator=base and base / "estimator.safetensors",
        photo_crops=options["photo_crops"],
        taken_again=taken is not None,
        judge_every=options["judge_every"],
    )
    _train((scenes, photos, taken), out, {out: settings}, options["device"], options["held_out"], threads, resume)


@main.command("all")
@click.argument("scenes", type=FOLDER)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--base",
    type=FOLDER,
    help="Weights to start from, as benchmarks/weights has them; without, it starts from nothing.",
)
@click.option("--photos", type=FOLDER, required=True, help="Camera photos to learn from as they are, of 192×192 up.")
@taken_option
@click.option("--seconds", type=int, default=540, show_default=True, help="Time to train, start included.")
@click.option("--device", default="cuda", show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), default=14, show_default=True, help="Processes that simulate cameras."
)
@click.option(
    "--share", type=NumberType(0.001, 10), default=1.0, show_default=True, help="Of the crops that a GPU takes at once."
)
@click.option(
    "--parts", type=click.IntRange(min=1), default=24, show_default=True, help="Steps in which a batch is learnt from."
)
@click.option("--side", type=int, default=128, show_default=True, help="Of the crops, in pixels.")
@click.option(
    "--judge-every",
    type=int,
    default=75,
    show_default=True,
    help="Seconds; weights are saved then, and what --resume goes on from.",
)
@click.option(
    "--held-out",
    type=click.IntRange(min=2),
    default=10,
    show_default=True,
    help="Every so-many-th scene is kept to judge by.",
)
@resume_option
def train_stages(
    scenes: Path, out: Path, photos: Path, taken: Path | None, device: str, held_out: int, resume: bool, **options: Any
) -> None:
    """Train the networks of `fast`, `standard` and `quality` for all kinds of noise, one kind after the other.

    Their weights and log.csv come to OUT/white, OUT/unsmoothed and OUT/camera, and with --taken to OUT/full-size.
    Without --base, networks for any noise and the estimator come first, to OUT/first.
    """
    from nsp_pipeline.calibration.together.stages import all_stages

    stages = all_stages(options.pop("base"), out, options.pop("seconds"), taken=taken is not None, **options)
    in_folders = {out / name: settings for name, settings in stages.items()}
    _train((scenes, photos, taken), out, in_folders, device, held_out, None, resume)


def _train(
    folders: tuple[Path, Path | None, Path | None],
    out: Path,
    stages: Mapping[Path, "TogetherSettings"],
    device: str,
    held_out: int,
    threads: int | None,
    resume: bool,
) -> None:
    """Train stage after stage, write each one's weights and figures to its folder, and the checkpoint to `out`."""
    import torch

    from nsp_pipeline.calibration.together.resume import step_in
    from nsp_pipeline.calibration.together.train import train_together
    from nsp_pipeline.calibration.training.checkpoint import load_checkpoint
    from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE

    checkpoint = out / CHECKPOINT_FILE
    if checkpoint.exists() and not resume:
        raise UsageError(
            f"{out} holds a training that was cut off: --resume goes on with it; to start again, delete it"
        )
    begun_before = load_checkpoint(checkpoint) if resume else None
    begun = time.monotonic()
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    with ThreadPoolExecutor(16) as pool:
        pictures, photos, taken = (
            list(pool.map(_read, sorted(folder.iterdir()))) if folder else [] for folder in folders
        )
    train_together(
        [picture for number, picture in enumerate(pictures) if number % held_out],
        [picture for number, picture in enumerate(pictures) if not number % held_out],
        [
            (settings, _Saved(folder, step_in(begun_before, number)))
            for number, (folder, settings) in enumerate(stages.items())
        ],
        device,
        say=lambda message: click.echo(f"[{time.monotonic() - begun:6.1f}] {message}", err=True),
        photos=photos,
        taken=taken,
        checkpoint=checkpoint,
        begun_before=begun_before,
    )


class _Saved:
    """A stage's weights and figures in its folder."""

    def __init__(self, out: Path, after_step: int) -> None:
        """`after_step` is the one that the training goes on from: figures of later ones are taken away."""
        from nsp_pipeline.calibration.training.log import read_log

        self._out = out
        out.mkdir(parents=True, exist_ok=True)
        self._rows: list[dict[str, Any]] = [row for row in read_log(out) if int(row["step"]) <= after_step]

    def __call__(self, networks: Mapping[str, "nn.Module"], figures: dict[str, Any]) -> None:
        from nsp_pipeline.calibration.training.log import CSV_FILE, WHAT

        _save(networks, self._out)
        self._rows.append(figures)
        with (
            appearing(self._out / CSV_FILE, WHAT) as partial,
            partial.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, list(self._rows[0]))
            writer.writeheader()
            writer.writerows(self._rows)


@main.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("base", type=FILE)
@click.argument("others", nargs=-1, metavar="SHARE=FILE...")
def mix(target: Path, base: Path, others: tuple[str, ...]) -> None:
    """Move the weights of BASE by a SHARE of the way to each of other FILEs, and write them to TARGET."""
    from safetensors.torch import save_file

    from nsp_pipeline.calibration.together.finish import mixed

    parts = []
    for other in others:
        share, _, path = other.partition("=")
        try:
            parts.append((float(share), Path(path)))
        except ValueError:
            raise click.UsageError(f"{other!r} is no SHARE=FILE, such as 0.5=other/standard.safetensors") from None
    save_file(mixed(base, parts), target)


@main.command()
@click.argument("weights", type=FILE)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--log", type=FILE, required=True, help="log.csv of the training.")
@click.option("--side", type=int, default=192, show_default=True, help="Of the training's crops, in pixels.")
@click.option("--self-ensemble", type=click.Choice(["1", "2", "4", "8"]), default="1", show_default=True)
@click.option("--origin", required=True, help="Which photos it was trained on.")
@click.option("--licence", required=True, help="On what terms they and the weights may be used.")
def profile(weights: Path, target: Path, log: Path, side: int, self_ensemble: str, origin: str, licence: str) -> None:
    """Make a profile of WEIGHTS, named after its student, with the graphs of all modes."""
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.student.settings import StudentSettings
    from nsp_pipeline.calibration.together.finish import student_profile
    from nsp_pipeline.cli.shared.exporting import make_onnx

    with log.open(newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    figures = {"step": float(last["step"]), "seconds": float(last["seconds"])}
    figures["loss"] = float(last[f"loss {weights.stem}"])
    batch = round(float(last["megapixels"]) * 1e6 / figures["step"] / side**2)
    settings = StudentSettings(noise_kinds="any", crop=side, batch=batch, painted=0, self_ensemble=int(self_ensemble))
    student_profile(weights, target, settings, figures, Origin(origin, licence), make_onnx)


@main.command()
@click.argument("camera", type=FILE)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--unsmoothed", type=FILE, help="For photos whose noise nobody has smoothed.")
@click.option("--white", type=FILE, help="For photos whose noise is white.")
def join(camera: Path, target: Path, unsmoothed: Path | None, white: Path | None) -> None:
    """Write the profile CAMERA to TARGET with profiles for other noise in it, in the place of any that it holds."""
    from nsp_pipeline.calibration.together.finish import with_others
    from nsp_pipeline.core.noise_kind import NoiseKind
    from nsp_pipeline.profiles.bundle import load_profile

    files = {NoiseKind.UNSMOOTHED: unsmoothed, NoiseKind.WHITE: white}
    with_others(load_profile(camera), {kind: load_profile(file) for kind, file in files.items() if file}, target)


@main.command()
@click.argument("source", metavar="PROFILE", type=FILE)
@click.argument("target", type=click.Path(path_type=Path))
def graphs(source: Path, target: Path) -> None:
    """Write PROFILE to TARGET with all its graphs exported anew from its weights, which stay as they are."""
    from nsp_pipeline.calibration.together.finish import exported_anew
    from nsp_pipeline.cli.shared.exporting import make_onnx
    from nsp_pipeline.profiles.bundle import load_profile

    exported_anew(load_profile(source), target, make_onnx)


def _counts(text: str) -> tuple[int, int, int]:
    try:
        any_noise, light, shots = (int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--counts {text!r}: three whole numbers are wanted, such as 36,48,60") from None
    return any_noise, light, shots


def _read(path: Path) -> Any:
    """Pixels (H, W, 3) uint8; raises UsageError for what is no picture."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read as a picture: {error}") from None


def _save(networks: Mapping[str, "nn.Module"], out: Path) -> None:
    """Weights of students in half precision, which is all that files of 16 MB hold, and of the estimator in full."""
    import torch
    from safetensors.torch import save_file

    for name, network in networks.items():
        kind = torch.float32 if name == "estimator" else torch.float16
        weights = {key: part.detach().to("cpu", kind).contiguous() for key, part in network.state_dict().items()}
        with appearing(out / f"{name}.safetensors", "the weights") as partial:
            save_file(weights, partial)


if __name__ == "__main__":
    sys.exit(run_command(main))
