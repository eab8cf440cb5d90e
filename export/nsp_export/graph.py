"""The whole way of an image through a network as one torch module: PD, network, and mean or PU."""

import torch
from torch import nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone

MODES = ("denoise", "sr", "sr-direct")


class ImageToImage(nn.Module):
    """(1, 3, H, W) in 0..1 -> (1, 3, H, W) for `denoise`, (1, 3, t·H, t·W) for `sr` and `sr-direct`.

    `denoise`: PD by `pd_factor`, network, PU of what remains and mean (paper, Sec. 3.4). With pd_factor = t every
    sub-image's estimate has the full size and the mean is over the t² of them; with pd_factor = 1 the network sees
    the whole image and the mean is over each t×t cell of its output.
    `sr`: PD by t, network, PU. `sr-direct`: the network alone, and so is `sr` of a network that is not blind.

    H and W must be multiples of `multiple`; an output pixel depends on input pixels at most `halo` away. Where
    `tiling` is "blended" it depends on all of them, and larger images are best run in tiles of side `tile` that overlap
    by `halo`. Where `told_noise` is true, it takes a noise table as well (see core/noise.py).
    """

    def __init__(self, network: Backbone, *, mode: str, pd_factor: int) -> None:
        super().__init__()
        if mode not in MODES:
            raise UsageError(f"mode '{mode}' is not one of {', '.join(MODES)}")
        t = network.scale
        factor = {"denoise": pd_factor, "sr": t if network.blind else 1, "sr-direct": 1}[mode]
        if factor not in (1, t):
            raise UsageError(f"PD at inference by {factor} is not possible for a network of scale {t}: use 1 or {t}")
        self.network = network.folded()
        self.mode = mode
        self.t = t
        self.factor = factor
        self.scale = 1 if mode == "denoise" else t
        self.multiple = factor * network.multiple
        self.halo = factor * network.halo
        self.tiling = network.tiling
        self.told_noise = network.told_noise
        self.tile = factor * network.tile if network.tile else None

    def forward(self, image: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        told = () if noise is None else (noise,)
        if self.factor == 1:
            return self.network.cell_means(image, *told) if self.mode == "denoise" else self.network(image, *told)
        estimates = self.network(_pixel_shuffle_down(image, self.factor))
        if self.mode == "denoise":
            return estimates.mean(0, keepdim=True)
        # PU: channel c of phase k is channel c·t² + k of a pixel shuffle.
        return pixel_shuffle(estimates.transpose(0, 1).flatten(0, 1)[None], self.factor)


def _pixel_shuffle_down(image: torch.Tensor, t: int) -> torch.Tensor:
    """PD: (1, C, H, W) -> (t², C, H/t, W/t), phases in row-major order."""
    phases = pixel_unshuffle(image, t)[0]
    return phases.reshape(image.shape[1], t * t, *phases.shape[1:]).transpose(0, 1)
