"""The layer that blind-spot networks begin with: a convolution that does not see the pixel under its centre."""

import torch
from torch import nn
from torch.nn import functional


class CentreMaskedConv2d(nn.Conv2d):
    """(B, in_channels, H, W) -> (B, out_channels, H, W), edges padded with zeros; the centre's weights count as zero.

    `kernel_size` is odd.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        mask = torch.ones_like(self.weight)
        mask[:, :, kernel_size // 2, kernel_size // 2] = 0.0
        self.register_buffer("mask", mask)
        self.mask: torch.Tensor

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Convolve without the centre; (B, C, H, W) in and out."""
        # A product instead of an edit of the weights: torch.export can follow it, and gradients stay right.
        return functional.conv2d(image, self.weight * self.mask, self.bias, padding=self.padding)

    def folded(self) -> nn.Conv2d:
        """Return the same convolution without a mask: the weights under it are zero."""
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            padding=self.padding,  # type: ignore[arg-type]
            bias=self.bias is not None,
        )
        with torch.no_grad():
            plain.weight.copy_(self.weight * self.mask)
            if self.bias is not None and plain.bias is not None:
                plain.bias.copy_(self.bias)
        return plain
