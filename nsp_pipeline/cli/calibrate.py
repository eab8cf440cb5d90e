"""`nsp calibrate`: noisy photos in, a profile out."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError
from rich.console import Console

from nsp_pipeline.calibration.archive.groups import by_camera, group_photos, merge_alike, only
from nsp_pipeline.calibration.archive.survey import TOO_LITTLE, measure_groups
from nsp_pipeline.cli.shared.exporting import make_onnx, require_training
from nsp_pipeline.cli.shared.finding import find_options
from nsp_pipeline.cli.shared.quantities import DeviceType, DurationType, IsoRangeType
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.standard_output import print_json
from nsp_pipeline.cli.shared.training import (
    chosen_photos,
    inherited_licence,
    progress,
    stop_on_interrupt,
    tell,
    training_folder,
    usable,
)
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.core.pair_choice import NoiseError, choose_pd, choose_s
from nsp_pipeline.errors import ExitCode, RecipeError, UsageError
from nsp_pipeline.frames.find import FindRules
from nsp_pipeline.frames.metadata.camera_names import aliases_file, read_aliases
from nsp_pipeline.profiles.bundle import Profile, require_writable
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.calibration.training.shot_pairs import ShotPairs

NO_BASE = "none"
AUTO, LEFT_TO_NOISE = "auto", ("s", "pd_factor")
"""In a recipe, a word instead of a number: the noise of the photos decides."""

NOISE_SAMPLES = 8
FEWEST_PHOTOS = 3
"""Of fewer none can be kept out, and nothing would speak for a profile."""


@click.command(name="calibrate")
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The profile to write: NAME.nsp or a folder."
)
@click.option("--recipe", default="camera", show_default=True, help="Training settings: a name or a TOML file.")
@click.option(
    "--base",
    metavar="PROFILE|none",
    help="Profile to start from, a name or a file; none starts from nothing. Recipe `camera`: dbsn-noncommercial.",
)
@click.option("--backbone", type=click.Choice(["dbsn", "tbsn"]), help="Network to train instead of the recipe's.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Train for this many steps instead of the recipe's.")
@click.option(
    "--max-time", type=DurationType(), metavar="TIME", help="Train no longer than 20m, 8h; with --split, each."
)
@click.option("--resume", is_flag=True, help="Go on with a training of the same photos and options that was killed.")
@click.option(
    "--device", type=DeviceType(), default="auto", show_default=True, help="auto takes a GPU if there is one."
)
@click.option(
    "--pair",
    "pairs",
    nargs=2,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="A B",
    help="Two shots of one scene from a tripod, a stronger test of the result. May be repeated.",
)
@click.option(
    "--camera", metavar="NAME", help="Only photos of cameras whose name, as `nsp scan` has it, contains this."
)
@click.option("--iso", type=IsoRangeType(), metavar="A-B", help="Only photos of these ISO, ends included; or of one.")
@click.option(
    "--split",
    type=click.Choice(["camera", "group"]),
    help="Make a profile for each camera, or for each group as `nsp scan --noise` has them; OUT is their folder.",
)
@find_options
@click.option("--origin", help="Where the photos come from, for the profile's card.")
@click.option("--licence", default="not stated", help="Terms on which the profile may be used, for its card.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished profile's description as JSON on stdout.")
def command(
    photos: tuple[Path, ...],
    out: Path,
    recipe: str,
    base: str | None,
    backbone: str | None,
    max_steps: int | None,
    max_time: float | None,
    resume: bool,
    device: str,
    pairs: tuple[tuple[Path, Path], ...],
    camera: str | None,
    iso: tuple[int, int] | None,
    split: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    origin: str | None,
    licence: str,
    as_json: bool,
) -> None:
    """Fit a profile to a camera from its noisy PHOTOS (files or folders) alone.

    One photo in ten is kept out of training. With a base, the new weights are taken only if they beat it on those;
    else the profile holds the base's weights and says so. The noise of the photos is measured and stands in the
    profile; where the recipe leaves s and PD to it ("auto"), it decides. Log, pictures and the checkpoint for --resume
    go into the folder OUT.training.

    A folder of many cameras: --split camera makes a profile for each. Photos that a program changed are left out then,
    and so are cameras of which there are fewer than three photos.

    Ctrl-C ends training and writes the profile so far, with exit code 130; a second Ctrl-C gives up. Several GPUs:
    torchrun --nproc-per-node N -m nsp_pipeline calibrate ...
    """
    require_training()
    from nsp_pipeline.calibration.training.shot_pairs import read_shot_pairs

    settings, measured, start = _settings(recipe, base, {"backbone": backbone, "steps": max_steps})
    if not split:
        require_writable(out)
    elif pairs:
        raise UsageError("--pair shows one camera; with --split there are several: calibrate that camera by itself")
    shot_pairs = read_shot_pairs(pairs)
    only_first_speaks = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
    files = chosen_photos(only_first_speaks, photos, FindRules(include=include, exclude=exclude))
    if camera or iso:
        aliases = read_aliases(aliases_file())
        if not (files := only(files, aliases, camera=camera, iso=iso)):
            raise UsageError("no photo is of that --camera and --iso; `nsp scan` lists what there is")
    origin = origin or ", ".join(str(path) for path in photos)
    plan = _Plan(recipe, settings, measured, start, shot_pairs, usable(device), resume, max_time, origin, licence)
    if split:
        _calibrate_each(plan, files, out, split, as_json=as_json)
        return
    made = _calibrate(plan, files, out)
    if made.profile is None:
        return
    tell(Console(stderr=True), made.profile, made.folder, as_json=as_json)
    if made.stopped:
        raise SystemExit(ExitCode.INTERRUPTED)


@dataclass(frozen=True)
class _Plan:
    """How to train, whatever the photos. `measured` names the settings that their noise decides."""

    recipe: str
    settings: "NextScaleSettings"
    measured: frozenset[str]
    start: Profile | None
    shot_pairs: "ShotPairs | None"
    device: str
    resume: bool
    max_time: float | None
    origin: str
    licence: str


@dataclass(frozen=True)
class _Made:
    """What came of a training; the profile is None in all processes but the first."""

    profile: Profile | None
    folder: Path
    stopped: bool


def _calibrate(plan: _Plan, files: Sequence[Path], out: Path) -> _Made:
    from nsp_pipeline.calibration.archive.survey import measure_pixels
    from nsp_pipeline.calibration.next_scale.calibrate import calibrate
    from nsp_pipeline.calibration.publish import Origin
    from nsp_pipeline.calibration.training.loop import RunOptions
    from nsp_pipeline.calibration.training.photos import load_photos
    from nsp_pipeline.calibration.training.ranks import join_ranks

    settings = plan.settings
    with join_ranks(plan.device) as ranks, training_folder(out, resume=plan.resume, first=ranks.first) as folder:
        console = Console(stderr=True, quiet=not ranks.first)
        say(console, f"reading {len(files)} photos")
        photo_set = load_photos(
            files,
            smallest_side=settings.crop,
            memory=settings.memory,
            seed=settings.seed,
            cache=settings.cache,
            cache_folder=folder / f"cache-{ranks.rank}",
        )
        for reason in photo_set.refused:
            say(console, f"left out: {reason}", style="yellow")
        noise = measure_pixels([photo.pixels for photo in photo_set.training], NOISE_SAMPLES)
        settings = _suited(plan, noise, console)
        say(
            console,
            f"training on {len(photo_set.training)} photos, {len(photo_set.held_out)} held out, recipe {plan.recipe}, "
            f"from {plan.start.name if plan.start else 'nothing'}, {settings.steps} steps on {plan.device}",
        )
        with stop_on_interrupt(console) as should_stop, progress(console, settings.steps) as on_step:
            profile = calibrate(
                photo_set,
                settings,
                out,
                origin=Origin(plan.origin, inherited_licence(plan.licence, plan.start)),
                make_onnx=make_onnx,
                base=plan.start,
                shot_pairs=plan.shot_pairs,
                noise=noise,
                pd_by_noise="pd_factor" in plan.measured,
                run=RunOptions(
                    plan.device,
                    folder,
                    plan.resume,
                    plan.max_time,
                    ranks,
                    should_stop,
                    on_step,
                    on_trouble=lambda message: say(console, message, style="yellow"),
                ),
            )
        return _Made(profile, folder, should_stop())


def _calibrate_each(plan: _Plan, files: Sequence[Path], folder: Path, split: str, *, as_json: bool) -> None:
    """One profile after the other; what cannot be made is named, and the others are made all the same."""
    console = Console(stderr=True)
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
    made, failed, stopped = [], 0, False
    taken: Counter[str] = Counter()
    for group in groups:
        taken[group.slug] += 1
        target = folder / (f"{group.slug}-{taken[group.slug]}.nsp" if taken[group.slug] > 1 else f"{group.slug}.nsp")
        if len(group.paths) < FEWEST_PHOTOS:
            say(console, f"left out: {group.name}: {len(group.paths)} photos, at least {FEWEST_PHOTOS} are needed")
            continue
        if target.exists():
            say(console, f"left out: {group.name}: {target} is there already")
            continue
        say(console, f"{group.name}, {len(group.paths)} photos")
        try:
            outcome = _calibrate(plan, group.paths, target)
        except UsageError as error:
            say(console, f"no profile for {group.name}: {error}", style="red")
            failed += 1
            continue
        if outcome.profile:
            tell(console, outcome.profile, outcome.folder, as_json=False)
            made.append(outcome.profile)
        if stopped := outcome.stopped:
            break
    if as_json:
        print_json([profile.spec.model_dump(mode="json") for profile in made])
    if stopped:
        raise SystemExit(ExitCode.INTERRUPTED)
    if failed:
        raise SystemExit(ExitCode.SOME_FAILED)


def _suited(plan: _Plan, noise: NoiseField | None, console: Console) -> "NextScaleSettings":
    """Fill in what the recipe leaves to the noise of the photos; raises NoiseError where no s works.

    Where the recipe has an s of its own, what the noise would ask for is said, and the verdict on a leak has the last
    word.
    """
    if noise is None:
        usual = {"s": plan.settings.s, "pd_factor": plan.settings.pd_factor or plan.settings.t}
        kept = ", ".join(f"{name} = {usual[name]}" for name in LEFT_TO_NOISE if name in plan.measured)
        say(console, f"{TOO_LITTLE}; {kept}, as nothing else is known" if kept else TOO_LITTLE, style="yellow")
        return plan.settings
    chosen: dict[str, Any] = {}
    try:
        # Targets are a level of their own between input and photo: 1 < t < s.
        s = max(choose_s(noise), plan.settings.t + 1)
    except NoiseError as error:
        if "s" in plan.measured:
            raise
        say(console, f"{error}; the recipe's s = {plan.settings.s} is kept", style="yellow")
    else:
        if "s" in plan.measured:
            chosen["s"] = s
        elif s > plan.settings.s:
            say(console, f"pixels share no noise from {s} apart; the recipe's s = {plan.settings.s} is kept")
    if "pd_factor" in plan.measured:
        chosen["pd_factor"] = min(choose_pd(noise), plan.settings.t)
    said = ", ".join(f"{name} = {value}" for name, value in chosen.items())
    say(console, f"noise: σ {noise.sigma:.2f} of 255, {noise.by_lag[0]:.2f} shared with neighbours; {said}".strip("; "))
    return _checked({**plan.settings.model_dump(), **chosen}, plan.recipe)


def _settings(
    recipe: str, base: str | None, overrides: dict[str, Any]
) -> "tuple[NextScaleSettings, frozenset[str], Profile | None]":
    """Settings of the recipe, with the overrides that are not None; those left to the noise; the profile to start from.

    A recipe that leaves the network open takes the base's. Raises UsageError for a base that sees every pixel.
    """
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.models.registry import BACKBONES

    fields = load_recipe(recipe, "calibrate", [*NextScaleSettings.model_fields, "base"])
    fields |= {key: value for key, value in overrides.items() if value is not None}
    base = base or fields.get("base", NO_BASE)
    fields.pop("base", None)
    start = None if base == NO_BASE else find_profile(base)
    if start and not BACKBONES[start.spec.backbone.name].blind:
        raise UsageError(
            f"--base {base} is a student, which sees every pixel and cannot learn from noisy photos alone: start from "
            "a blind-spot network such as dbsn-noncommercial, or train a student further with nsp distill --base"
        )
    if start and "backbone" not in fields:
        sizes = {key: value for key, value in start.spec.backbone.sizes.items() if key != "scale"}
        fields = {**sizes, "t": start.spec.backbone.scale, "backbone": start.spec.backbone.name, **fields}
    measured = frozenset(name for name in LEFT_TO_NOISE if fields.get(name) == AUTO)
    fields = {name: value for name, value in fields.items() if name not in measured}
    return _checked(fields, recipe), measured, start


def _checked(fields: Mapping[str, Any], recipe: str) -> "NextScaleSettings":
    """Settings that can be trained with; raises RecipeError for others before any photo is read."""
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings

    try:
        settings = NextScaleSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        raise RecipeError(f"recipe {recipe}, [calibrate]: {where}{first['msg']}") from None
    _ = settings.geometry  # refuse an impossible s, t, n
    if settings.crop < settings.s:
        raise RecipeError(f"recipe {recipe}, [calibrate]: crop must be at least s = {settings.s} pixels")
    if settings.pd_factor not in (None, 1, settings.t):
        raise RecipeError(f"recipe {recipe}, [calibrate]: pd_factor must be 1 or t = {settings.t}")
    return settings
