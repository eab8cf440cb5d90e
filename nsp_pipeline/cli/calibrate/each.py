"""`nsp calibrate --split`: a profile for each camera, or each group, of an archive."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nsp_pipeline.calibration.archive.groups import Group, by_camera, group_photos, merge_alike
from nsp_pipeline.calibration.archive.survey import measure_groups
from nsp_pipeline.cli.calibrate.on_cluster import Where, train_on_cluster
from nsp_pipeline.cli.calibrate.one import NOISE_SAMPLES, calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.cli.shared.training import show_outcome
from nsp_pipeline.cli.shared.training_folder import folder_of, has_checkpoint
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.profiles.bundle import Profile, load_profile

FEWEST_PHOTOS = 3
"""Of fewer none can be kept out, and nothing would speak for a profile."""


def calibrate_each(
    plan: Plan, files: Sequence[Path], folder: Path, split: str, *, where: Where | None, as_json: bool
) -> None:
    """Make one profile after the other, or several at a time on a cluster.

    What cannot be made is named, and the others are made all the same. Raises SystemExit with the exit code where the
    training was interrupted, or a profile could not be made.
    """
    console = Console(stderr=True)
    targets = _targets(_groups(files, split, console), folder, console)
    made, failed, stopped = _on_cluster(where, plan, list(targets), console) if where else _here(plan, targets, console)
    if as_json:
        print_json([profile.spec.model_dump(mode="json") for profile in made])
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _here(plan: Plan, targets: Iterable[tuple[Group, Path]], console: Console) -> tuple[list[Profile], int, bool]:
    """The profiles made, how many could not be made, and whether somebody stopped it."""
    made, failed = [], 0
    for group, target in targets:
        say(console, f"{group.name}, {len(group.paths)} photos")
        try:
            outcome = calibrate_one(replace(plan, resume=plan.resume and has_checkpoint(target)), group.paths, target)
        except UsageError as error:
            say(console, f"no profile for {group.name}: {error}", style="red")
            failed += 1
            continue
        if outcome.profile:
            show_outcome(console, outcome.profile, outcome.folder, stopped=outcome.stopped, as_json=False)
            made.append(outcome.profile)
        if outcome.stopped:
            return made, failed, True
    return made, failed, False


def _on_cluster(
    where: Where, plan: Plan, targets: Sequence[tuple[Group, Path]], console: Console
) -> tuple[list[Profile], int, bool]:
    made, failed = [], 0
    begun = [f"{group.name}: {folder_of(target)}" for group, target in targets if has_checkpoint(target)]
    if begun and not plan.resume:
        raise UsageError(f"a training was cut off: --resume goes on with it; to start again, delete it: {begun[0]}")
    for trained in train_on_cluster(where, plan, targets) if targets else ():
        if trained.trouble:
            say(console, f"no profile for {trained.group.name}: {trained.trouble}", style="red")
            failed += 1
            continue
        profile = load_profile(trained.target)
        show_outcome(console, profile, folder_of(trained.target), stopped=False, as_json=False)
        made.append(profile)
    return made, failed, False


def _groups(files: Sequence[Path], split: str, console: Console) -> Sequence[Group]:
    """Cameras, or groups whose noise is alike; says what was left out."""
    groups, refused = group_photos(files, read_aliases(aliases_file()))
    if edited := sum(len(group.paths) for group in groups if group.edited):
        say(console, f"left out: {edited} photos that a program changed or resized; `nsp scan` lists them")
    if split == "camera":
        groups = by_camera(groups)
    else:
        groups, unmeasured = measure_groups([group for group in groups if not group.edited], NOISE_SAMPLES)
        groups = merge_alike(groups)
        refused += unmeasured
    for error in refused:
        say(console, f"left out: {error}", style="yellow")
    return groups


def _targets(groups: Sequence[Group], folder: Path, console: Console) -> Iterator[tuple[Group, Path]]:
    """Each group that a profile can be made of, and where; says what was left out."""
    taken: Counter[str] = Counter()
    for group in groups:
        taken[group.slug] += 1
        target = folder / (f"{group.slug}-{taken[group.slug]}.nsp" if taken[group.slug] > 1 else f"{group.slug}.nsp")
        if len(group.paths) < FEWEST_PHOTOS:
            say(console, f"left out: {group.name}: {len(group.paths)} photos, at least {FEWEST_PHOTOS} are needed")
        elif target.exists():
            say(console, f"left out: {group.name}: {target} is there already")
        else:
            yield group, target
