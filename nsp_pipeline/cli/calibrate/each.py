"""`nsp calibrate --split`: a profile for each camera, or each group, of an archive."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from nsp_pipeline.calibration.archive.groups import Group, by_camera, group_photos, merge_alike
from nsp_pipeline.calibration.archive.survey import measure_groups
from nsp_pipeline.cli.calibrate.one import NOISE_SAMPLES, calibrate_one
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.cli.shared.training import show_outcome
from nsp_pipeline.errors import ExitCode, UsageError
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases

FEWEST_PHOTOS = 3
"""Of fewer none can be kept out, and nothing would speak for a profile."""


def calibrate_each(plan: Plan, files: Sequence[Path], folder: Path, split: str, *, as_json: bool) -> None:
    """Make one profile after the other; what cannot be made is named, and the others are made all the same.

    Raises SystemExit with the exit code where the training was interrupted, or a profile could not be made.
    """
    console = Console(stderr=True)
    made, failed, stopped = [], 0, False
    for group, target in _targets(_groups(files, split, console), folder, console):
        say(console, f"{group.name}, {len(group.paths)} photos")
        try:
            outcome = calibrate_one(plan, group.paths, target)
        except UsageError as error:
            say(console, f"no profile for {group.name}: {error}", style="red")
            failed += 1
            continue
        if outcome.profile:
            show_outcome(console, outcome.profile, outcome.folder, stopped=outcome.stopped, as_json=False)
            made.append(outcome.profile)
        if stopped := outcome.stopped:
            break
    if as_json:
        print_json([profile.spec.model_dump(mode="json") for profile in made])
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


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
