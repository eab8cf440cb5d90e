"""From light to picture: sensor noise in linear light, cut off at black before the tone curve.

So it is in photos that nobody smoothed: developed RAW, and phones at night. Where it is dark, noise below black is
lost, and the mean of the picture rises by several of its steps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from nsp_pipeline.calibration.simulation.camera_noise import demosaiced, more_colourful, mosaic_of
from nsp_pipeline.calibration.simulation.shot import Shot

Range = tuple[float, float]


@dataclass(frozen=True)
class DevelopingRange:
    """What is drawn for each shot; shares are 0 to 1."""

    night_share: float = 0.35
    """Shots in the dark, their noise as strong as `night_sigma`."""
    night_sigma: Range = (10.0, 60.0)
    """Standard deviation in dark places of the finished picture, in 8-bit steps; log-uniform, as `sigma`."""
    sigma: Range = (0.7, 30.0)
    night_light: Range = (0.04, 0.5)
    """Of the light that the scene had in the photo that it is taken from, this much is left."""
    gamma: Range = (1.6, 2.6)
    linear_share: float = 0.05
    """Files in linear light, as astronomers and scanners write them."""
    toe: float = 0.012
    """A tone curve is straight below about this, at most."""
    contrast: float = 0.7
    mosaic_share: float = 0.6
    """The others have noise without neighbours: binned, averaged or of three-layer sensors."""
    brightened_share: float = 0.5
    """Shots whose corners are brightened, or whose shadows are lifted, their noise with them."""
    most_brightened: float = 2.2


def developed(scene: torch.Tensor, chosen: DevelopingRange, rng: np.random.Generator) -> Shot:
    """Expose a scene, (1, 3, H, W) sRGB in 0..1, and develop it."""
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    night = rng.random() < chosen.night_share
    curve = _ToneCurve.drawn(chosen, rng)
    light = curve.light(scene)
    if night:
        light = light * _log_uniform(chosen.night_light, rng)
    place = float(rng.uniform(0.05, 0.25) if night else rng.uniform(0.25, 0.5))
    sigma = _log_uniform(chosen.night_sigma if night else chosen.sigma, rng) / 255
    level = min(0.3, sigma / curve.steepness(place))
    gains = torch.tensor([rng.uniform(1.2, 2.6), 1.0, rng.uniform(1.2, 2.8)], dtype=torch.float32).view(1, 3, 1, 1)
    at_place = float(curve.light(torch.tensor(place)))
    shot_share = float(rng.uniform(0.1, 0.7) if night else rng.uniform(0.5, 1.0))
    gain = torch.ones(1)
    if rng.random() < chosen.brightened_share:
        gain = gain_map(scene.shape, chosen.most_brightened, rng)
    # Light that reaches the sensor is less where it is brightened afterwards, and its noise is brightened with it.
    variance = shot_share * light / (gains * gain) / at_place + (1 - shot_share)
    # Most cameras' colours are balanced: noise is strongest in red and blue.
    strength = level * gain * gains.sqrt() / 1.2
    noise = torch.randn(light.shape, generator=generator) * variance.sqrt() * strength
    noisy = light + noise
    if rng.random() < chosen.mosaic_share:
        mosaic = mosaic_of(light.shape)
        radius = float(rng.uniform(0.7, 1.3))
        noisy, light = (demosaiced(part * mosaic, mosaic, radius) for part in (light + 1.6 * noise, light))
    if rng.random() < 0.5:
        noisy = light + more_colourful(noisy - light, float(rng.uniform(1.0, 1.6)))
    noisy, clean = curve.picture(noisy), curve.picture(light)
    return Shot(noisy, clean, noisy - clean)


def gain_map(shape: torch.Size, most: float, rng: np.random.Generator) -> torch.Tensor:
    """A smooth map (1, 1, H, W) of gains from 1 to `most`: a slope towards a corner, or hills and valleys."""
    nodes = int(rng.integers(2, 5))
    coarse = torch.from_numpy(rng.uniform(0, 1, (1, 1, nodes, nodes)).astype(np.float32))
    smooth = interpolate(coarse, size=shape[2:], mode="bicubic", align_corners=True).clamp(0, 1)
    return 1 + (float(rng.uniform(1, most)) - 1) * smooth


@dataclass(frozen=True)
class _ToneCurve:
    """A power law with a straight toe, steeper in the middle by `contrast`."""

    gamma: float
    toe: float
    contrast: float

    @classmethod
    def drawn(cls, chosen: DevelopingRange, rng: np.random.Generator) -> "_ToneCurve":
        if rng.random() < chosen.linear_share:
            return cls(1.0, 0.0, 0.0)
        contrast = float(rng.uniform(0, chosen.contrast)) if rng.random() < 0.4 else 0.0
        return cls(float(rng.uniform(*chosen.gamma)), float(rng.uniform(0.0005, chosen.toe)), contrast)

    @property
    def _offset(self) -> float:
        return float(self.toe ** (1 / self.gamma)) if self.toe else 0.0

    @property
    def _span(self) -> float:
        return float((1 + self.toe) ** (1 / self.gamma)) - self._offset

    def light(self, picture: torch.Tensor) -> torch.Tensor:
        """Linear light of a picture in 0..1, the contrast left out: pictures only gain by it."""
        return (picture.clamp(0, 1) * self._span + self._offset) ** self.gamma - self.toe

    def picture(self, light: torch.Tensor) -> torch.Tensor:
        """What is made of linear light; all below black is black."""
        flat = ((light.clamp(0, 1) + self.toe) ** (1 / self.gamma) - self._offset) / self._span
        if not self.contrast:
            return flat
        return flat + self.contrast * (flat * flat * (3 - 2 * flat) - flat)

    def steepness(self, place: float) -> float:
        """Slope of the finished picture over light, where the picture without contrast is `place`."""
        light = float(self.light(torch.tensor(place)))
        points = self.picture(torch.tensor([light - 0.2 * (light + self.toe), light + 0.2 * (light + self.toe)]))
        return max(float(points[1] - points[0]) / (0.4 * (light + self.toe)), 0.05)


def _log_uniform(limits: Range, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
