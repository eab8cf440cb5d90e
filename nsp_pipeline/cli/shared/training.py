"""What the commands that train have in common: their photos, settings, progress, device and outcome."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.calibration.training.ranks import Ranks
from nsp_pipeline.cli.shared.finding import blame_lines, search_lines
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.errors import RecipeError, UsageError
from nsp_pipeline.evaluation.datasets.pairs import ground_truth
from nsp_pipeline.file_names import printable, shown
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.find_rules import FindRules
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.gains import gain_in_words, is_of_a_camera
from nsp_pipeline.profiles.noise import isos_in_words

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.judge import Verdict
    from nsp_pipeline.calibration.training.loop import Progress
    from nsp_pipeline.calibration.training.settings import TrainingSettings

SomeSettings = TypeVar("SomeSettings", bound="TrainingSettings")

LOG_EVERY = 100
PREPARED_EVERY = 10.0
"""Seconds from one line to the next while that is made which is learnt from."""

PATIENCE_NAME = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
"""Environment variable of torchrun's: seconds from the signal that it hands on to the one that kills."""


def chosen_photos(console: Console, roots: Sequence[Path], rules: FindRules) -> list[Path]:
    """Find the photos to train on, and say what was left out; raises UsageError for a folder without any."""
    found = find_photos(roots, rules)
    for line in search_lines(found):
        say(console, line)
    found.require_some()
    for line in blame_lines(found):
        say(console, line, style="yellow")
    return found.paths


def without_ground_truth(console: Console, photos: Sequence[Path]) -> list[Path]:
    """The photos without the clean ones of pairs, as data sets name them; says how many were left out."""
    clean = ground_truth(photos)
    if clean:
        say(
            console,
            f"left out: {len(clean)} photo{'s' * (len(clean) != 1)}, such as {printable(clean[0])}: by their names the "
            "ground truth of others, and what is learnt here is learnt from noisy photos alone",
        )
    return sorted(set(photos) - set(clean))


def checked_settings(kind: type[SomeSettings], fields: Mapping[str, Any], recipe: str, section: str) -> SomeSettings:
    """Settings that can be trained with; raises RecipeError for others, before any photo is read."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"recipe {shown(recipe)}, [{section}]: {where + ': ' if where else ''}{message}") from None


def show_outcome(console: Console, profile: Profile, folder: Path, *, stopped: bool, as_json: bool) -> None:
    """Say what came of a training, ended or `stopped`; with `as_json` print the profile's description on stdout."""
    from nsp_pipeline.calibration.training.judge import LEAK_BELOW

    scores = profile.spec.scores
    if is_of_a_camera(scores):
        say(console, _gained(profile), style="" if scores.accepted else "yellow")
        if not scores.accepted:
            say(console, f"why: {scores.verdict}")
    elif scores.accepted is not None:
        accepted = "accepted" if scores.accepted else f"not accepted, the weights of {scores.base} stay"
        say(console, f"{accepted}: {scores.verdict}")
    if scores.pair_gain is not None:
        say(console, f"on the pairs of shots: {scores.pair_gain:+.2f} dB over a single shot")
    if scores.inference_errors:
        say(console, f"PD at inference: {profile.spec.inference.in_words}; it leaves the least error on noisy photos")
    if scores.leak is not None:
        edges = f", {scores.edges:.1f} times that at edges" if scores.edges is not None else ""
        say(
            console,
            f"photos kept out of training: colours move by {scores.drift:.2f} of 255 at most; what was removed in "
            f"flat places is {scores.leak:.2f} of the noise there{edges}",
        )
        if scores.leak < LEAK_BELOW:
            say(console, "noise leaks into the estimate: s is too small for these photos", style="yellow")
    steps = profile.spec.training.steps
    say(console, f"profile {profile.path}: {steps} steps; {'log and pictures' if steps else 'log'} in {folder}")
    if scores.accepted is False and (known := profile.camera_noise):
        say(console, f"what it adds to {scores.base}: how noisy the camera is at {isos_in_words(known)}")
    say(console, f"use it: nsp denoise PHOTOS CLEAN --profile {profile.path}")
    if stopped:
        say(console, f"to train on, give {profile.path.name} another name and run the same command with --resume")
    if as_json:
        print_json(profile.spec.model_dump(mode="json"))


def _gained(profile: Profile) -> str:
    """What a calibration to a camera has come to, in a sentence."""
    learnt = f"learnt from {profile.spec.data.photos} photos in {duration(profile.spec.training.seconds)}"
    return f"calibrated: {gain_in_words(profile.spec.scores)}; {learnt}"


def inherited_licence(licence: str, *parents: Profile | None) -> str:
    """Return the licence of new weights, joined with those of the base and of the teacher."""
    for parent in parents:
        if parent and parent.spec.data.licence not in licence:
            licence += f"; from {parent.name}: {parent.spec.data.licence}"
    return licence


def usable(device: str, threads: int | None) -> str:
    """The device to train on, with PyTorch held to so many threads; raises UsageError when it cannot use the device."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: PyTorch cannot use it here: {reason}") from None
    return device


def say_of_ranks(console: Console, ranks: Ranks) -> None:
    """Say that several processes train, and for how long torchrun waits for the profile of an interrupted training."""
    if ranks.count == 1:
        return
    say(console, f"{ranks.count} processes share every batch")
    if "TORCHELASTIC_RUN_ID" in os.environ and (wait := os.environ.get(PATIENCE_NAME, "30")) == "30":
        say(
            console,
            f"an interrupted training has {wait} s to write its profile, then torchrun kills it (and --resume goes on "
            f"with it); {PATIENCE_NAME}=600 in front of torchrun leaves it the time",
        )


def preparing(console: Console) -> Callable[[int, int], None]:
    """What takes how much of that is made which is learnt from, and says so now and then, and at the end."""
    last, said = 0, time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last, said
        late = time.monotonic() - said >= PREPARED_EVERY
        if done > last and (late or done == total):
            last, said = done, time.monotonic()
            say(console, f"prepared {done}/{total}")

    return tell


@contextmanager
def progress(console: Console, steps: int, first: str = "") -> Iterator[Any]:
    """Draw a bar on a terminal; on anything else write a line now and then.

    Args:
        first: name of the profile that gains are beside, where there are any.
    """
    if not sys.stderr.isatty():
        said: list[Verdict | None] = [None]

        def log(progress: "Progress") -> None:
            new = progress.gain != said[0]
            if progress.step % LOG_EVERY and progress.step != progress.steps and not new:
                return
            said[0] = progress.gain
            rate = f"{progress.steps_per_second:.2f} steps/s"
            parts = [f"step {progress.step}/{progress.steps}", f"loss {progress.loss:.5f}", rate]
            if progress.gain:
                parts.append(f"{progress.gain.in_words} over {first} so far")
            parts += [f"{duration(progress.seconds_left)} left"] if progress.seconds_left else []
            say(console, "  ".join(parts))

        yield log
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.5f}  {task.fields[rate]:.2f} steps/s{task.fields[gain]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("training", total=steps, loss=0.0, rate=0.0, gain="")
        yield lambda progress: bar.update(
            task,
            total=progress.steps,
            completed=progress.step,
            loss=progress.loss,
            rate=progress.steps_per_second,
            gain=f"  {progress.gain.in_words} over {first}" if progress.gain else "",
        )
