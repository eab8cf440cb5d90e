"""Noise tables of crops whose clean picture is known: what `measure_noise` would have found in the whole photo."""

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from nsp_pipeline.calibration.simulation.camera_noise import by_grey_and_colour
from nsp_pipeline.core.noise import CELL, PATCH, TABLE_NODES, TABLE_ROWS, UNKNOWN

SHARED = 0.02
"""Weight of the whole crop's noise at each brightness, for those that the crop does not have."""


def noise_tables(noisy: torch.Tensor, clean: torch.Tensor, stronger: torch.Tensor) -> torch.Tensor:
    """Tabulate the noise of each crop by brightness: (B, 3, H, W) each in 0..1 -> (B, TABLE_ROWS, TABLE_NODES).

    `stronger` (B, 1, H, W), or (B, 2, H, W) of grey and colour, is how much stronger the noise is at each place than in
    flat ones, which alone are measured. H and W are multiples of 16. Noise coarser than a patch of 16 pixels counts for
    nothing, as it does where noise is measured in photos.
    """
    squares = flat_squares(by_grey_and_colour(noisy - clean, 1 / stronger.expand(-1, 2, -1, -1)))
    brightness = clean.mean(1, keepdim=True)
    rows = []
    for square in squares:
        cell = clean.shape[3] // square.shape[3]
        rows.append(_by_brightness(square, avg_pool2d(brightness, cell) if cell > 1 else brightness))
    return torch.stack(rows, 1)


def patch_levels(noise: torch.Tensor) -> torch.Tensor:
    """Standard deviations of noise (B, 3, H, W) in each patch of 16 pixels: (B, TABLE_ROWS, H/16, W/16)."""
    size = noise.shape[2] // PATCH, noise.shape[3] // PATCH
    return torch.cat([adaptive_avg_pool2d(square, size).sqrt() for square in flat_squares(noise)], 1)


def flat_squares(noise: torch.Tensor) -> list[torch.Tensor]:
    """Squares of noise (B, 3, H, W), for each row of a noise table: (B, 1, H, W), or as many as there are cells.

    What a patch of 16 pixels loses with its mean is made good.
    """
    noise = noise - interpolate(avg_pool2d(noise, PATCH), scale_factor=float(PATCH), mode="nearest")
    grey = noise.mean(1, keepdim=True)
    squares = []
    for part in (grey, noise - grey):
        for values, cell in ((part, 1), (avg_pool2d(part, CELL), CELL)):
            squares.append((values**2).mean(1, keepdim=True) * (cell**2 / (1 - (cell / PATCH) ** 2)))
    return squares


def with_measurement_error(
    tables: torch.Tensor, rng: np.random.Generator, *, within: float, unknown_share: float
) -> torch.Tensor:
    """Put a measurement's error onto tables (B, TABLE_ROWS, TABLE_NODES), and make a share of them UNKNOWN.

    Args:
        tables: standard deviations, as `noise_tables` returns them.
        rng: source of the errors.
        within: standard deviation of the relative error, half of it common to a row.
        unknown_share: share of the tables that become UNKNOWN.
    """
    shape = tables.shape[0], TABLE_ROWS
    error = rng.normal(0, within, (*shape, 1)) + rng.normal(0, within, (*shape, TABLE_NODES))
    measured = tables * torch.from_numpy(np.exp(error / np.sqrt(2)).astype(np.float32))
    unknown = torch.from_numpy(rng.random((shape[0], 1, 1)) < unknown_share)
    return torch.where(unknown, torch.full_like(measured, UNKNOWN), measured)


def _by_brightness(square: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    """Root mean (B, TABLE_NODES) of squares (B, 1, h, w), by brightness (B, 1, h, w)."""
    square = square.flatten(2)
    places = torch.arange(TABLE_NODES, device=square.device).view(1, -1, 1)
    near = (1 - (brightness.flatten(2).clamp(0, 1) * (TABLE_NODES - 1) - places).abs()).clamp_min(0)
    total = square.mean(2)
    return ((near * square).mean(2) + SHARED * total).div(near.mean(2) + SHARED).sqrt()
