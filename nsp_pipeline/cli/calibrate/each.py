"""`nsp calibrate --split`: a profile for each camera, or each group, of an archive."""

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from rich.console import Console

from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.calibration.archive.groups import Group, by_camera, group_known, is_edited, merge_alike, read_headers
from nsp_pipeline.calibration.archive.one_name import of_several_makers
from nsp_pipeline.calibration.archive.shares import LEAST_SECONDS, share_of, with_time_enough, worth
from nsp_pipeline.calibration.archive.survey import measure_groups
from nsp_pipeline.calibration.night.candidates import Header, counted
from nsp_pipeline.calibration.night.fitting import fitting_profile
from nsp_pipeline.calibration.night.memory import noise_profiles
from nsp_pipeline.cli.calibrate.on_cluster import Where, train_on_cluster
from nsp_pipeline.cli.calibrate.one import NOISE_SAMPLES, calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.calibrate.reading import headers_by, reading_by
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.cli.shared.training import show_outcome
from nsp_pipeline.cli.shared.training_folder import folder_of, has_checkpoint
from nsp_pipeline.errors import ExitCode, NspError, ProfileError, UsageError
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, Profile, load_profile, read_spec
from nsp_pipeline.profiles.choose import installed_profiles

FEWEST_PHOTOS = 3
"""Of fewer none can be kept out, and nothing would speak for a profile."""


def calibrate_each(
    plan: Plan, files: Sequence[Path], folder: Path, split: str, *, where: Where | None, as_json: bool
) -> None:
    """Make one profile after the other, the most worthwhile first, or several at a time on a cluster.

    One after the other they share the time of the plan by the number of their photos.

    What cannot be made is named, and the others are made all the same. Raises SystemExit with the exit code where the
    training was interrupted, or a profile could not be made, and UsageError where none could be begun.
    """
    console = Console(stderr=True)
    groups, covered = _groups(plan, files, split, console)
    targets, there = _targets(groups, folder, console)
    if not (targets or there or covered):
        raise UsageError("no profile can be made of these photos; why, is said above")
    if where:
        made, failed, stopped = _on_cluster(where, plan, targets, console)
    else:
        made, failed, stopped = _here(plan, targets, there if plan.resume else [], console)
    _say_how_to_install(made, console)
    if as_json:
        print_json([profile.spec.model_dump(mode="json") for profile in made])
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _here(
    plan: Plan, targets: Sequence[tuple[Group, Path]], there: Sequence[Path], console: Console
) -> tuple[list[Profile], int, bool]:
    """The profiles made, how many could not be made, and whether somebody stopped it.

    Of the time that all have together, profiles that are `there` from earlier runs took their part.
    """
    made, failed = [], 0
    if plan.max_time is not None and plan.since is not None:
        # What finding and grouping the photos took is gone.
        plan = replace(plan, max_time=max(0.0, plan.max_time - (time.monotonic() - plan.since)))
    spent = {path: _trained_seconds(path) for path in there}
    photos = _with_time_enough(plan, targets, spent, console)
    if targets and not photos:
        raise UsageError("no profile can be made in this time; give more of it with --max-time")
    for group, target in targets:
        if target not in photos:
            continue
        began = time.monotonic()
        seconds = share_of(target, photos, plan.max_time, spent) if plan.max_time else None
        within = f", in {duration(seconds)} at most" if seconds is not None else ""
        say(console, f"{group.name}, {len(group.paths)} photos{within}")
        this = replace(plan, resume=plan.resume and has_checkpoint(target), max_time=seconds, since=None)
        try:
            outcome = calibrate_one(this, group.paths, target)
        except (NspError, OSError) as error:
            say(console, f"no profile for {group.name}: {error}", style="red")
            failed += 1
            continue
        finally:
            photos.pop(target)
            spent[target] = time.monotonic() - began
        if outcome.profile:
            show_outcome(console, outcome.profile, outcome.folder, stopped=outcome.stopped, as_json=False)
            made.append(outcome.profile)
        if outcome.stopped:
            return made, failed, True
    return made, failed, False


def _with_time_enough(
    plan: Plan, targets: Sequence[tuple[Group, Path]], spent: Mapping[Path, float], console: Console
) -> dict[Path, int]:
    """How many photos each group has whose share of the time is worth a training; says which groups are left out."""
    photos = {target: len(group.paths) for group, target in targets}
    if plan.max_time is None:
        return photos
    enough = with_time_enough(photos, plan.max_time, spent)
    for group, target in targets:
        if target not in enough:
            share = share_of(target, photos, plan.max_time, spent)
            reason = f"its share of --max-time is {duration(share)}, at least {duration(LEAST_SECONDS)} are needed"
            say(console, f"left out: {group.name}: {reason}", style="yellow")
    return enough


def _trained_seconds(path: Path) -> float:
    try:
        return read_spec(path).training.seconds
    except ProfileError:
        return 0.0  # something else that has the name


def _on_cluster(
    where: Where, plan: Plan, targets: Sequence[tuple[Group, Path]], console: Console
) -> tuple[list[Profile], int, bool]:
    made, failed = [], 0
    begun = [f"{group.name}: {folder_of(target)}" for group, target in targets if has_checkpoint(target)]
    if begun and not plan.resume:
        raise UsageError(f"a training was cut off: --resume goes on with it; to start again, delete it: {begun[0]}")
    for trained in train_on_cluster(where, replace(plan, since=None), targets) if targets else ():
        if trained.trouble:
            say(console, f"no profile for {trained.group.name}: {trained.trouble}", style="red")
            failed += 1
            continue
        profile = load_profile(trained.target)
        show_outcome(console, profile, folder_of(trained.target), stopped=False, as_json=False)
        made.append(profile)
    return made, failed, False


def _say_how_to_install(made: Sequence[Profile], console: Console) -> None:
    """Say how those that photos gain by become what their cameras' photos are made with."""
    worth_it = [profile for profile in made if profile.spec.has_own_weights or profile.camera_noise]
    if worth_it:
        say(console, "for nsp denoise to take them by itself:")
    taken = set(installed_profiles())
    for profile in worth_it:
        name = profile.path.name.removesuffix(BUNDLE_SUFFIX)
        free = next(new for number in count(1) if (new := f"{name}-{number}" if number > 1 else name) not in taken)
        taken.add(free)
        command = ["nsp", "profiles", "install", str(profile.path), *(["--name", free] if free != name else [])]
        say(console, f"  {shlex.join(command)}")


def _groups(plan: Plan, files: Sequence[Path], split: str, console: Console) -> tuple[Sequence[Group], bool]:
    """Cameras, or groups whose noise is alike, and whether photos have a profile already; says what was left out."""
    aliases = read_aliases(aliases_file())
    headers, refused = read_headers(files, by=headers_by(plan))
    if unread := len(files) - len(headers) - len(refused):
        say(
            console,
            f"left out: {unread} of {len(files)} photos, as --max-time is too short to look at all",
            style="yellow",
        )
    wanting = _without_profile(headers, aliases, console) if split == "camera" else headers
    covered = len(wanting) < len(headers)
    groups = group_known(wanting, aliases)
    for name, reason in of_several_makers((facts.camera for _, facts in headers), aliases).items():
        say(console, f"left out: {name}: {reason}", style="yellow")
        groups = [group for group in groups if group.camera != name]
    if edited := sum(len(group.paths) for group in groups if group.edited):
        say(console, f"left out: {edited} photos that a program changed or resized; `nsp scan` lists them")
    if split == "camera":
        groups = by_camera(groups)
    else:
        originals = [group for group in groups if not group.edited]
        groups, unmeasured = measure_groups(originals, NOISE_SAMPLES, by=reading_by(plan))
        groups = merge_alike(groups)
        refused += unmeasured
    for error in refused:
        say(console, f"left out: {error}", style="yellow")
    return groups, covered


def _without_profile(headers: Sequence[Header], aliases: Mapping[str, str], console: Console) -> Sequence[Header]:
    """The photos that no profile of the user's was made for, by camera and ISO, and edited ones; says of the others."""
    fitting = partial(fitting_profile, for_noise=noise_profiles())
    wanting: list[Header] = []
    covered: Counter[tuple[str | None, str]] = Counter()
    for path, facts in headers:
        if not is_edited(facts) and (profile := fitting(facts.camera)):
            covered[camera_name(facts.camera, aliases), profile] += 1
        else:
            wanting.append((path, facts))
    for (camera, profile), photos in covered.items():
        say(
            console,
            f"left out: {camera}, {counted(photos)}: your profile {profile} fits them (to make another one all the "
            "same: --camera, without --split)",
        )
    return wanting


def _targets(groups: Sequence[Group], folder: Path, console: Console) -> tuple[list[tuple[Group, Path]], list[Path]]:
    """Each group that a profile can be made of, and where, the most worthwhile first; and the profiles that are there.

    Says what was left out.
    """
    taken: Counter[str] = Counter()
    targets, there = [], []
    for group in groups:
        taken[group.slug] += 1
        target = folder / (f"{group.slug}-{taken[group.slug]}.nsp" if taken[group.slug] > 1 else f"{group.slug}.nsp")
        if len(group.paths) < FEWEST_PHOTOS:
            say(console, f"left out: {group.name}: {len(group.paths)} photos, at least {FEWEST_PHOTOS} are needed")
        elif target.exists():
            say(console, f"left out: {group.name}: {target} is there already")
            there.append(target)
        else:
            targets.append((group, target))
    return sorted(targets, key=lambda entry: worth(entry[0]), reverse=True), there
