"""A small network that says how noisy each block of a photo is, and how sure it is of that."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad, pixel_unshuffle, relu

from nsp_pipeline.core.noise import TABLE_ROWS

FOLD = 2
"""Pixels of a FOLD×FOLD cell become channels before anything else."""

BLOCK = 32
"""Side of the blocks that it speaks of, in pixels."""

FAINTEST = 0.1 / 255
"""Noise is told as the logarithm of √(σ² + FAINTEST²): none has one, too."""

ENERGY_LEVEL = 2
"""Halvings of the resolution, from that of cells, after which the energies of the first filters join in."""

ENERGY_MIDDLE, ENERGY_SPREAD = -9.0, 3.0
"""Where the logarithms of energies lie, from no noise at all to the strongest."""

FILTER_GAIN = 20.0
"""Noise is small beside the pixels that it is in."""

USUAL = -4.5
"""Where training starts from: a noise of 2.8 of 255."""

SUREST, LEAST_SURE = -4.0, 1.5
"""Bounds of the logarithm of the uncertainty."""


class NoiseNet(nn.Module):
    """(B, 3, H, W) in 0..1, sides multiples of BLOCK -> (B, 2·TABLE_ROWS, H/BLOCK, W/BLOCK).

    The first TABLE_ROWS channels are log √(σ² + FAINTEST²) of the rows of a noise table, as σ would be if the block
    were flat; the others the logarithm of the mean absolute error to be expected of each.

    Args:
        channels: width at a half, a quarter, ... of the photo's resolution, down to that of blocks.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if FOLD * 2 ** (len(channels) - 1) != BLOCK:
            raise TypeError(f"{len(channels)} widths, but blocks of {BLOCK} pixels want {BLOCK.bit_length() - 1}")
        first, cells = channels[0], 3 * FOLD**2
        self.head = nn.Conv2d(cells, first, 3, bias=False)
        self.down, self.along = nn.ModuleList(), nn.ModuleList()
        for before, width in pairwise(channels):
            beside = first + 3 if len(self.down) + 1 == ENERGY_LEVEL else 0
            self.down.append(nn.Conv2d(before, width, 3, stride=2, padding=1))
            self.along.append(nn.Conv2d(width + beside, width, 3, padding=1))
        self.tail = nn.Conv2d(channels[-1] + 2 * first, 2 * TABLE_ROWS, 1)
        for convolution in (self.head, *self.down, *self.along):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.tail.weight)
        self.tail.bias = nn.Parameter(torch.tensor([USUAL] * TABLE_ROWS + [0.0] * TABLE_ROWS))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Say how noisy each block is, and how far off that may be; see the class."""
        filtered = self._filtered(image)
        # Noise spans three orders of magnitude: its energy is looked at on a logarithmic scale.
        energy = torch.log(avg_pool2d(filtered**2, 2**ENERGY_LEVEL) + FAINTEST**2)
        energy = (energy - ENERGY_MIDDLE) / ENERGY_SPREAD
        features = relu(FILTER_GAIN * filtered)
        for depth, (down, along) in enumerate(zip(self.down, self.along, strict=True), 1):
            features = relu(down(features))
            if depth == ENERGY_LEVEL:
                features = torch.cat([features, energy, avg_pool2d(image, FOLD * 2**ENERGY_LEVEL)], 1)
            features = relu(along(features))
        across = BLOCK // (FOLD * 2**ENERGY_LEVEL)
        # The flattest spot of a block says most of its noise.
        flattest = -max_pool2d(-energy, across)
        level, unsure = self.tail(torch.cat([features, avg_pool2d(energy, across), flattest], 1)).chunk(2, 1)
        return torch.cat([level, unsure.clamp(SUREST, LEAST_SURE)], 1)

    def _filtered(self, image: torch.Tensor) -> torch.Tensor:
        """The first filters' view of cells. They see differences alone: what is even gives 0."""
        weight = self.head.weight
        colours = weight.reshape(weight.shape[0], 3, -1)
        even = (colours - colours.mean(2, keepdim=True)).reshape(weight.shape)
        return conv2d(pad(pixel_unshuffle(image, FOLD), (1, 1, 1, 1), mode="replicate"), even)
