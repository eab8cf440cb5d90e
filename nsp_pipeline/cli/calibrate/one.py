"""One profile: read the photos, measure their noise, train, write."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nsp_pipeline.calibration.archive.survey import measure_pixels
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.calibrate.stages import calibrate_student, train_blind_spot
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.stop_signals import stop_signals
from nsp_pipeline.cli.shared.training_folder import cache_of, training_folder
from nsp_pipeline.cli.shared.training_run import Run
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
    """Make one profile of some photos; raises what reading them and training raise."""
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
            if plan.student:
                profile = calibrate_student(plan, photos, noise, out, this)
            else:
                profile = train_blind_spot(plan, photos, noise, out, this)
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
