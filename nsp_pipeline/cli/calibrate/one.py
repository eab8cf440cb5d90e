"""One profile: read the photos, measure their noise, train, write."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nsp_pipeline.calibration.archive.survey import measure_pixels
from nsp_pipeline.calibration.training.ranks import ALONE, Ranks
from nsp_pipeline.cli.calibrate.plan import Plan, StudentPlan
from nsp_pipeline.cli.calibrate.reading import read_photos
from nsp_pipeline.cli.calibrate.stages import calibrate_student, train_blind_spot
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.stop_signals import stop_signals
from nsp_pipeline.cli.shared.training import say_of_ranks
from nsp_pipeline.cli.shared.training_folder import training_folder
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.profiles.bundle import UNSMOOTHED_FILE, WHITE_FILE, Profile

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.loop import Trained
    from nsp_pipeline.calibration.training.photos import PhotoSet

NOISE_SAMPLES = 8

WHY_INSIDE = {
    UNSMOOTHED_FILE: "nobody has smoothed the noise of these photos: the network for such noise",
    WHITE_FILE: "the noise of these photos is white: the network for such noise",
}
"""Why not the profile's own network is trained, by the file of the one that is."""


@dataclass(frozen=True)
class Made:
    """What came of a training; the profile is None in all processes but the first."""

    profile: Profile | None
    folder: Path
    stopped: bool


def calibrate_one(
    plan: Plan,
    files: Sequence[Path],
    out: Path,
    ranks: Ranks = ALONE,
    on_trained: "Callable[[Trained], None]" = lambda trained: None,
) -> Made:
    """Make one profile of some photos, with the other processes of `ranks`; raises what reading and training raise.

    Args:
        on_trained: called with the student that was trained, before it is known whether the profile takes it.
    """
    begun = time.monotonic()
    console = Console(stderr=True, quiet=not ranks.first)
    say_of_ranks(console, ranks)
    with stop_signals(console) as stop:
        with training_folder(out, resume=plan.resume, ranks=ranks, stopped=stop.asked) as folder:
            this = Run(folder, ranks, stop, plan.since or begun, console, on_trained)
            photos = read_photos(plan, files, this)
            if plan.student:
                plan, photos = _suited(plan, plan.student, photos, console)
                _require_judged(plan, photos)
            for reason in photos.refused:
                say(console, f"left out: {reason}", style="yellow")
            noise = measure_pixels([photo.pixels for photo in photos.training], NOISE_SAMPLES)
            if plan.student:
                profile = calibrate_student(plan, photos, noise, out, this)
            else:
                profile = train_blind_spot(plan, photos, noise, out, this)
        # The others end when the first has written: where one ends in a code of its own, torchrun ends all.
        return Made(profile, folder, bool(ranks.first_says(stop.asked())))


def _require_judged(plan: Plan, photos: "PhotoSet") -> None:
    """Raise UsageError where nothing could speak for a student, before anything is measured or a teacher is trained."""
    from nsp_pipeline.calibration.student.distill import require_judged

    assert plan.student
    require_judged(plan.student.start, len(photos.held_out), plan.shot_pairs, plan.student.settings)


def _suited(plan: Plan, student: StudentPlan, photos: "PhotoSet", console: Console) -> "tuple[Plan, PhotoSet]":
    """The network that the photos would be made with, in crops that they hold."""
    from nsp_pipeline.calibration.student.suited import large_enough, settings_for, start_for

    start = start_for(student.start, photos.training)
    inside = start is not student.start
    settings = settings_for(start, student.settings, photos, unsmoothed=inside)
    if inside:
        say(console, f"{WHY_INSIDE[start.path.name]} of {start.name} is trained")
    around = student.start if inside else None
    return replace(plan, student=StudentPlan(settings, start, around)), large_enough(photos, settings)
