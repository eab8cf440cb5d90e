"""A simulated shot: the noisy picture, the clean one, and its noise as it would be where the picture is flat."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, interpolate

from nsp_pipeline.calibration.simulation.camera_noise import SUBSAMPLINGS, through_jpeg

SMOOTHEST = 16
"""Means over so many pixels a side have no texture left that a JPEG's blocks could show."""


@dataclass(frozen=True)
class Shot:
    """A noisy picture, the clean one, and the noise of flat places, (1, 3, H, W) each, in 0..1.

    `clean` is `noisy` without its noise; `flat` is the noise of each place as it would be if the picture were flat
    there, which is what tables and maps of noise tell.
    """

    noisy: torch.Tensor
    clean: torch.Tensor
    flat: torch.Tensor


def stored(shot: Shot, rng: np.random.Generator, *, jpeg_share: float, quality: tuple[int, int]) -> Shot:
    """Round a shot's noisy picture to 8 bits, by a JPEG of random quality in a share of all.

    What a JPEG takes of the noise depends on what lies beneath, so noise in flat places goes through one of its own.
    """
    if rng.random() >= jpeg_share:
        return replace(shot, noisy=(shot.noisy.clamp(0, 1) * 255).round() / 255)
    level, subsampling = int(rng.integers(*quality)), SUBSAMPLINGS[rng.integers(3)]
    noisy = through_jpeg(shot.noisy.clamp(0, 1), level, subsampling)
    if not shot.flat.any():
        return replace(shot, noisy=noisy)
    smooth = avg_pool2d(shot.clean, SMOOTHEST)
    smooth = interpolate(smooth, size=shot.clean.shape[2:], mode="bilinear", align_corners=False)
    noise, none = (through_jpeg((smooth + part).clamp(0, 1), level, subsampling) for part in (shot.flat, 0 * shot.flat))
    return Shot(noisy, shot.clean, noise - none)
