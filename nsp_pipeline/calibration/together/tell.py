"""What an estimator tells of many crops at once: the noise table of each, as `noise.pooling` makes it of one photo."""

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.models.noise_net import BLOCK, FAINTEST
from nsp_pipeline.noise.pooling import DRIFT, SHARED_ERROR

LEAST = 1e-5


def told_between(truth: torch.Tensor, found: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Noise tables (B, 4, 8) by a share (B, 1, 1) of the way, in the logarithm, from the truth to those found."""
    first = truth.clamp_min(LEAST)
    told = first * (found.clamp_min(LEAST) / first) ** share
    return torch.where(told > 2 * LEAST, told, 0.0)


def tell_tables(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """The noise tables (B, 4, 8) that a network tells of pictures (B, 3, H, W) in 0..1, sides multiples of 32."""
    level, unsure = network(image).float().flatten(2).chunk(2, 1)
    brightness = avg_pool2d(image.mean(1, keepdim=True), BLOCK).flatten(2).clamp(0, 1)
    nodes = torch.arange(TABLE_NODES, device=image.device, dtype=torch.float32)
    near = (1 - (brightness.transpose(1, 2) * (TABLE_NODES - 1) - nodes).abs()).clamp_min(0)
    weight = torch.exp(-2 * unsure)
    precision = weight @ near
    mean = (weight * level) @ near / precision.clamp_min(1e-12)
    error = SHARED_ERROR**2 + 1 / precision.clamp_min(1e-9)
    apart = DRIFT * (nodes[:, None] - nodes[None]).abs() / (TABLE_NODES - 1)
    share = (precision > 0).unsqueeze(2) / (error.unsqueeze(2) + apart**2)
    pooled = (share * mean.unsqueeze(2)).sum(3) / share.sum(3)
    return (torch.exp(2 * pooled) - FAINTEST**2).clamp_min(0).sqrt().reshape(-1, TABLE_ROWS, TABLE_NODES)
