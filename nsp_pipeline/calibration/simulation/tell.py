"""What an estimator tells of many crops at once: the noise table of each, as `noise.pooling` makes it of one photo."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.simulation.noise_tables import with_measurement_error
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.models.noise_net import BLOCK, FAINTEST
from nsp_pipeline.noise.pooling import DRIFT, SHARED_ERROR
from nsp_pipeline.noise.runtime import load_estimator

LEAST = 1e-5

MOST_ESTIMATED = 0.8
"""What is told lies on the way from the truth to the estimate of the crop alone, up to this share of it: photos are
larger than crops, and their estimates better."""


def told_of_crops(
    noisy: torch.Tensor, tables: torch.Tensor, rng: np.random.Generator, *, within: float, unknown_share: float
) -> torch.Tensor:
    """What a student is told of crops (B, 3, H, W) in 0..1 whose true noise tables (B, 4, 8) are known.

    The errors are those of the estimator that ships, as far as a photo has them, and one of `within` on top; where no
    runtime is there that could ask it, the latter alone. Tables of `unknown_share` become UNKNOWN. On the CPU.
    """
    estimator = load_estimator()
    if estimator is not None and min(noisy.shape[2:]) >= BLOCK:
        network = estimator.network
        height, width = (side // BLOCK * BLOCK for side in noisy.shape[2:])
        seen = noisy[..., :height, :width].contiguous()
        found = tell_tables(lambda image: torch.from_numpy(network(image.numpy())), seen)
        share = torch.from_numpy(rng.uniform(0, MOST_ESTIMATED, (len(noisy), 1, 1)).astype(np.float32))
        tables = told_between(tables, found, share)
    return with_measurement_error(tables, rng, within=within, unknown_share=unknown_share)


def told_between(truth: torch.Tensor, found: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Noise tables (B, 4, 8) by a share (B, 1, 1) of the way, in the logarithm, from the truth to those found."""
    first = truth.clamp_min(LEAST)
    told = first * (found.clamp_min(LEAST) / first) ** share
    return torch.where(told > 2 * LEAST, told, 0.0)


def tell_tables(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
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
