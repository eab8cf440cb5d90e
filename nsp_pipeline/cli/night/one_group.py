"""One group of photos, from its lock to a profile among the user's, or to the record that there is none."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from rich.console import Console

from nsp_pipeline import __version__
from nsp_pipeline.atomic_file import remove
from nsp_pipeline.calibration.archive.verdict import time_in_words
from nsp_pipeline.calibration.night.candidates import Candidate, counted
from nsp_pipeline.calibration.night.memory import (
    LOCK_FILE,
    RECORD_FILE,
    Outcome,
    Record,
    fingerprint,
    forget,
    held,
    place_of,
    recall,
    remember,
    settled,
)
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training import usable
from nsp_pipeline.cli.shared.training_folder import folder_of, has_checkpoint
from nsp_pipeline.errors import ExitCode, MissingCapabilityError, NspError, OutputError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, Profile, load_profile
from nsp_pipeline.profiles.choose import BUILTIN, choose_profile, find_profile, look_again, user_folder

GOES_ON = "the calibration was cut off; the same command goes on with it"

CHECKPOINT_FILE = "checkpoint.pt"

Train = Callable[[Plan, Sequence[Path], Path], Made]
"""`calibrate_one`, or what stands in for it."""


@dataclass(frozen=True)
class GroupTask:
    """A group to calibrate, and how; `plan` says neither the device nor the time."""

    candidate: Candidate
    plan: Plan
    seconds: float
    """What it may take in all, earlier runs included."""
    device: str
    threads: int | None


@dataclass(frozen=True)
class GroupEnd:
    """What came of a group in this run; `reason` is a sentence for people."""

    title: str
    photos: int
    outcome: Outcome
    reason: str
    profile: str | None = None
    """Name of the profile that was kept."""

    def __str__(self) -> str:
        return f"{self.title}, {counted(self.photos)}: {self.reason}"


def fitting_profile(camera: Camera) -> str | None:
    """The name of the user's profile that `auto` takes for a camera and ISO; None where none was made for them."""
    profile = choose_profile(camera, on_missing="skip").profile
    return profile.path.name.removesuffix(BUNDLE_SUFFIX) if profile else None


def training_device(device: str, threads: int | None) -> str:
    """The device to train on (see usable); raises MissingCapabilityError where PyTorch cannot use it.

    No photo is to blame for that: what is half done waits until the device is back.
    """
    try:
        return usable(device, threads)
    except UsageError as error:
        raise MissingCapabilityError(f"{error}; --calibrate trains there: take --device cpu, or mend that") from None


def target_of(candidate: Candidate) -> Path:
    """Where the training of a group writes its profile, before that is kept."""
    return place_of(candidate.key) / f"{candidate.group.slug}{BUNDLE_SUFFIX}"


def checkpoints(candidate: Candidate) -> list[Path]:
    """The checkpoints that a training of a group, or one of its stages, has left; asked without PyTorch."""
    return list(folder_of(target_of(candidate)).rglob(CHECKPOINT_FILE))


def goes_on(candidate: Candidate) -> bool:
    """Whether a calibration of these very photos was cut off and left something to go on from."""
    record = recall(place_of(candidate.key))
    if record is None or not _is_of(record, candidate):
        return False
    return target_of(candidate).exists() or bool(checkpoints(candidate))


def done_before(candidate: Candidate, seconds: float) -> GroupEnd | None:
    """What another run has made of a group meanwhile; None where it may be calibrated, in so many seconds."""
    photos = len(candidate.group.paths)
    look_again()
    if name := candidate.fits(fitting_profile):
        return GroupEnd(candidate.title, photos, Outcome.KEPT, f"another run made profile {name} meanwhile", name)
    if (reason := settled(candidate, seconds)) and (record := recall(place_of(candidate.key))):
        return GroupEnd(candidate.title, photos, record.outcome, reason)
    return None


def _is_of(record: Record, candidate: Candidate) -> bool:
    """Whether a record is of a calibration of these photos, by this version, that was cut off or is under way."""
    if (record.outcome, record.version) != (Outcome.CUT_OFF, __version__):
        return False
    return record.files == fingerprint(candidate.group.paths)


def calibrate_group(task: GroupTask, train: Train) -> GroupEnd:
    """Calibrate a group, unless another run does or has done so, and keep the profile if it was accepted.

    A training that was cut off goes on. Raises OutputError where nothing can be kept, MissingCapabilityError where the
    device is of no use, and what `train` raises.
    """
    candidate = task.candidate
    place = place_of(candidate.key)

    def ended(outcome: Outcome, reason: str, profile: str | None = None) -> GroupEnd:
        return GroupEnd(candidate.title, len(candidate.group.paths), outcome, reason, profile)

    with held(place) as mine:
        if not mine:
            return ended(Outcome.BUSY, "another run is calibrating these photos")
        if done := done_before(candidate, task.seconds):
            return done
        return ended(*_calibrate(task, place, train))


def _calibrate(task: GroupTask, place: Path, train: Train) -> tuple[Outcome, str, str | None]:
    group = task.candidate.group
    assert group.iso
    device = training_device(task.device, task.threads)
    begun = Record(Outcome.CUT_OFF, "", len(group.paths), group.iso, task.seconds, fingerprint(group.paths))
    before = recall(place)
    if before is None or not _is_of(before, task.candidate):
        _clear(place)
    remember(place, begun)
    target = target_of(task.candidate)
    began = time.monotonic()
    try:
        profile = _trained(replace(task, device=device), target, train)
    except NspError as error:
        reason = " ".join(str(error).split())
        if error.exit_code in (ExitCode.USAGE, ExitCode.SOME_FAILED):  # the photos' fault, and not the machine's
            _clear(place)
            remember(place, replace(begun, outcome=Outcome.FAILED, reason=reason))
        return Outcome.FAILED, f"no profile, as {reason}", None
    if profile is None:
        return Outcome.CUT_OFF, GOES_ON, None
    verdict = profile.spec.scores.verdict or "nothing was measured"
    if not _beats_the_builtin(profile):
        remember(place, replace(begun, outcome=Outcome.NO_GAIN, reason=verdict))
        remove(target)
        return Outcome.NO_GAIN, f"nothing was gained, so the built-in profile stays: {verdict}", None
    name = _keep(target)
    forget(place)
    took = time_in_words(time.monotonic() - began)
    return Outcome.KEPT, f"better than the built-in profile after {took}: {verdict}; kept as {name}", name


def _beats_the_builtin(profile: Profile) -> bool:
    """Whether it was accepted against the profile that its photos would be made with otherwise, and no weaker one."""
    scores = profile.spec.scores
    return bool(scores.accepted) and scores.base == find_profile(BUILTIN).name


def _trained(task: GroupTask, target: Path, train: Train) -> Profile | None:
    """The profile that a training ended in; None where it was interrupted, and its checkpoint stays."""
    if target.exists():
        if not has_checkpoint(target):
            return load_profile(target)  # killed before it could be kept
        remove(target)  # of an interrupted training: it goes on
    plan = replace(task.plan, device=task.device, max_time=task.seconds)
    try:
        made = _resumed(plan, task.candidate.group.paths, target, train)
    except KeyboardInterrupt:
        return None
    if made.stopped:
        remove(target)
        return None
    return made.profile


def _resumed(plan: Plan, paths: Sequence[Path], target: Path, train: Train) -> Made:
    """Go on from the checkpoint, if there is one; begin again where it does not fit, as one of an older nsp."""
    if has_checkpoint(target):
        try:
            return train(replace(plan, resume=True), paths, target)
        except UsageError as error:
            say(Console(stderr=True), f"the calibration begins again: {error}", style="yellow")
            _clear(target.parent)
    return train(replace(plan, resume=False), paths, target)


def _keep(made: Path) -> str:
    """Move a profile among the user's, under a name that is free, whole or not at all; returns the name.

    The log and pictures of its training come along, as they lie beside any profile that `nsp calibrate` makes.
    """
    for number in count(1):
        final = user_folder() / (f"{made.stem}-{number}{BUNDLE_SUFFIX}" if number > 1 else made.name)
        try:
            if not os.path.lexists(folder_of(final)) and _moved(made, final):
                break
        except OSError as error:
            raise OutputError(f"{final}: the profile cannot be kept there: {error.strerror or error}") from error
    with suppress(OSError):
        folder_of(made).rename(folder_of(final))
    return final.name.removesuffix(BUNDLE_SUFFIX)


def _moved(made: Path, final: Path) -> bool:
    """Move a file to a name; False where the name is taken, however lately: a rename would replace what is there."""
    try:
        os.link(made, final)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links, such as exFAT
        return _moved_without_links(made, final)
    made.unlink()
    return True


def _moved_without_links(made: Path, final: Path) -> bool:
    """The same with an empty file that takes the name first, which the profile then replaces."""
    try:
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    try:
        made.replace(final)
    except OSError:
        remove(final)
        raise
    return True


def _clear(place: Path) -> None:
    """Remove what earlier calibrations of a group left, but for its lock and record."""
    for entry in place.iterdir():
        if entry.name not in (LOCK_FILE, RECORD_FILE):
            remove(entry)
