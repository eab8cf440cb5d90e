"""Settings that every training has; each objective adds its own, and a recipe may say all of them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from nsp_pipeline.models.registry import build_backbone


class TrainingSettings(BaseModel):
    """What every training has: a network, steps, and how their size changes; the objective adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    backbone: str

    steps: Annotated[int, Field(ge=1)] = 1500
    batch: Annotated[int, Field(ge=1)] = 4
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the rate rises. `constant` ignores it."""
    schedule: Literal["one-cycle", "trapezoid", "constant"] = "one-cycle"
    """How the rate falls along a cosine after that: over all steps that are left, or over the last ones alone
    (`trapezoid`): such a training can be ended, or given more time, at any step."""
    cooldown: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the steps at the end over which the rate of a trapezoid falls."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the running average of the weights that becomes the profile; 0 keeps the last weights."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of a step's gradient; None leaves it as it is, as the paper does."""
    bf16: bool = True
    """Compute the network in bfloat16 where the GPU or processor can (weights, means and loss stay float32)."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    memory: Annotated[int, Field(ge=1 << 20)] = 2 << 30
    """Bytes of photos held in memory for training; what is more goes into a file that is mapped."""
    cache: Annotated[int, Field(ge=0)] = 32 << 30
    """Bytes of that file; of archives larger than both together every photo contributes a window."""
    judge_every: Annotated[int, Field(ge=1)] = 250
    """Steps from one judgement on held-out photos, picture and checkpoint to the next."""

    @field_validator("cache")
    @classmethod
    def _no_cache_or_one_of_use(cls, cache: int) -> int:
        if 0 < cache < 1 << 20:
            raise ValueError(f"{cache} bytes hold no photo: 0 for none, or bytes in full (32 GiB: 34359738368)")
        return cache

    @property
    def backbone_sizes(self) -> dict[str, Any]:
        """The sizes that `build_backbone` takes."""
        raise NotImplementedError

    def build(self) -> nn.Module:
        """The untrained network."""
        return build_backbone(self.backbone, self.backbone_sizes)

    @property
    def pixels_a_step(self) -> int:
        """Pixels of noisy crops that a step sees."""
        raise NotImplementedError
