"""How a blind network denoises: the whole image, its PD phases, or a blend of both; as one torch module.

PD by t splits the image into t² sub-images; each one's estimate is t times larger and covers the whole image. Where the
cells of an estimate lie is a choice: a sub-image's pixel stands anywhere in its t×t cell. Moving the PD grid over all
its t² places and averaging ("cycle spinning") takes the chequered pattern away. The sub-images stay the same ones when
the grid moves, so the network runs no more often: their estimates are only laid down t² times.
"""

from itertools import product

import torch
from torch import nn
from torch.nn.functional import pad, pixel_unshuffle

from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.self_ensemble import COPIES, self_ensemble_mean


class Denoiser(nn.Module):
    """(B, 3, H, W) in 0..1 -> (B, 3, H, W), each image by itself; H and W multiples of `multiple`.

    Without PD (factor 1) the network sees the whole image and the mean is over each t×t cell of its output. With PD the
    mean is over the t² sub-images' estimates (paper, Sec. 3.4), and over the grids where they are shifted. In all ways
    a pixel of a blind network's output never depends on that pixel of the input.

    An output pixel depends on input pixels at most `halo` away. A noise-conditioned network takes the noise table too.

    Args:
        pd_factor: 1, or the network's t. The other two ask for PD, and mean nothing without.
        shifted_grids: average over all t² placements of the PD grid.
        whole_share: 0 to 1, part of the estimate without PD.
        self_ensemble: rotated and mirrored copies that the mean is over, one of COPIES; only without PD.

    Raises UsageError for another factor, or for a self-ensemble with PD.
    """

    def __init__(
        self,
        network: Backbone,
        *,
        pd_factor: int,
        shifted_grids: bool = False,
        whole_share: float = 0.0,
        self_ensemble: int = 1,
    ) -> None:
        super().__init__()
        if pd_factor not in (1, network.scale):
            raise UsageError(
                f"PD at inference by {pd_factor} is not possible for a network of scale {network.scale}: "
                f"use 1 or {network.scale}"
            )
        if self_ensemble not in COPIES or (self_ensemble > 1 and pd_factor > 1):
            raise UsageError(
                f"a self-ensemble of {self_ensemble} with PD by {pd_factor}: without PD it may be {COPIES}, with it 1"
            )
        self.network = network
        self.self_ensemble = self_ensemble
        self.factor = pd_factor
        self.whole_share = whole_share
        self.shifted = shifted_grids and pd_factor > 1
        self.multiple = self.factor * network.multiple
        self.halo = self.factor * (network.halo + self.shifted)

    def forward(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """Denoise one image: (1, 3, H, W) in 0..1 in and out, and its noise table where one is taken."""
        if self.factor == 1:
            return self_ensemble_mean(lambda copies: self.network.cell_means(copies, *noise), image, self.self_ensemble)
        estimate = self.joined(self.network(pixel_shuffle_down(image, self.factor)))
        if not self.whole_share:
            return estimate
        return torch.lerp(estimate, self.network.cell_means(image), self.whole_share)

    def joined(self, estimates: torch.Tensor) -> torch.Tensor:
        """Mean of the sub-images' estimates, (B·t², 3, H, W) -> (B, 3, H, W)."""
        t, (height, width) = self.factor, estimates.shape[2:]
        if not self.shifted:
            return estimates.reshape(-1, t * t, *estimates.shape[1:]).mean(1)
        # At the image's border a moved estimate has nothing to lay down; its outermost pixels stand in.
        wide = pad(estimates.float(), (t - 1, t - 1, t - 1, t - 1), mode="replicate")
        wide = wide.reshape(-1, t * t, *wide.shape[1:])
        # Sums of moved copies: a convolution would be computed, and the picture rounded, in float16 or bfloat16.
        total = torch.zeros_like(wide[:, 0, :, :height, :width])
        for phase, grid in product(range(t * t), repeat=2):
            # A pixel of this phase stands at that place of its cell in one of the grids: there its estimate moves.
            top, left = t - 1 + grid // t - phase // t, t - 1 + grid % t - phase % t
            total = total + wide[:, phase, :, top : top + height, left : left + width]
        return total / t**4


def pixel_shuffle_down(image: torch.Tensor, t: int) -> torch.Tensor:
    """PD: (B, C, H, W) -> (B·t², C, H/t, W/t), each image's phases one after the other, in row-major order."""
    phases = pixel_unshuffle(image, t)
    return phases.reshape(-1, image.shape[1], t * t, *phases.shape[2:]).transpose(1, 2).flatten(0, 1)
