"""Local means that a blind-spot network may see: no pixel is ever in a mean that reaches its own output.

Subtracting each pixel's neighbourhood mean frees the network from learning brightness and colour, the part that
drifts in training. The neighbourhood has to be chosen with care: with x - mean(x) as input, the neighbours q of an
output pixel p carry x_p in *their* means. `dilated_ring` closes that leak for a branch of dilation d, which sees only
offsets outside the lattice d·Z²: its means lie on that lattice, so they add no offset that the branch could reach.
"""

import torch
from torch import nn
from torch.nn import functional


class LocalMean(nn.Module):
    """Mean of the 3×3 or larger neighbourhood at a spacing, without the centre; (B, C, H, W) in and out.

    At borders the mean is over the neighbours that exist (zero padding divided by the count): reflection would bring
    the centre pixel back in. A pixel without any neighbour gets 0.
    """

    def __init__(self, radius: int, spacing: int) -> None:
        super().__init__()
        size = 2 * radius + 1
        kernel = torch.ones(1, 1, size, size)
        kernel[..., radius, radius] = 0.0
        self.register_buffer("kernel", kernel, persistent=False)
        self.kernel: torch.Tensor
        self.spacing = spacing
        self.reach = radius * spacing

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mean of each pixel's neighbours; (B, C, H, W) in and out, never in less than float32."""
        if torch.is_autocast_enabled(image.device.type):
            # bf16 rounds a mean to 1/256: the very colour drift that the mean is there to prevent.
            with torch.autocast(image.device.type, enabled=False):
                return self.forward(image.float())
        channels = image.shape[1]
        total = functional.conv2d(
            image, self.kernel.expand(channels, -1, -1, -1), padding=self.reach, dilation=self.spacing, groups=channels
        )
        ones = torch.ones_like(image[:1, :1])
        count = functional.conv2d(ones, self.kernel, padding=self.reach, dilation=self.spacing)
        return total / count.clamp(min=1.0)


def ring(radius: int) -> LocalMean:
    """Mean of the (2·radius + 1)² neighbours but the centre: safe only where no later layer mixes pixels."""
    return LocalMean(radius, 1)


def dilated_ring(dilation: int) -> LocalMean:
    """Mean of the eight neighbours at distance `dilation`: safe as input of a branch of that dilation."""
    return LocalMean(1, dilation)
