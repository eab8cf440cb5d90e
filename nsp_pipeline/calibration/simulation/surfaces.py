"""Surfaces: leather, plaster, granite, embossed plastic, cloth. Faint texture from edge to edge, as light shows it.

Nothing in such a picture is flat, and its texture is as weak and as fine as noise. But it is the shading of one
surface, so its colours change together, where noise changes each by itself.
"""

import numpy as np
import torch
from torch.nn.functional import interpolate

from nsp_pipeline.calibration.simulation.camera_noise import blurred

FINEST, COARSEST = 0.2, 0.01
"""Cycles a pixel of the sharp picture that most of a texture has, log-uniform."""

WIDTHS = 0.25, 1.2
"""How far its spectrum reaches to both sides of that, as a logarithm."""

LONGEST = 4.0
"""How many times longer than wide its grains are at most."""

CONTRAST = 0.01, 0.2
"""Standard deviation of its shading, in parts of the brightness that it lies on, log-uniform."""

EVERYWHERE, ON_PHOTOS, TINTED = 0.6, 0.5, 0.3
"""Shares of the pictures whose texture fills them, that lie on a photo instead of on one colour, and whose texture has
a colour of its own."""

PATCHY = 24
"""Where a texture does not fill a picture, and where it is stronger, is decided on a grid of so many pixels."""

SMOOTHEST, BESIDE = 2.0, 7
"""Blur of that grid at most, in its cells, and how many cells there are beside the picture for it."""


def surface(scene: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A textured picture (1, 3, S, S) in 0..1, on what is in a scene of that shape or on one colour; S even."""
    side = scene.shape[2]
    if rng.random() < ON_PHOTOS:
        ground = blurred(scene, float(rng.uniform(0, 6)))
    else:
        colours = torch.from_numpy(rng.uniform(0.08, 0.9, (1, 3, 2, 2)).astype(np.float32))
        first = colours[..., :1, :1]
        ground = first + float(rng.uniform(0, 0.3)) * (colours - first)
        ground = interpolate(ground, size=(side, side), mode="bilinear", align_corners=True)
        grey = ground.mean(1, keepdim=True)
        ground = grey + float(rng.uniform(0, 1)) * (ground - grey)
    relief = _relief(side, rng)
    if rng.random() < 0.4:
        relief = relief + float(rng.uniform(0.3, 1.5)) * _relief(side, rng)
    relief = relief / relief.std().clamp_min(1e-6)
    relief = relief * _strength(side, rng)
    if rng.random() < TINTED:
        relief = relief * torch.from_numpy(rng.uniform(0.5, 1.5, (1, 3, 1, 1)).astype(np.float32))
    contrast = float(np.exp(rng.uniform(*np.log(CONTRAST))))
    return (ground * (1 + contrast * relief)).clamp(0, 1)


def _relief(side: int, rng: np.random.Generator) -> torch.Tensor:
    """A random field (1, 1, side, side) of standard deviation 1 with grains of one size, shape and direction."""
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    angle, longer = rng.uniform(0, np.pi), float(np.exp(rng.uniform(0, np.log(LONGEST)) * (rng.random() < 0.5)))
    along = across * np.cos(angle) + down * np.sin(angle)
    beside = -across * np.sin(angle) + down * np.cos(angle)
    frequency = np.hypot(along * longer, beside).clip(1e-6)
    middle, width = np.exp(rng.uniform(*np.log([COARSEST, FINEST]))), rng.uniform(*WIDTHS)
    amplitude = np.exp(-0.5 * (np.log(frequency / middle) / width) ** 2)
    if rng.random() < 0.4:  # light from one side
        amplitude = amplitude * np.abs(along) / frequency
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    field = np.fft.irfft2(white * amplitude, s=(side, side))
    field = field / max(float(field.std()), 1e-9)
    # Grains stand out to one side, or have sharp edges.
    bend = int(rng.integers(4))
    if bend == 1:
        field = np.exp(float(rng.uniform(0.3, 1.0)) * field)
    elif bend == 2:
        field = np.tanh(float(rng.uniform(1, 4)) * field)
    elif bend == 3:
        field = np.abs(field)
    field = (field - field.mean()) / max(float(field.std()), 1e-9)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return torch.from_numpy((sign * field).astype(np.float32))[None, None]


def _strength(side: int, rng: np.random.Generator) -> torch.Tensor:
    """How strong the texture is at each place, (1, 1, side, side): alike, or stronger in some places than in others."""
    cells = max(2, side // PATCHY) + 2 * BESIDE
    rough = torch.from_numpy(rng.standard_normal((1, 1, cells, cells)).astype(np.float32))
    inside = blurred(rough, float(rng.uniform(0.5, SMOOTHEST)))[..., BESIDE:-BESIDE, BESIDE:-BESIDE]
    smooth = interpolate(inside, size=(side, side), mode="bicubic")
    smooth = smooth / smooth.std().clamp_min(1e-6)
    if rng.random() < EVERYWHERE:
        return torch.exp(float(rng.uniform(0, 0.5)) * smooth)
    return torch.sigmoid(8 * (smooth + float(rng.uniform(-0.5, 1.0))))
