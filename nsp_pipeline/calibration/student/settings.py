"""Settings of a student's training: what a distillation recipe may say, each field with its meaning and bounds."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from nsp_pipeline.calibration.student.camera_noise import NoiseRange
from nsp_pipeline.calibration.training.settings import TrainingSettings

Width = Annotated[int, Field(ge=4, le=512)]
ANY_SIGMA = 0.7, 30.0
"""The noise of photos of any camera at middle grey, in 8-bit steps."""

Share = Annotated[float, Field(ge=0, le=1)]


class StudentSettings(TrainingSettings):
    """Everything that decides how a student is trained; stands in a recipe and, as used, in the profile."""

    backbone: Literal["unet"] = "unet"

    channels: tuple[Width, ...] = (32, 64, 128)
    """Width of each level, from half the photo's resolution downwards."""
    pairs: tuple[Annotated[int, Field(ge=1, le=16)], ...] = (1, 1, 2)
    """Residual pairs of convolutions of each level on the way down."""
    scale: Annotated[int, Field(ge=2, le=2)] = 2
    noise_conditioned: bool = True
    """Whether the network is told how noisy the photo is, as measured where it is flat."""
    unconditioned_share: Share = 0.15
    """Crops of which it is not told, so that it can do without."""
    noise_error: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Relative error (one standard deviation) put onto what it is told: a measurement has one."""

    self_ensemble: Literal[1, 2, 4, 8] = 1
    """Turned and mirrored copies of a photo that the profile takes the mean of: better, and so many times as slow."""

    clip: Annotated[float, Field(gt=0)] | None = 1.0

    crop: Annotated[int, Field(ge=32, multiple_of=8)] = 128
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
    sharp_weight: Annotated[float, Field(ge=0, le=10)] = 0.1
    """Weight of the loss at twice the resolution, which teaches the enlarging modes."""

    least_sigma: Annotated[float, Field(gt=0, le=100)] | None = None
    most_sigma: Annotated[float, Field(gt=0, le=100)] | None = None
    """Range of the simulated noise at middle grey, in 8-bit steps. None: around what is measured in the noisy photos,
    or 0.7 to 30 where there are none."""
    clean_share: Share = 0.05
    sensor_share: Share = 0.4
    least_colour_left: Annotated[float, Field(gt=0, le=8)] = 0.15
    most_colour_left: Annotated[float, Field(gt=0, le=8)] = 1.5
    """Range of the colour noise that a finished picture has, in parts of its grey noise."""
    untouched_share: Share = 0.2
    longest_blur: Annotated[float, Field(ge=0, le=8)] = 1.6
    most_colour: Annotated[float, Field(ge=0, le=8)] = 1.4
    smoothed_share: Share = 0.6
    adapted_share: Share = 0.75
    most_kept: Annotated[float, Field(ge=0, le=8)] = 1.5
    """Noise that texture has on top of that of flat places, in parts of it, at most, in `adapted_share` of the photos:
    cameras smooth flat places more."""
    jpeg_share: Share = 0.8
    soft_share: Share = 0.85
    softest: Annotated[float, Field(ge=0, le=8)] = 1.2
    soft_colour_share: Share = 0.85
    softest_colour: Annotated[float, Field(ge=0.5, le=8)] = 2.5

    @field_validator("pairs")
    @classmethod
    def _one_number_per_level(cls, pairs: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        levels = len(info.data.get("channels", pairs))
        if len(pairs) != levels:
            raise ValueError(f"{len(pairs)} numbers of pairs for {levels} levels")
        return pairs

    @field_validator("most_sigma")
    @classmethod
    def _a_range(cls, most: float | None, info: ValidationInfo) -> float | None:
        least = info.data.get("least_sigma")
        if most is not None and least is not None and most < least:
            raise ValueError(f"{most} is below least_sigma = {least}")
        return most

    @property
    def backbone_sizes(self) -> dict[str, Any]:
        """The sizes that `build_backbone` takes."""
        return {
            "channels": list(self.channels),
            "pairs": list(self.pairs),
            "scale": self.scale,
            "noise_conditioned": self.noise_conditioned,
        }

    @property
    def noise(self) -> NoiseRange:
        """The noise that is simulated, and how sharp the photos are that it is put on."""
        return NoiseRange(
            sigma=(self.least_sigma or ANY_SIGMA[0], self.most_sigma or ANY_SIGMA[1]),
            clean_share=self.clean_share,
            sensor_share=self.sensor_share,
            colour=(self.least_colour_left, self.most_colour_left),
            untouched_share=self.untouched_share,
            longest_blur=self.longest_blur,
            most_colour=self.most_colour,
            smoothed_share=self.smoothed_share,
            adapted_share=self.adapted_share,
            most_kept=self.most_kept,
            jpeg_share=self.jpeg_share,
            soft_share=self.soft_share,
            softest=self.softest,
            soft_colour_share=self.soft_colour_share,
            softest_colour=self.softest_colour,
        )
