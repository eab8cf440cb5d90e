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
from nsp_pipeline.profiles.choose import DEFAULT, find_profile
from nsp_pipeline.recipe import has_table, load_recipe

if TYPE_CHECKING:
    from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
    from nsp_pipeline.calibration.student.settings import StudentSettings
    from nsp_pipeline.calibration.training.shot_pairs import ShotPairs

NO_BASE = "none"
AUTO, LEFT_TO_NOISE = "auto", ("s", "pd_factor")
"""In a recipe, a word instead of a number: the noise of the photos decides."""

SECTION, STUDENT_SECTION = "calibrate", "student"
"""Tables of a recipe: how the blind-spot network is trained, and how the student; without the second there is none."""

USUAL_RECIPE = "camera"
DEVELOPING = tuple(field.name for field in dataclass_fields(Development))
"""The words of a recipe that say how RAW is developed."""


@dataclass(frozen=True)
class StudentPlan:
    """How the student is trained that a calibration ends in, and which one it starts from."""

    settings: "StudentSettings"
    start: Profile
    around: Profile | None = None
    """The profile that holds `start` for other noise than its own, if one does."""

    @property
    def taught(self) -> bool:
        """Whether it learns from a blind-spot network, which must be trained first."""
        return self.settings.teacher_share > 0


@dataclass(frozen=True)
class Plan:
    """How to train, whatever the photos. `measured` names the settings that their noise decides.

    Without a `student`, a calibration ends in the blind-spot network that the other settings are of.
    """

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
    student: StudentPlan | None = None
    since: float | None = None
    """When `max_time` began (`time.monotonic`, of this machine); None: when the training does."""


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
            f"--base {base} is a student, which sees every pixel, and --base is what the blind-spot network starts "
            f"from. To make a student for this camera that starts from {base}: --student {base}"
        )
    if start and "backbone" not in fields:
        sizes = {key: value for key, value in start.spec.backbone.sizes.items() if key != "scale"}
        fields = {**sizes, "t": start.spec.backbone.scale, "backbone": start.spec.backbone.name, **fields}
    measured = frozenset(name for name in LEFT_TO_NOISE if fields.get(name) == AUTO)
    fields = {name: value for name, value in fields.items() if name not in measured}
    return checked_settings(NextScaleSettings, fields, recipe, SECTION), measured, start


def read_student(
    recipe: str, student: str | None, steps: int | None, *, stop_at: str | None = None, with_teacher: bool = False
) -> StudentPlan | None:
    """How the recipe trains the student that a calibration ends in; None where it ends in the blind-spot network.

    A recipe without a student makes one all the same when `student` names the one to start from: as the usual recipe
    says.

    Raises:
        UsageError: what is named cannot be started from.
        RecipeError: settings that cannot be trained with.
    """
    from nsp_pipeline.calibration.student.settings import StudentSettings
    from nsp_pipeline.models.registry import BACKBONES

    if stop_at:
        if student or with_teacher:
            raise UsageError(
                "--stop-at teacher ends with the blind-spot network, before any student: leave --student and "
                "--with-teacher out"
            )
        return None
    if not has_table(recipe, STUDENT_SECTION):
        if not (student or with_teacher):
            return None
        recipe = USUAL_RECIPE
    fields = load_recipe(recipe, STUDENT_SECTION, [*StudentSettings.model_fields, "base", "with_teacher"])
    start = find_profile(student or str(fields.get("base", DEFAULT)))
    spec = start.spec
    if BACKBONES[spec.backbone.name].blind:
        raise UsageError(
            f"--student {start.name} is a blind-spot network, and a student is wanted: standard, quality, fast, or a "
            f"profile made from one of them. To train {start.name} further: --stop-at teacher --base {start.name}"
        )
    taught = with_teacher or bool(fields.get("with_teacher"))
    fields = {name: value for name, value in fields.items() if name not in ("base", "with_teacher")}
    fields |= {} if taught else {"teacher_share": 0.0}
    fields |= {"steps": steps} if steps else {}
    ours = {"backbone": spec.backbone.name, "self_ensemble": spec.inference.self_ensemble, "noise_kinds": "photos"}
    return StudentPlan(
        checked_settings(StudentSettings, {**spec.backbone.sizes, **ours, **fields}, recipe, STUDENT_SECTION), start
    )


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
