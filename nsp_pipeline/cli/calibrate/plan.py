"""How to train, from a recipe and the command line, and what the noise of the photos decides of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any

from rich.console import Console

from nsp_pipeline.calibration.archive.survey import TOO_LITTLE
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training import checked_settings
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.core.pair_choice import NoiseError, choose_pd, choose_s
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.development import DEVELOPED, Development
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.recipe import load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.calibration.training.shot_pairs import ShotPairs

NO_BASE = "none"
AUTO, LEFT_TO_NOISE = "auto", ("s", "pd_factor")
"""In a recipe, a word instead of a number: the noise of the photos decides."""

SECTION = "calibrate"
DEVELOPING = tuple(field.name for field in dataclass_fields(Development))
"""The words of a recipe that say how RAW is developed."""


@dataclass(frozen=True)
class Plan:
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
    development: Development = DEVELOPED


def read_settings(
    recipe: str, base: str | None, changes: Mapping[str, Any]
) -> "tuple[NextScaleSettings, frozenset[str], Profile | None]":
    """Settings of the recipe, with the changes that are not None; those left to the noise; the profile to start from.

    A recipe that leaves the network open takes the base's. Raises RecipeError for settings that cannot be trained with,
    and UsageError for a base that sees every pixel.
    """
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.models.registry import BACKBONES

    fields = load_recipe(recipe, SECTION, [*NextScaleSettings.model_fields, "base", *DEVELOPING])
    fields = {name: value for name, value in fields.items() if name not in DEVELOPING}
    fields |= {key: value for key, value in changes.items() if value is not None}
    base = base or str(fields.get("base", NO_BASE))
    fields.pop("base", None)
    start = None if base == NO_BASE else find_profile(base)
    if start and not BACKBONES[start.spec.backbone.name].blind:
        raise UsageError(
            f"--base {base} is a student, which sees every pixel and cannot learn from noisy photos alone: start from "
            "a blind-spot network such as dbsn, or train a student further with nsp distill --base"
        )
    if start and "backbone" not in fields:
        sizes = {key: value for key, value in start.spec.backbone.sizes.items() if key != "scale"}
        fields = {**sizes, "t": start.spec.backbone.scale, "backbone": start.spec.backbone.name, **fields}
    measured = frozenset(name for name in LEFT_TO_NOISE if fields.get(name) == AUTO)
    fields = {name: value for name, value in fields.items() if name not in measured}
    return checked_settings(NextScaleSettings, fields, recipe, SECTION), measured, start


def read_development(recipe: str, asked: Mapping[str, Any]) -> Development:
    """How RAW photos are developed: as the command line asks, else as the recipe says; raises UsageError."""
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings

    fields = load_recipe(recipe, SECTION, [*NextScaleSettings.model_fields, "base", *DEVELOPING])
    try:
        return Development(**{**{name: fields[name] for name in DEVELOPING if name in fields}, **asked})
    except TypeError as error:
        raise UsageError(f"recipe {recipe}, [{SECTION}]: {error}") from error


def suited(plan: Plan, noise: NoiseField | None, console: Console) -> "NextScaleSettings":
    """Fill in what the recipe leaves to the noise of the photos; raises NoiseError where no s works.

    Where the recipe has an s of its own, what the noise would ask for is said, and the verdict on a leak has the last
    word.
    """
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings

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
    say(console, f"neighbouring pixels have {100 * noise.by_lag[0]:.0f} % of their noise in common; {said}".strip("; "))
    return checked_settings(NextScaleSettings, {**plan.settings.model_dump(), **chosen}, plan.recipe, SECTION)
