"""All kinds of noisy pictures: of cameras that smooth and cameras that do not, phones at night, scans, grain."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from nsp_pipeline.calibration.simulation.camera_noise import (
    NoisyCamera,
    blurred,
    by_grey_and_colour,
    halved,
    level_by_brightness,
)
from nsp_pipeline.calibration.simulation.camera_noise import smoother_colour as with_soft_colour
from nsp_pipeline.calibration.simulation.developing import DevelopingRange, developed
from nsp_pipeline.calibration.simulation.noise_range import NoiseRange
from nsp_pipeline.calibration.simulation.processing import ProcessingRange, processed, unevenly
from nsp_pipeline.calibration.simulation.shot import Shot, stored

Range = tuple[float, float]

KINDS = ("none", "camera", "developed", "plain")

TONED_SHARE = 0.5
"""Of the scenes, those that are seen in another light."""


@dataclass(frozen=True)
class ShotRange:
    """What is drawn for each shot; shares are 0 to 1."""

    none_share: float = 0.05
    """Pictures without any noise."""
    camera_share: float = 0.4
    """Cameras' own pictures (see camera_noise)."""
    developed_share: float = 0.4
    """Sensor noise that no camera smoothed, or only `processing` did (see developing)."""
    plain_sigma: Range = (0.7, 60.0)
    """The others have noise laid on the finished picture: white, grey, grain; in 8-bit steps, log-uniform."""
    processed_share: float = 0.6
    uneven_share: float = 0.3
    most_uneven: float = 1.8
    soft_share: float = 0.6
    softest: float = 1.4
    """Standard deviation in pixels of the blur of what is not crisp, at most."""
    jpeg_share: float = 0.7
    jpeg_quality: tuple[int, int] = (75, 100)
    camera: NoiseRange = field(default_factory=lambda: NoiseRange(jpeg_share=0.0, clean_share=0.0, softest=1.7))
    developing: DevelopingRange = field(default_factory=DevelopingRange)
    processing: ProcessingRange = field(default_factory=ProcessingRange)


def take_shot(sharp: torch.Tensor, chosen: ShotRange, rng: np.random.Generator) -> tuple[Shot, str]:
    """Take a picture at half the size of a clean one.

    Args:
        sharp: (1, 3, 2H, 2W) sRGB in 0..1; H and W multiples of 16.

    Returns:
        the shot, and which of KINDS it is.
    """
    shares = chosen.none_share, chosen.camera_share, chosen.developed_share
    kind = KINDS[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
    if kind == "camera":
        noisy, clean, _, stronger = NoisyCamera(chosen.camera).photograph(sharp, rng)
        shot = Shot(noisy, clean, by_grey_and_colour(noisy - clean, 1 / stronger))
    else:
        scene = _softened(halved(sharp), chosen, rng)
        if kind == "none":
            shot = Shot(scene, scene, torch.zeros_like(scene))
        elif kind == "developed":
            shot = developed(scene, chosen.developing, rng)
        else:
            shot = plainly(scene, float(np.exp(rng.uniform(*np.log(chosen.plain_sigma)))) / 255, rng)
    if kind in ("camera", "plain") and rng.random() < chosen.uneven_share:
        shot = unevenly(shot, chosen.most_uneven, rng)
    if rng.random() < chosen.processed_share:
        shot = processed(shot, chosen.processing, rng)
    if rng.random() < 0.04:
        shot = _grey(shot)
    shot = replace(shot, noisy=shot.noisy.clamp(0, 1), clean=shot.clean.clamp(0, 1))
    return stored(shot, rng, jpeg_share=chosen.jpeg_share, quality=chosen.jpeg_quality), kind


def take_again(picture: torch.Tensor, chosen: ShotRange, rng: np.random.Generator) -> Shot:
    """Put a camera's noise onto a picture (1, 3, H, W) that a camera made, at its own size.

    Such a picture is as soft as lens, mosaic and the camera's own noise reduction leave it, its colours more so; shrunk
    pictures are crisper, and who knows only these takes noise for detail.
    """
    if rng.random() < TONED_SHARE:
        picture = _toned(picture, rng)
    return take_shot(picture.repeat_interleave(2, 2).repeat_interleave(2, 3), chosen, rng)[0]


def plainly(scene: torch.Tensor, sigma: float, rng: np.random.Generator) -> Shot:
    """Lay noise on a finished picture, (1, 3, H, W) in 0..1: white, grey, coarser, grain that depends on brightness.

    `sigma` is its standard deviation in a channel, in 0..1.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    channels = 1 if rng.random() < 0.2 else 3
    noise = torch.randn((1, channels, *scene.shape[2:]), generator=generator)
    if rng.random() < 0.4:
        radius = float(rng.uniform(0.3, 1.2))
        noise = blurred(noise, radius)
        noise = noise / noise.std()
    if rng.random() < 0.4:
        noise = noise * level_by_brightness(blurred(scene, 1.0).mean(1, keepdim=True).clamp(0, 1), rng)
    noise = sigma * noise.expand(scene.shape)
    noisy = (scene + noise).clamp(0, 1)
    # What clipping takes is gone; in flat places of this brightness it would be, too.
    return Shot(noisy, scene, noisy - scene)


def _softened(scene: torch.Tensor, chosen: ShotRange, rng: np.random.Generator) -> torch.Tensor:
    """Most photos are softer at 100 % than shrunk ones, their colours still more; and some have other contrasts."""
    if rng.random() < chosen.soft_share:
        scene = blurred(scene, float(rng.uniform(0, chosen.softest)))
        if rng.random() < 0.5:
            scene = with_soft_colour(scene, float(rng.uniform(0.5, 2.0)))
    if rng.random() < TONED_SHARE:
        scene = _toned(scene, rng)
    return scene.float().clamp(0, 1)


def _toned(scene: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The same in another light: of less contrast, darker or brighter, and hazy."""
    mean = scene.mean((2, 3), keepdim=True)
    toned = (mean + rng.uniform(0.3, 1.1) * (scene - mean)) * rng.uniform(0.4, 1.2) + rng.uniform(0, 0.15)
    return toned.float().clamp(0, 1)


def _grey(shot: Shot) -> Shot:
    return Shot(*(part.mean(1, keepdim=True).expand(part.shape) for part in (shot.noisy, shot.clean, shot.flat)))
