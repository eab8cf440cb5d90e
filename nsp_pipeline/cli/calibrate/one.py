"""One profile: read the photos, measure their noise, train, write."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nsp_pipeline.calibration.archive.survey import measure_pixels
from nsp_pipeline.cli.calibrate.plan import Plan, suited
from nsp_pipeline.cli.shared.exporting import make_onnx
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.stop_signals import stop_signals
from nsp_pipeline.cli.shared.training import inherited_licence, progress
from nsp_pipeline.cli.shared.training_folder import cache_of, training_folder
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.profiles.bundle import Profile

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.photos import PhotoSet

NOISE_SAMPLES = 8


@dataclass(frozen=True)
class Made:
    """What came of a training; the profile is None in all processes but the first."""

    profile: Profile | None
    folder: Path
    stopped: bool


def calibrate_one(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """Make one profile of some photos; raises what `training_folder`, `load_photos`, `calibrate` and `distill` raise."""
    from nsp_pipeline.calibration.training.ranks import join_ranks

    begun = time.monotonic()
    with join_ranks(plan.device) as ranks:
        console = Console(stderr=True, quiet=not ranks.first)
        with (
            stop_signals(console) as stop,
            training_folder(out, resume=plan.resume, first=ranks.first, stopped=stop.asked) as folder,
        ):
            photos = _read(plan, files, folder, console)
            this = Run(folder, ranks, stop, begun, console)
            noise = measure_pixels([photo.pixels for photo in photos.training], NOISE_SAMPLES)
            profile = (_student if plan.student else _blind_spot)(plan, photos, noise, out, this)
            return Made(profile, folder, stop.asked())


def _read(plan: Plan, files: Sequence[Path], folder: Path, console: Console) -> "PhotoSet":
    """Read the photos, and say which cannot serve."""
    from nsp_pipeline.calibration.student.own_noise import smallest_side
    from nsp_pipeline.calibration.training.photos import load_photos

    settings = plan.student.settings if plan.student else plan.settings
    say(console, f"reading {len(files)} photos")
    photos = load_photos(
        files,
        smallest_side=smallest_side(plan.student.settings) if plan.student else plan.settings.crop,
        memory=settings.memory,
        seed=settings.seed,
        cache=settings.cache,
        cache_folder=cache_of(folder),
        development=plan.development,
    )
    for reason in photos.refused:
        say(console, f"left out: {reason}", style="yellow")
    return photos


def _student(plan: Plan, photos: "PhotoSet", noise: NoiseField | None, out: Path, this: Run) -> Profile | None:
    """Train the student that a calibration ends in."""
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.student.distill import Sources, distill

    assert plan.student
    settings, start = plan.student.settings, plan.student.start
    say(
        this.console,
        f"training on {len(photos.training)} photos, {len(photos.held_out)} held out, recipe {plan.recipe}, a student from "
        f"{start.name}, {settings.steps} steps on {plan.device}; first, pieces of the photos are denoised",
    )
    with this.stop.finishing_first(), progress(this.console, settings.steps, start.name) as on_step:
        return distill(
            Sources(noisy=photos),
            settings,
            out,
            origin=Origin(plan.origin, inherited_licence(plan.licence, start)),
            make_onnx=make_onnx,
            base=start,
            shot_pairs=plan.shot_pairs,
            noise=noise,
            run=this.options(plan.device, plan.resume, plan.max_time, on_step),
        )


def _blind_spot(plan: Plan, photos: "PhotoSet", noise: NoiseField | None, out: Path, this: Run) -> Profile | None:
    """Train the blind-spot network, and nothing after it."""
    from nsp_pipeline.calibration.next_scale.calibrate import calibrate
    from nsp_pipeline.calibration.publish import Origin

    settings = suited(plan, noise, this.console)
    say(
        this.console,
        f"training on {len(photos.training)} photos, {len(photos.held_out)} held out, recipe {plan.recipe}, "
        f"from {plan.start.name if plan.start else 'nothing'}, {settings.steps} steps on {plan.device}",
    )
    if not photos.held_out and not plan.shot_pairs:
        say(this.console, "no photo can be kept out of training: nothing will speak for the profile", style="yellow")
    with this.stop.finishing_first(), progress(this.console, settings.steps) as on_step:
        return calibrate(
            photos,
            settings,
            out,
            origin=Origin(plan.origin, inherited_licence(plan.licence, plan.start)),
            make_onnx=make_onnx,
            base=plan.start,
            shot_pairs=plan.shot_pairs,
            noise=noise,
            pd_by_noise="pd_factor" in plan.measured,
            run=this.options(plan.device, plan.resume, plan.max_time, on_step),
        )
