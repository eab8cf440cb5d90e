"""One group of photos, from its lock to a profile among the user's, or to the record that there is none."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.calibration.archive.verdict import time_in_words
from nsp_pipeline.calibration.night.candidates import Candidate
from nsp_pipeline.calibration.night.fitting import fitting_profile
from nsp_pipeline.calibration.night.memory import (
    NoiseProfile,
    Outcome,
    Record,
    fingerprint,
    forget,
    held,
    place_of,
    recall,
    recall_of,
    remember,
    settled,
)
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night.device import training_device
from nsp_pipeline.cli.night.half_done import clear, is_of, target_of
from nsp_pipeline.cli.night.keep import keep, make_room
from nsp_pipeline.cli.night.task import GOES_ON, GroupEnd, GroupTask, Train
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training_folder import has_checkpoint
from nsp_pipeline.errors import ExitCode, NspError, UsageError
from nsp_pipeline.profiles.bundle import Profile, load_profile
from nsp_pipeline.profiles.choose import BUILTIN, find_profile, look_again
from nsp_pipeline.profiles.noise import isos_in_words


def done_before(candidate: Candidate, seconds: float) -> GroupEnd | None:
    """What another run has made of a group meanwhile; None where it may be calibrated, in so many seconds."""
    photos = len(candidate.group.paths)
    look_again()
    if name := candidate.fits(fitting_profile):
        return GroupEnd(candidate.title, photos, Outcome.KEPT, f"another run made profile {name} meanwhile", name)
    if (reason := settled(candidate, seconds)) and (record := recall_of(candidate)):
        return GroupEnd(candidate.title, photos, record.outcome, reason, record.serving)
    return None


def calibrate_group(task: GroupTask, train: Train) -> GroupEnd:
    """Calibrate a group, unless another run does or has done so, and keep the profile if it was accepted.

    One that was not is kept for what it knows of the camera's noise, if it does.

    A training that was cut off goes on. Raises OutputError where nothing can be kept, MissingCapabilityError where the
    device is of no use, and what `train` raises.
    """
    candidate = task.candidate
    place = place_of(candidate.key)

    with held(place) as mine:
        if not mine:
            return _ended(task, Outcome.BUSY, "another run is calibrating these photos")
        return done_before(candidate, task.seconds) or _calibrate(task, place, train)


def _ended(task: GroupTask, outcome: Outcome, reason: str) -> GroupEnd:
    return GroupEnd(task.candidate.title, len(task.candidate.group.paths), outcome, reason)


def _calibrate(task: GroupTask, place: Path, train: Train) -> GroupEnd:
    group = task.candidate.group
    assert group.iso
    device = training_device(task.device, task.threads)
    before = recall(place)
    begun = Record(Outcome.CUT_OFF, "", len(group.paths), group.iso, task.seconds, fingerprint(group.paths))
    known = recall_of(task.candidate)
    begun = replace(begun, noise=known.noise if known else None)
    if before is None or not is_of(before, task.candidate):
        clear(place)
    remember(place, begun)
    target = target_of(task.candidate)
    began = time.monotonic()
    try:
        profile = _trained(replace(task, device=device), target, train)
    except NspError as error:
        reason = " ".join(str(error).split())
        if error.exit_code in (ExitCode.USAGE, ExitCode.SOME_FAILED):  # the photos' fault, and not the machine's
            clear(place)
            remember(place, replace(begun, outcome=Outcome.FAILED, reason=reason))
        return _ended(task, Outcome.FAILED, f"no profile, as {reason}")
    if profile is None:
        return _ended(task, Outcome.CUT_OFF, GOES_ON)
    scores = profile.spec.scores
    verdict = scores.verdict or "nothing was measured"
    # Against the profile that its photos would be made with otherwise, and no weaker one.
    judged = scores.base == find_profile(BUILTIN).name
    if judged and scores.accepted:
        return _kept(task, place, begun, profile, time_in_words(time.monotonic() - began))
    if judged and profile.camera_noise:
        return _kept_for_noise(task, place, replace(begun, reason=verdict), profile)
    remember(place, replace(begun, outcome=Outcome.NO_GAIN, reason=verdict))
    remove(target)
    return _ended(task, Outcome.NO_GAIN, f"nothing was surely gained, so the built-in profile stays: {verdict}")


def _kept(task: GroupTask, place: Path, begun: Record, profile: Profile, took: str) -> GroupEnd:
    """Keep a profile whose weights gained: nothing is left to remember."""
    make_room(begun.noise, profile)
    name = keep(profile.path)
    forget(place)
    scores = profile.spec.scores
    reason = f"better than the built-in profile after {took}: {scores.verdict}; kept as {name}"
    claim = scores.claim
    kept = replace(_ended(task, Outcome.KEPT, reason), profile=name)
    return replace(kept, gain=claim.gain, gain_error=claim.error) if claim else kept


def _kept_for_noise(task: GroupTask, place: Path, begun: Record, profile: Profile) -> GroupEnd:
    """Keep a profile that has the weights that ship and knows the camera's noise, and remember that it is no more.

    That comes first: one that nobody remembers would be taken for the user's own, and end all further tries.
    """
    make_room(begun.noise, profile)
    done = replace(begun, outcome=Outcome.NOISE)
    name = keep(profile.path, lambda name: remember(place, replace(done, noise=NoiseProfile.of(profile, name))))
    assert profile.camera_noise
    known = f"how noisy the camera is at {isos_in_words(profile.camera_noise)} is known now"
    reason = f"no weights surely gained, so those that ship stay ({begun.reason}); {known}; kept as {name}"
    return replace(_ended(task, Outcome.NOISE, reason), profile=name)


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
            clear(target.parent)
    return train(replace(plan, resume=False), paths, target)
