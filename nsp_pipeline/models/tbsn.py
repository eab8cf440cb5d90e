"""TBSN, the transformer blind-spot network, with a pixel-shuffle tail that makes its output t times larger.

A centre-masked 3×3 convolution and then a U-shape of three levels in which features mix across even offsets only
(Li et al. 2025; NSP paper, Sec. 4.1). Parameter names follow the NSP authors' checkpoints, so that those load
unchanged.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Self

import torch
from torch import nn
from torch.nn import functional

from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.masked_convolution import CentreMaskedConv2d
from nsp_pipeline.models.tbsn_attention import ChannelAttention, WindowAttention

MULTIPLE = 32
"""Three levels, of which the last has windows of 8."""
OVERLAP = 32
"""Input pixels across which neighbouring tiles are blended."""
VALUE_RANGE = 255.0
"""The layers in between see values in 0..255, as the published weights expect: LayerNorm's epsilon has a scale."""


class PatchEmbedding(nn.Module):
    """The first layer, under its published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj: nn.Module = CentreMaskedConv2d(3, channels, 3, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Turn pixels into features: (B, 3, H, W) -> (B, C, H, W)."""
        return self.proj(image)  # type: ignore[no-any-return]


class Spread(nn.Module):
    """x / sqrt(variance over channels + 1e-5) · w; the mean stays, and there is no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise each pixel's channels, in float32 or better; (B, C, H, W) in and out."""
        exact = features.to(torch.promote_types(features.dtype, torch.float32))
        variance = (exact - exact.mean(1, keepdim=True)).square().mean(1, keepdim=True)
        return exact / torch.sqrt(variance + 1e-5) * self.weight[:, None, None]


class ChannelNorm(nn.Module):
    """LayerNorm over channels, under its published name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = Spread(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Normalise each pixel's channels; (B, C, H, W) in and out."""
        return self.body(features)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two 3×3 convolutions of dilation 2 with GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Run both convolutions; (B, C, H, W) in and out."""
        return self.project_out(functional.gelu(self.project_in(features)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Channel attention, feed-forward, window attention, feed-forward; each normalised first and added."""

    def __init__(self, channels: int, channel_heads: int, spatial_heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.channel_attn = ChannelAttention(channels, channel_heads)
        self.norm2 = ChannelNorm(channels)
        self.channel_ffn = FeedForward(channels)
        self.norm3 = ChannelNorm(channels)
        self.spatial_attn = WindowAttention(channels, spatial_heads, head_dim)
        self.norm4 = ChannelNorm(channels)
        self.spatial_ffn = FeedForward(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Run the four steps; (B, C, H, W) in and out."""
        features = features + self.channel_attn(self.norm1(features))
        features = features + self.channel_ffn(self.norm2(features))
        features = features + self.spatial_attn(self.norm3(features))
        return features + self.spatial_ffn(self.norm4(features))  # type: ignore[no-any-return]


def phase_unshuffle(features: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, 4C, H/2, W/2): pixel unshuffle within each 2×2 phase, which keeps its phase."""
    # Row 4·I + 2·u + a becomes row 2·I + a of channel part u; columns likewise.
    cells = functional.pixel_unshuffle(features, 4)
    split = cells.reshape(-1, features.shape[1], 2, 2, 2, 2, *cells.shape[2:]).permute(0, 1, 2, 4, 3, 5, 6, 7)
    return functional.pixel_shuffle(split.reshape(cells.shape), 2)


def phase_shuffle(features: torch.Tensor) -> torch.Tensor:
    """(B, 4C, H, W) -> (B, C, 2H, 2W): the inverse of `phase_unshuffle`."""
    cells = functional.pixel_unshuffle(features, 2)
    split = cells.reshape(-1, features.shape[1] // 4, 2, 2, 2, 2, *cells.shape[2:]).permute(0, 1, 2, 4, 3, 5, 6, 7)
    return functional.pixel_shuffle(split.reshape(cells.shape), 4)


class Resample(nn.Module):
    """A 1×1 convolution and a change of size; channels double on the way down and halve on the way up."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels // 2 if down else 2 * channels, 1, bias=False))
        self.resize: Callable[[torch.Tensor], torch.Tensor] = phase_unshuffle if down else phase_shuffle

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Halve or double the size: (B, C, H, W) -> (B, 2C, H/2, W/2) or (B, C/2, 2H, 2W)."""
        return self.resize(self.body(features))


class Tbsn(Backbone):
    """(B, 3, H, W) in 0..1 -> (B, 3, t·H, t·W); H and W multiples of 32.

    All that moves values from place to place keeps an output cell blind to its own input pixel. Channel attention,
    though, weighs channels by sums over *all* positions, the pixel's own among them, so the estimate of a pixel
    depends on that pixel through those weights: one value among H·W, small but not zero. Heads keep the channels of
    one attention few, which is what keeps the dependence small.

    Args:
        channels: width at full size (the authors' 48), doubled at each level below.
        blocks: blocks at the three levels (4, 4, 4); the way up has as many as the way down.
        refinement_blocks: blocks after the last level (4).
        channel_heads: heads of channel attention at the three levels (1, 2, 4).
        spatial_heads: heads of window attention at the three levels (2, 2, 3).
        head_dim: width of a head of window attention (16).
        scale: t, the target's scale.
        tile: input side near which it is best run: about what it was trained on.
    """

    multiple = MULTIPLE
    halo = OVERLAP
    tiling = "blended"

    def __init__(
        self,
        *,
        channels: int = 48,
        blocks: Sequence[int] = (4, 4, 4),
        refinement_blocks: int = 4,
        channel_heads: Sequence[int] = (1, 2, 4),
        spatial_heads: Sequence[int] = (2, 2, 3),
        head_dim: int = 16,
        scale: int = 2,
        tile: int = 128,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.tile = tile

        def level(number: int, width: int, count: int) -> nn.Sequential:
            heads = channel_heads[number], spatial_heads[number]
            return nn.Sequential(*[Block(width, *heads, head_dim) for _ in range(count)])

        self.patch_embed = PatchEmbedding(channels)
        self.encoder_level1 = level(0, channels, blocks[0])
        self.down1_2 = Resample(channels, down=True)
        self.encoder_level2 = level(1, 2 * channels, blocks[1])
        self.down2_3 = Resample(2 * channels, down=True)
        self.latent = level(2, 4 * channels, blocks[2])
        self.up3_2 = Resample(4 * channels, down=False)
        self.reduce_chan_level2 = nn.Conv2d(4 * channels, 2 * channels, 1, bias=False)
        self.decoder_level2 = level(1, 2 * channels, blocks[1])
        self.up2_1 = Resample(2 * channels, down=False)
        self.decoder_level1 = level(0, 2 * channels, blocks[0])
        self.refinement = level(0, 2 * channels, refinement_blocks)
        wide, narrow = 2 * channels, channels // 2
        self.output = nn.Sequential(
            nn.Conv2d(wide, wide, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(wide, narrow * scale * scale, 1, bias=False),
            nn.GELU(),
            nn.PixelShuffle(scale),
            nn.Conv2d(narrow, narrow, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(narrow, narrow, 1, bias=False),
            nn.GELU(),
            nn.Conv2d(narrow, 3, 1, bias=False),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Estimate the clean image: (B, 3, H, W) in 0..1 -> (B, 3, t·H, t·W)."""
        level1 = self.encoder_level1(self.patch_embed(image * VALUE_RANGE))
        level2 = self.encoder_level2(self.down1_2(level1))
        lowest = self.latent(self.down2_3(level2))
        level2 = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(lowest), level2], 1)))
        level1 = self.decoder_level1(torch.cat([self.up2_1(level2), level1], 1))
        return self.output(self.refinement(level1)) / VALUE_RANGE  # type: ignore[no-any-return]

    def folded(self) -> Self:
        """Return a copy for inference, its mask multiplied into the weights; same outputs."""
        copy = deepcopy(self)
        copy.patch_embed.proj = self.patch_embed.proj.folded()  # type: ignore[operator]
        for module in copy.modules():
            if isinstance(module, WindowAttention):
                del module.fixed_pos_emb
        return copy
