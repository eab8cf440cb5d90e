"""A small U-Net that sees every pixel: the student, which runs where a blind-spot network is too slow.

It has no blind spot, so it needs no PD and costs a hundredth; it cannot learn from noisy photos alone, so its targets
come from elsewhere (see calibration/student/distill.py). All of it works at half the photo's resolution or below.

Fine texture and noise look alike in a crop. What sets them apart is how noisy the photo is where it is flat, so the
network can be conditioned on a table of the noise at each brightness (see core/noise.py).
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Self

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN
from nsp_pipeline.models.backbone import Backbone

FOLD = 2
"""Pixels of a FOLD×FOLD cell of the photo become channels before anything else."""

NOISE_GAIN = 20.0
"""Standard deviations are small beside the pixels that enter with them."""


class Pair(nn.Module):
    """Two 3×3 convolutions with a residual around them; (B, C, H, W) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add what the convolutions find to the features; (B, C, H, W) in and out."""
        return features + self.body(features)  # type: ignore[no-any-return]


class UNet(Backbone):
    """(B, 3, H, W) in 0..1 -> (B, 3, scale·H, scale·W); H and W multiples of `multiple`.

    The output is the enlarged input plus a residual, so that an untrained network returns the photo. With
    `noise_conditioned`, a noise table (1 or B, TABLE_ROWS, TABLE_NODES) says how noisy the photo is; without one the
    network has to judge by what it sees.

    Args:
        channels: width of each level, from half the photo's resolution downwards.
        pairs: residual pairs of convolutions on the way down in each level; the way up has one per level.
        scale: how many times larger the output is.
        noise_conditioned: whether it takes a noise table.
    """

    blind = False
    widens = True

    def __init__(
        self, channels: Sequence[int], pairs: Sequence[int], scale: int, noise_conditioned: bool = False
    ) -> None:
        super().__init__()
        if len(channels) != len(pairs):
            raise TypeError(f"{len(channels)} widths but {len(pairs)} numbers of pairs")
        self.scale = scale
        self.noise_conditioned = noise_conditioned
        self.multiple = FOLD * 2 ** (len(channels) - 1)
        self.halo = self._reach(pairs, noise_conditioned)
        self.head = nn.Conv2d(3 * FOLD**2, channels[0], 3, padding=1)
        if noise_conditioned:
            # Its own convolution, so that the image has one to itself (see engines/openvino/bfloat16_head.py).
            self.noise_head = nn.Conv2d(TABLE_ROWS, channels[0], 3, padding=1, bias=False)
        self.levels = nn.ModuleList(
            nn.Sequential(*(Pair(width) for _ in range(count))) for width, count in zip(channels, pairs, strict=True)
        )
        steps = list(pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(wide, narrow, 2, stride=2) for wide, narrow in steps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(narrow, wide, 2, stride=2) for wide, narrow in steps)
        self.after = nn.ModuleList(Pair(wide) for wide in channels[:-1])
        self.tail = nn.Conv2d(channels[0], 3 * (FOLD * scale) ** 2, 3, padding=1)
        for part in self.tail.parameters():
            nn.init.zeros_(part)

    def forward(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """Denoise: (B, 3, H, W) in 0..1 and a noise table (see the class) -> (B, 3, scale·H, scale·W)."""
        residual = pixel_shuffle(self.tail(self._features(image, *noise)), FOLD * self.scale)
        return interpolate(image, scale_factor=float(self.scale), mode="nearest") + residual

    def cell_means(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """Mean of each scale×scale cell of the output, computed where it is small: the tail's weights are averaged."""
        weight, bias = (self._averaged(part) for part in self.tail.parameters())
        features = torch.nn.functional.conv2d(self._features(image, *noise), weight, bias, padding=1)
        return image + pixel_shuffle(features, FOLD)

    @classmethod
    def of_weights(cls, weights: Mapping[str, torch.Tensor], scale: int) -> Self:
        """The network that a state dict is of, in float32; `scale` as it was made with.

        Raises:
            RuntimeError: it is of no network of this kind.
        """
        channels, pairs = sizes_of(weights)
        if not channels:
            raise RuntimeError("these are no weights of a U-Net")
        network = cls(channels, pairs, scale, "noise_head.weight" in weights)
        network.load_state_dict({key: part.float() for key, part in weights.items()})
        return network

    def folded(self) -> Self:
        """Return a copy for inference; there is nothing to fold in."""
        return deepcopy(self)

    def _features(self, image: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        cells = pixel_unshuffle(image, FOLD)
        features = self.head(cells)
        if self.noise_conditioned:
            table = torch.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, device=image.device) if noise is None else noise
            features = features + self.noise_head(NOISE_GAIN * noise_map(cells, table))
        kept = []
        for level, down in zip(self.levels[:-1], self.down, strict=True):
            features = level(features)
            kept.append(features)
            features = down(features)
        features = self.levels[-1](features)
        for up, after, beside in zip(reversed(self.up), reversed(self.after), reversed(kept), strict=True):
            features = after(up(features) + beside)
        return features  # type: ignore[no-any-return]

    def _averaged(self, part: torch.Tensor) -> torch.Tensor:
        """Mean over the sub-pixels of each pixel: (3·(FOLD·scale)², ...) -> (3·FOLD², ...)."""
        cells = part.reshape(3, FOLD, self.scale, FOLD, self.scale, *part.shape[1:])
        return cells.mean((2, 4)).flatten(0, 2)

    @staticmethod
    def _reach(pairs: Sequence[int], noise_conditioned: bool) -> int:
        """Input pixels beside its own cell that an output cell depends on, rounded up to whole coarsest cells."""
        last = len(pairs) - 1
        reach: int = FOLD * 2  # head and tail
        if noise_conditioned:
            reach += FOLD * 2  # the brightness at which the table is looked up is a mean of means
        for level, count in enumerate(pairs):
            convolutions = 2 * count + (2 if level < last else 0)
            # A step down and up again lets a cell see the whole coarser cell that it lies in.
            reach += FOLD * 2**level * (convolutions + (1 if level else 0))
        cell = FOLD * 2**last
        return int(-(-reach // cell) * cell)


def sizes_of(weights: Mapping[str, torch.Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and pairs of each level of the U-Net that a state dict is of."""
    channels: list[int] = []
    pairs: list[int] = []
    while (first := f"levels.{len(pairs)}.0.body.0.bias") in weights:
        block = re.compile(rf"levels\.{len(pairs)}\.\d+\.body\.0\.bias")
        channels.append(len(weights[first]))
        pairs.append(sum(block.fullmatch(name) is not None for name in weights))
    return tuple(channels), tuple(pairs)


def noise_map(cells: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Look a noise table up at the brightness of each cell: (B, C, h, w) in 0..1 -> (B, TABLE_ROWS, h, w).

    Args:
        cells: the image, its FOLD×FOLD cells folded into channels.
        table: (1 or B, TABLE_ROWS, TABLE_NODES) standard deviations at brightness 0 to 1 in equal steps.
    """
    brightness = cells.mean(1, keepdim=True)
    for _ in range(2):
        brightness = avg_pool2d(brightness, 3, stride=1, padding=1, count_include_pad=False)
    places = torch.arange(TABLE_NODES, device=cells.device, dtype=cells.dtype).view(1, -1, 1, 1)
    nearness = (1 - (brightness.clamp(0, 1) * (TABLE_NODES - 1) - places).abs()).clamp_min(0)
    looked_up = torch.matmul(table.to(cells.dtype), nearness.flatten(2))
    return looked_up.reshape(-1, TABLE_ROWS, *cells.shape[2:])
