"""The whole way of an image through a network as one torch module: PD, network, and mean or PU."""

import torch
from torch import nn
from torch.nn.functional import pixel_shuffle

from nsp_pipeline.core.modes import MODES
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.inference import Denoiser, pixel_shuffle_down
from nsp_pipeline.models.self_ensemble import self_ensemble_mean


class ImageToImage(nn.Module):
    """(B, 3, H, W) in 0..1 -> (B, 3, H, W) for `denoise`, (B, 3, t·H, t·W) for `sr` and `sr-direct`.

    Each image goes by itself; with PD, `sr` takes one at a time (B = 1).

    `denoise`: see `Denoiser`, whose arguments `pd_factor`, `shifted_grids`, `whole_share` and `self_ensemble` are.
    `sr`: PD by t, network, PU. `sr-direct`: the network alone, and so is `sr` of a network that is not blind; both are
    means over `self_ensemble` as well.

    H and W must be multiples of `multiple`; an output pixel depends on input pixels at most `halo` away. Where
    `tiling` is "blended" it depends on all of them, and larger images are best run in tiles of side `tile` that overlap
    by `halo`. Where `noise_conditioned` is true, it takes a noise table as well (see core/noise.py).
    """

    def __init__(
        self,
        network: Backbone,
        *,
        mode: str,
        pd_factor: int,
        shifted_grids: bool = False,
        whole_share: float = 0.0,
        self_ensemble: int = 1,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise UsageError(f"mode '{mode}' is not one of {', '.join(MODES)}")
        t = network.scale
        self.network = network.folded()
        self.mode = mode
        self.t = t
        self.self_ensemble = self_ensemble
        if mode == "denoise":
            self.denoiser = Denoiser(
                self.network,
                pd_factor=pd_factor,
                shifted_grids=shifted_grids,
                whole_share=whole_share,
                self_ensemble=self_ensemble,
            )
            self.factor, self.scale = pd_factor, 1
            self.halo = self.denoiser.halo
        else:
            self.factor, self.scale = t if mode == "sr" and network.blind else 1, t
            self.halo = self.factor * network.halo
        self.multiple = self.factor * network.multiple
        self.tiling = network.tiling
        self.noise_conditioned = network.noise_conditioned
        self.tile = self.factor * network.tile if network.tile else None

    def forward(self, image: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Run the whole way: (1, 3, H, W) in 0..1, and its noise table (1, TABLE_ROWS, TABLE_NODES) if it takes one."""
        table = () if noise is None else (noise,)
        if self.mode == "denoise":
            return self.denoiser(image, *table)  # type: ignore[no-any-return]
        if self.factor == 1:
            return self_ensemble_mean(lambda copies: self.network(copies, *table), image, self.self_ensemble)
        estimates = self.network(pixel_shuffle_down(image, self.factor))
        # PU: channel c of phase k is channel c·t² + k of a pixel shuffle.
        return pixel_shuffle(estimates.transpose(0, 1).flatten(0, 1)[None], self.factor)
