"""Settings of the noise estimator's training."""

from typing import Annotated, Any, Literal

from pydantic import Field

from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.models.noise_net import NoiseNet

Width = Annotated[int, Field(ge=4, le=256)]
Share = Annotated[float, Field(ge=0, le=1)]


class EstimatorSettings(TrainingSettings):
    """Everything that decides how the estimator is trained; stands in its recipe."""

    backbone: Literal["noise-net"] = "noise-net"
    channels: tuple[Width, Width, Width, Width, Width] = (16, 32, 48, 64, 64)
    bf16: bool = False

    sides: tuple[Annotated[int, Field(ge=64, multiple_of=32)], ...] = (128, 192, 256, 256)
    """Sides of the crops of a step, drawn by chance; `batch` is that of the largest, smaller ones are more."""
    store_share: Share = 0.6
    """Crops that are simulated shots as they lie in the store; the others are clean, with noise laid on them."""
    more_noise_share: Share = 0.25
    """Of the shots, those with white noise on top of their own."""
    drawing_share: Share = 0.1
    """Of the clean pictures, those that are drawings."""
    enlarged_share: Share = 0.15
    """Of the clean pictures with noise laid on them, those enlarged after that."""
    none_share: Share = 0.12
    """Of the clean pictures, those that stay without noise."""
    least_sigma: Annotated[float, Field(gt=0)] = 0.3
    most_sigma: Annotated[float, Field(gt=0)] = 65.0
    grey_share: Share = 0.08
    pooled_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the error of a crop's blocks taken together, in parts of that of single blocks."""

    @property
    def backbone_sizes(self) -> dict[str, Any]:
        """The sizes that the network takes."""
        return {"channels": list(self.channels)}

    @property
    def pixels_a_step(self) -> int:
        """Pixels of the crops that a step sees."""
        return self.batch * max(self.sides) ** 2

    def build(self) -> NoiseNet:
        """The untrained network."""
        return NoiseNet(self.channels)
