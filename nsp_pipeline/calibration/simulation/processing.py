"""What a camera or phone does to a noisy picture: smooth it where it takes it for flat, sharpen it, leave blotches.

How strongly it smooths or sharpens a place it decides by the noisy picture. The clean one is treated exactly alike, so
that it stays what a denoiser should find; and noise of flat places as the camera would treat it there.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from nsp_pipeline.calibration.simulation.camera_noise import blurred, filtered, smoother_colour
from nsp_pipeline.calibration.simulation.developing import gain_map
from nsp_pipeline.calibration.simulation.shot import Shot


@dataclass(frozen=True)
class ProcessingRange:
    """What is drawn for each shot; shares are 0 to 1."""

    smoothed_share: float = 0.35
    strongest: float = 3.0
    """Structure weaker than so many times the noise is smoothed away."""
    again_share: float = 0.3
    """Of those, shots smoothed a second time, as phones do."""
    colour_share: float = 0.5
    """Shots whose colour noise is smoothed for itself, and shows as blotches, more so in shadows."""
    sharpened_share: float = 0.35
    most_sharpened: float = 1.8
    halved_colour_share: float = 0.15
    """Shots whose colours are stored at half the size once the noise is in them."""
    hot_share: float = 0.04
    most_hot: float = 6e-4


def processed(shot: Shot, chosen: ProcessingRange, rng: np.random.Generator) -> Shot:
    """Run a shot through what its camera happens to do."""
    if rng.random() < chosen.hot_share:
        shot = replace(shot, noisy=_with_hot_pixels(shot.noisy, float(rng.uniform(0, chosen.most_hot)), rng))
    if rng.random() < chosen.colour_share:
        shot = _with_smooth_colour(shot, rng)
    if rng.random() < chosen.smoothed_share:
        shot = _smoothed(shot, chosen.strongest, rng)
        if rng.random() < chosen.again_share:
            shot = _smoothed(shot, chosen.strongest, rng)
    if rng.random() < chosen.sharpened_share:
        shot = _sharpened(shot, float(rng.uniform(0.2, chosen.most_sharpened)), rng)
    if rng.random() < chosen.halved_colour_share:
        shot = Shot(*(_with_halved_colour(part) for part in (shot.noisy, shot.clean, shot.flat)))
    return shot


def unevenly(shot: Shot, most: float, rng: np.random.Generator) -> Shot:
    """Make the noise of a finished picture stronger in places by up to `most`, as brightened corners have it."""
    gain = gain_map(shot.clean.shape, most, rng)
    return Shot(shot.clean + gain * (shot.noisy - shot.clean), shot.clean, gain * shot.flat)


def _smoothed(shot: Shot, strongest: float, rng: np.random.Generator) -> Shot:
    """Smooth where the picture varies little (the guided filter of He, Sun and Tang 2010, guided by itself)."""
    radius = int(rng.integers(1, 4))
    strength = float(rng.uniform(0.5, strongest))
    grey = shot.flat.mean(1, keepdim=True)
    weakest = strength**2 * float((grey**2).mean()) + 1e-9
    kept, kept_flat = (_varying(part, radius, weakest) for part in (shot.noisy, shot.flat))
    least = float(rng.uniform(0, 0.4))
    kept, kept_flat = (least + (1 - least) * part for part in (kept, kept_flat))
    pairs = (shot.noisy, kept), (shot.clean, kept), (shot.flat, kept_flat)
    return Shot(*(torch.lerp(_box(part, radius), part, share) for part, share in pairs))


def _sharpened(shot: Shot, amount: float, rng: np.random.Generator) -> Shot:
    """Sharpen, half of the time only where there is something to sharpen."""
    radius = float(rng.uniform(0.6, 1.8))
    where: tuple[torch.Tensor, torch.Tensor] = (torch.ones(1), torch.ones(1))
    if rng.random() < 0.5:
        weakest = float(rng.uniform(0.5, 2.0)) ** 2 * float((shot.flat.mean(1) ** 2).mean()) + 1e-7
        where = _varying(shot.noisy, 1, weakest), _varying(shot.flat, 1, weakest)
    pairs = (shot.noisy, where[0]), (shot.clean, where[0]), (shot.flat, where[1])
    noisy, clean, flat = (part + amount * share * (part - blurred(part, radius)) for part, share in pairs)
    clean = clean.clamp(0, 1)
    return Shot(noisy.clamp(0, 1), clean, flat)


def _with_smooth_colour(shot: Shot, rng: np.random.Generator) -> Shot:
    """Smooth the colour noise, and leave what is coarse of it; it spares the picture's own colours, or tries to."""
    radius, kept = float(rng.uniform(0.7, 3.0)), float(rng.uniform(0.3, 1.0))
    blotches = float(rng.uniform(0, 2)) if rng.random() < 0.6 else 0.0
    dark = (1 - shot.clean.mean(1, keepdim=True)).clamp_min(0) ** 2 if rng.random() < 0.5 else torch.ones(1)

    def treated(noise: torch.Tensor) -> torch.Tensor:
        smooth = smoother_colour(noise, radius, kept=kept)
        return (
            smooth + blotches * dark * _coarse(noise - noise.mean(1, keepdim=True), 3 * radius) if blotches else smooth
        )

    return Shot((shot.clean + treated(shot.noisy - shot.clean)).clamp(0, 1), shot.clean, treated(shot.flat))


def _coarse(image: torch.Tensor, radius: float) -> torch.Tensor:
    """Blur by a large radius, at half the size."""
    small = interpolate(image, scale_factor=0.5, mode="area")
    return interpolate(blurred(small, radius / 2), size=image.shape[2:], mode="bilinear", align_corners=False)


def _with_halved_colour(image: torch.Tensor) -> torch.Tensor:
    grey = image.mean(1, keepdim=True)
    colour = interpolate(image - grey, scale_factor=0.5, mode="area")
    return grey + interpolate(colour, size=image.shape[2:], mode="bilinear", align_corners=False)


def _with_hot_pixels(image: torch.Tensor, density: float, rng: np.random.Generator) -> torch.Tensor:
    """Single samples of one channel driven towards white."""
    hot = torch.from_numpy(rng.random(tuple(image.shape), dtype=np.float32) < density)
    return torch.where(hot, torch.lerp(image, torch.ones(1), float(rng.uniform(0.3, 1))), image)


def _varying(image: torch.Tensor, radius: int, weakest: float) -> torch.Tensor:
    """1 where grey varies by much more than `weakest` (a variance) around a pixel, 0 where by much less."""
    grey = image.mean(1, keepdim=True)
    variance = (_box(grey**2, radius) - _box(grey, radius) ** 2).clamp_min(0)
    return variance / (variance + weakest)


def _box(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Mean over (2·radius + 1)² pixels."""
    line = torch.full((2 * radius + 1,), 1 / (2 * radius + 1))
    return filtered(filtered(image, line, 3), line, 2)
