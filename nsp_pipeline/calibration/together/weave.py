"""Textures without an even spot: gravel, cloth, plaster. What fills a picture from edge to edge is not noise."""

import numpy as np
import torch
from torch.nn.functional import interpolate

from nsp_pipeline.calibration.simulation.camera_noise import blurred

GRAIN = 3, 7
"""Sides of a texture's grains, in pixels."""

CONTRAST = 0.02, 0.2
"""Standard deviation of its brightness, 0..1."""


def weave(side: int, rng: np.random.Generator) -> torch.Tensor:
    """A texture (1, 3, side, side) in 0..1: grains, threads or both, with or without colours, crisp or soft."""
    pattern = _grains(side, int(rng.integers(*GRAIN)), rng)
    if rng.random() < 0.5:
        coarser = _grains(side, int(rng.integers(GRAIN[1], 4 * GRAIN[1])), rng)
        pattern = pattern + float(rng.uniform(0.3, 1.5)) * coarser
    if rng.random() < 0.4:
        pattern = pattern + float(rng.uniform(0.5, 2.0)) * _threads(side, rng)
    if rng.random() < 0.5:
        pattern = blurred(pattern, float(rng.uniform(0.3, 1.2)))
    pattern = pattern / pattern.std().clamp_min(1e-6)
    contrast = float(np.exp(rng.uniform(*np.log(CONTRAST))))
    base = torch.from_numpy(rng.uniform(0.1, 0.8, (1, 3, 1, 1)).astype(np.float32))
    return (base + contrast * pattern).clamp(0, 1)


def _grains(side: int, size: int, rng: np.random.Generator) -> torch.Tensor:
    count = -(-side // size) + 1
    grey = rng.normal(0, 1, (1, 1, count, count))
    colour = float(rng.uniform(0, 0.5)) * rng.normal(0, 1, (1, 3, count, count))
    mode = "nearest" if rng.random() < 0.5 else "bicubic"
    grains = torch.from_numpy((grey + colour).astype(np.float32))
    enlarged = interpolate(grains, scale_factor=float(size), mode=mode)
    top, left = (int(place) for place in rng.integers(0, size, 2))
    return enlarged[..., top : top + side, left : left + side]


def _threads(side: int, rng: np.random.Generator) -> torch.Tensor:
    """Waves across and along, as cloth has them, each line a little stronger or weaker."""
    places = np.arange(side)
    across, along = (
        np.sin(2 * np.pi * places / rng.uniform(2.5, 10) + rng.uniform(0, 6)) * (1 + 0.3 * rng.normal(0, 1, side))
        for _ in range(2)
    )
    pattern = across[:, None] * rng.uniform(0, 1) + along[None] * rng.uniform(0, 1) + across[:, None] * along[None]
    return torch.from_numpy(pattern.astype(np.float32))[None, None].expand(1, 3, side, side)
