"""Settings of a student's training: what a distillation recipe may say, each field with its meaning and bounds."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from nsp_pipeline.calibration.simulation.noise_range import NoiseRange, Share
from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.models.unet import FOLD

Width = Annotated[int, Field(ge=4, le=512)]


class StudentSettings(TrainingSettings, NoiseRange):
    """Everything that decides how a student is trained; stands in a recipe and, as used, in the profile.

    The ranges of the simulated camera are those of `NoiseRange`.
    """

    backbone: Literal["unet"] = "unet"

    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (32, 64, 128)
    """Width of each level, from half the photo's resolution downwards."""
    pairs: tuple[Annotated[int, Field(ge=1, le=16)], ...] = (1, 1, 2)
    """Residual pairs of convolutions of each level on the way down."""
    scale: Annotated[int, Field(ge=2, le=2)] = 2
    noise_kinds: Literal["cameras", "any", "photos"] = "cameras"
    """What noise is put onto clean photos: that of cameras; or every kind of noise there is, drawn in a moment: then
    only `clean` photos and stored shots are learnt from; or that of the noisy photos themselves, cut out of their flat
    places: then only they, and a teacher, are learnt from."""
    simulated_share: Share = 0.5
    """With the noise of the photos: share of the crops that have a simulated camera's noise all the same, so that what
    is known of noise in general is not forgotten."""
    simulated_noise: Literal["cameras", "any"] = "cameras"
    """What that noise is: of cameras that smooth it; or any, for a student of noise that nobody has smoothed."""
    unshrunk_share: Share = 0.7
    """Share of the crops whose pictures are as large as the photos, where the noise is theirs; others are shrunk."""
    noise_conditioned: bool = True
    """Whether the network takes a table of the photo's noise as a second input."""
    unconditioned_share: Share = 0.15
    """Share of the crops trained without that table, so that the network also works without it."""
    noise_error: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Relative error put on the table (one standard deviation), since a measurement has one too."""

    self_ensemble: Literal[1, 2, 4, 8] = 1
    """Self-ensemble of the finished profile: rotated and mirrored copies to average, each costing as much as one."""

    clip: Annotated[float, Field(gt=0)] | None = 1.0

    crop: Annotated[int, Field(ge=32, le=4096, multiple_of=16)] = 128
    """Side of a training crop in pixels of the noisy photo; the sharp one is twice as large."""
    shrink: Annotated[float, Field(ge=1, le=8)] = 1.5
    """Clean photos are shrunk this much, and by two again for the noisy crop, which takes what noise they have."""
    shrink_noisy: Annotated[float, Field(ge=1, le=8)] = 2.0
    """The same for the noisy photos, which serve as sharp ones too."""
    painted: Annotated[int, Field(ge=0, le=10_000)] = 120
    """Pictures painted before training starts (see dead_leaves)."""
    painted_share: Share = 0.5
    """Share of the crops with simulated noise that come from painted pictures."""
    teacher_share: Share = 0.5
    """Share of the crops that are of noisy photos, their targets made by the teacher; 0 where there is none."""
    teacher_crops: Annotated[int, Field(ge=1)] = 240
    """Crops of noisy photos that the teacher makes targets for before training starts."""
    recharge: Annotated[int, Field(ge=2, le=64)] = 8
    """One pixel in so many of the teacher's target is the noisy one, so that the student learns to use it."""
    shots_share: Share = 0.5
    """Share of the crops that come from a store of simulated shots, where there is one."""
    told: Literal["estimate", "truth"] = "estimate"
    """What is told of simulated noise: what the estimator says of it, with its errors (of the whole shot, where shots
    are stored), or the noise that it is."""
    sharp_weight: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Weight of the loss at twice the resolution, from which the enlarging modes learn."""

    @field_validator("pairs")
    @classmethod
    def _one_number_per_level(cls, pairs: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        levels = len(info.data.get("channels", pairs))
        if len(pairs) != levels:
            raise ValueError(f"{len(pairs)} numbers of pairs for {levels} levels")
        return pairs

    @model_validator(mode="after")
    def _crops_hold_what_is_done_to_them(self) -> Self:
        multiple = FOLD * 2 ** (len(self.channels) - 1)
        if self.crop % multiple:
            raise ValueError(
                f"crop = {self.crop}: {len(self.channels)} levels of channels take multiples of {multiple}"
            )
        if self.crop <= self.reach:
            raise ValueError(
                f"longest_blur = {self.longest_blur:g} reaches {self.reach} pixels far, and crop = {self.crop} has no "
                f"more: a longer crop, or longest_blur below {(self.crop - 1) / 18:.1f}"
            )
        return self

    @property
    def pixels_a_step(self) -> int:
        """Pixels of noisy crops that a step sees."""
        return self.batch * self.crop**2

    @property
    def table_errors(self) -> dict[str, float]:
        """What `with_measurement_error` takes."""
        return {"within": self.noise_error, "unknown_share": self.unconditioned_share}

    @property
    def backbone_sizes(self) -> dict[str, Any]:
        """The sizes that `build_backbone` takes."""
        return {
            "channels": list(self.channels),
            "pairs": list(self.pairs),
            "scale": self.scale,
            "noise_conditioned": self.noise_conditioned,
        }
