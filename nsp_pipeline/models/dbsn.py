"""DBSN, the dilated blind-spot network, with a pixel-shuffle tail that makes its output t times larger.

Two branches of dilation d = 2 and 3 start with a centre-masked convolution of kernel 2d - 1; all later 3×3
convolutions are dilated by d and so never reach the centre again (Wu et al. 2020; NSP paper, Sec. 3.3).
Parameter names follow the NSP authors' checkpoints, so that those load unchanged.
"""

from copy import deepcopy
from typing import Self

import torch
from torch import nn

from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.local_mean import dilated_ring, ring
from nsp_pipeline.models.masked_convolution import CentreMaskedConv2d

SKIP_RADIUS = 2


class DilatedModule(nn.Module):
    """3×3 dilated convolution, GELU, 1×1 convolution, and the input added."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.GELU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions find to the features; (B, C, H, W) in and out."""
        return features + self.body(features)  # type: ignore[no-any-return]


class Branch(nn.Module):
    """One dilated branch; it sees every offset but those on the lattice dilation·Z²."""

    def __init__(self, channels: int, dilation: int, modules: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            CentreMaskedConv2d(channels, channels, 2 * dilation - 1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 1),
            nn.GELU(),
            *[DilatedModule(channels, dilation) for _ in range(modules)],
            nn.Conv2d(channels, channels, 1),
            nn.GELU(),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Run the branch; (B, C, H, W) in and out."""
        return self.body(features)  # type: ignore[no-any-return]


class Dbsn(Backbone):
    """(B, 3, H, W) in 0..1 -> (B, 3, t·H, t·W): a clean estimate whose cell at a pixel never depends on that pixel.

    Args:
        base_channels: width of a branch (the authors' 128; the head gives as many).
        modules: dilated modules a branch (the authors' 9).
        scale: t, the target's scale.
        local_mean_skip: feed the branches what differs from the local mean and add the local mean to the output;
            off gives the authors' network.
    """

    def __init__(
        self, *, base_channels: int = 128, modules: int = 9, scale: int = 2, local_mean_skip: bool = True
    ) -> None:
        super().__init__()
        wide, narrow = 2 * base_channels, base_channels // 2
        self.scale = scale
        self.local_mean_skip = local_mean_skip
        self.halo = 2 + 3 * modules + (3 if local_mean_skip else 0)
        self.head = nn.Sequential(nn.Conv2d(3, base_channels, 1), nn.GELU())
        self.branch1 = Branch(base_channels, 2, modules)
        self.branch2 = Branch(base_channels, 3, modules)
        self.tail = nn.Sequential(
            nn.Conv2d(wide + (6 if local_mean_skip else 0), wide, 1),
            nn.GELU(),
            nn.Conv2d(wide, narrow * scale * scale, 1),
            nn.GELU(),
            nn.PixelShuffle(scale),
            nn.Conv2d(narrow, narrow, 1),
            nn.GELU(),
            nn.Conv2d(narrow, narrow, 1),
            nn.GELU(),
            nn.Conv2d(narrow, 3, 1),
        )
        if local_mean_skip:
            self.mean = ring(SKIP_RADIUS)
            self.branch1_mean = dilated_ring(2)
            self.branch2_mean = dilated_ring(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Estimate the clean image: (B, 3, H, W) in 0..1 -> (B, 3, t·H, t·W)."""
        if not self.local_mean_skip:
            features = self.head(image)
            return self.tail(torch.cat([self.branch1(features), self.branch2(features)], 1))  # type: ignore[no-any-return]
        mean, mean1, mean2 = self.mean(image), self.branch1_mean(image), self.branch2_mean(image)
        # The tail is pointwise, so it may know how the means differ; the branches may not (see local_mean).
        seen = [
            self.branch1(self.head(image - mean1)),
            self.branch2(self.head(image - mean2)),
            mean - mean1,
            mean - mean2,
        ]
        return self.tail(torch.cat(seen, 1)) + mean.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)  # type: ignore[no-any-return]

    def folded(self) -> Self:
        """Return a copy for inference, its masks multiplied into the weights; same outputs."""
        copy = deepcopy(self)
        for branch in (copy.branch1, copy.branch2):
            branch.body[0] = branch.body[0].folded()  # type: ignore[operator]
        return copy
