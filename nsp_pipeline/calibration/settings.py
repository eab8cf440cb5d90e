"""Training settings: what a calibration recipe may say, each field with its meaning and bounds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from nsp_pipeline.core.pairs import PairGeometry, Strategy


class TrainingSettings(BaseModel):
    """Everything that decides how a profile is trained; stands in a recipe and, as used, in the profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: Literal["dbsn"] = "dbsn"
    base_channels: Annotated[int, Field(ge=4, le=512, multiple_of=2)] = 32
    modules: Annotated[int, Field(ge=1, le=32)] = 4
    local_mean_skip: bool = True

    s: Annotated[int, Field(ge=2, le=12)] = 5
    t: Annotated[int, Field(ge=2, le=4)] = 2
    n: Annotated[int, Field(ge=1)] = 1
    strategy: Strategy = Strategy.CONSECUTIVE
    inputs_per_step: Annotated[int, Field(ge=1)] | None = None
    """How many of a patch's inputs meet its targets in one step; None takes all, as the paper does."""

    pd_factor: Annotated[int, Field(ge=1, le=4)] | None = None
    """PD at inference: 1 runs the network on the whole image; None takes t, as the paper does."""

    steps: Annotated[int, Field(ge=1)] = 1500
    batch: Annotated[int, Field(ge=1)] = 4
    crop: Annotated[int, Field(ge=8)] = 240
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the rate rises; it falls along a cosine after that. `constant` ignores both."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the running average of the weights that becomes the profile; 0 keeps the last weights."""
    bf16: bool = True
    """Compute the network in bfloat16 (weights, means and loss stay float32)."""
    seed: int = 0
    memory: Annotated[int, Field(ge=1 << 20)] = 2 << 30
    """Bytes of photos held for training; larger archives contribute a window of each photo."""

    @property
    def geometry(self) -> PairGeometry:
        """The pair construction these settings describe; raises UsageError when it is impossible."""
        return PairGeometry(self.s, self.t, self.n, self.strategy)
