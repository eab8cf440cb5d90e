"""Settings of Next-Scale Prediction: what a calibration recipe may say, each field with its meaning and bounds."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.core.pairs import PairGeometry, Strategy
from nsp_pipeline.errors import UsageError

Blocks = Annotated[int, Field(ge=1, le=16)]
Heads = Annotated[int, Field(ge=1, le=16)]

SIZE_FIELDS = {
    "dbsn": ("base_channels", "modules", "local_mean_skip"),
    "tbsn": ("channels", "blocks", "refinement_blocks", "channel_heads", "spatial_heads", "head_dim", "tile"),
}
"""The settings that are sizes of each backbone: a recipe may state those of its own backbone only."""

INPUT_MULTIPLE = {"dbsn": 1, "tbsn": 32}
"""What the sides of a training input, crop // s, must be multiples of."""


class NextScaleSettings(TrainingSettings):
    """Everything that decides how a profile is trained; stands in a recipe and, as used, in the profile."""

    backbone: Literal["dbsn", "tbsn"] = "dbsn"

    base_channels: Annotated[int, Field(ge=4, le=512, multiple_of=2)] = 32
    modules: Annotated[int, Field(ge=1, le=32)] = 4
    local_mean_skip: bool = True

    channels: Annotated[int, Field(ge=4, le=256, multiple_of=4)] = 48
    blocks: tuple[Blocks, Blocks, Blocks] = (4, 4, 4)
    refinement_blocks: Blocks = 4
    channel_heads: tuple[Heads, Heads, Heads] = (1, 2, 4)
    spatial_heads: tuple[Heads, Heads, Heads] = (2, 2, 3)
    head_dim: Annotated[int, Field(ge=1, le=128)] = 16
    tile: Annotated[int, Field(ge=32, le=1024, multiple_of=32)] = 128
    """Side of the network's input near which the profile will be run."""

    s: Annotated[int, Field(ge=2, le=12)] = 5
    t: Annotated[int, Field(ge=2, le=4)] = 2
    n: Annotated[int, Field(ge=1)] = 1
    strategy: Strategy = Strategy.CONSECUTIVE
    inputs_per_step: Annotated[int, Field(ge=1)] | None = None
    """How many of a patch's inputs meet its targets in one step; None takes all, as the paper does."""

    pd_factor: Annotated[int, Field(ge=1, le=4)] | None = None
    """PD at inference: 1 runs the network on the whole image; None takes t, as the paper does."""

    crop: Annotated[int, Field(ge=8, validate_default=True)] = 240

    @field_validator(*(name for names in SIZE_FIELDS.values() for name in names))
    @classmethod
    def _is_a_size_of_the_backbone(cls, value: object, info: ValidationInfo) -> object:
        backbone = info.data.get("backbone")
        if backbone and info.field_name not in SIZE_FIELDS[backbone]:
            raise ValueError(f"backbone '{backbone}' has no such size; it has: {', '.join(SIZE_FIELDS[backbone])}")
        return value

    @field_validator("channel_heads")
    @classmethod
    def _heads_share_the_channels(cls, heads: tuple[int, int, int], info: ValidationInfo) -> tuple[int, int, int]:
        for count, width in zip(heads, (1, 2, 4), strict=True):
            channels = width * info.data.get("channels", 0)
            if channels % count:
                raise ValueError(f"{count} heads cannot share {channels} channels evenly")
        return heads

    @field_validator("crop")
    @classmethod
    def _crop_fits_the_backbone(cls, crop: int, info: ValidationInfo) -> int:
        multiple = INPUT_MULTIPLE[info.data.get("backbone", "dbsn")]
        s = info.data.get("s", 1)
        if crop // s % multiple:
            raise ValueError(
                f"{crop} at s = {s} gives inputs of {crop // s} pixels, and backbone '{info.data['backbone']}' takes "
                f"multiples of {multiple}: a multiple of {s * multiple}, please"
            )
        return crop

    @model_validator(mode="after")
    def _can_be_trained_with(self) -> Self:
        """Check what only several settings together can be wrong in."""
        try:
            _ = self.geometry
        except UsageError as error:
            raise ValueError(str(error)) from None
        if self.crop < self.s:
            raise ValueError(f"crop must be at least s = {self.s} pixels")
        if self.pd_factor not in (None, 1, self.t):
            raise ValueError(f"pd_factor must be 1 or t = {self.t}")
        return self

    @model_serializer(mode="wrap")
    def _without_sizes_of_others(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        others = {name for backbone, names in SIZE_FIELDS.items() if backbone != self.backbone for name in names}
        return {name: value for name, value in serialise(self).items() if name not in others}

    @property
    def pixels_a_step(self) -> int:
        """Pixels of noisy crops that a step sees."""
        return self.batch * self.crop**2

    @property
    def backbone_sizes(self) -> dict[str, Any]:
        """The sizes that `build_backbone` takes."""
        return {**{name: getattr(self, name) for name in SIZE_FIELDS[self.backbone]}, "scale": self.t}

    @property
    def geometry(self) -> PairGeometry:
        """The pair construction these settings describe; raises UsageError when it is impossible."""
        return PairGeometry(self.s, self.t, self.n, self.strategy)
