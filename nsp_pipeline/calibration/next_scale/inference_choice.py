"""PD at inference: with, without, or a blend, by the error that each way leaves on held-out noisy photos.

The squared distance to the noisy photo alone would be deceived. Noise that neighbours share is partly foreseen from
them, and an estimate that follows the noise comes nearer to the noisy photo, not to the clean one. But how far an
estimate follows the noise can be measured: put noise of the same kind on the photo and see how much of it comes out.
For Gaussian noise n of covariance C (Stein 1981; Monte Carlo after Ramani, Blu and Unser 2008)

    E|D(I) - clean|² = E|D(I) - I|² - σ² + 2·E[z·(D(I + εz) - D(I))]/ε,  z drawn from N(0, C),

whatever D is. C is what a calibration measures: level by brightness, correlation, and colour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.publish import InferenceChoice
from nsp_pipeline.calibration.training.apply import denoiser
from nsp_pipeline.calibration.training.crops import places, to_tensor
from nsp_pipeline.core.noise_draw import draw_noise
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.inference import pixel_shuffle_down
from nsp_pipeline.profiles.spec import InferenceSpec

SIDE, SMALLEST = 192, 64
CROPS = 16
"""Squares of the photos that are looked at: a network like the one that ships takes a second or two for each."""

MARGIN = 16
"""Pixels at a square's border that do not count."""

PROBE = 0.1
"""ε: small against the noise, and large against rounding."""

WITHOUT, WITH, SHIFTED = "without PD", "with PD", "with PD on shifted grids"
SHARES = (0.25, 0.5, 0.75)
WORTH_TWICE_DB = 0.5
"""A blend runs the network twice; it must leave so much less error than the best single way."""

CLIPPED = 0.02
"""Nearer than this to black or white, noise is not what it was measured to be."""


@dataclass(frozen=True)
class _Way:
    """What one way does where it counts: differences (N,) from the noisy photo, and how much it follows noise."""

    distance: NDArray[np.float32]
    follows: float


def choose_inference(
    network: Backbone, photos: Sequence[NDArray[np.generic]], noise: NoiseField
) -> InferenceChoice | None:
    """Choose PD at inference for a blind network.

    Args:
        photos: (H, W, 3) uint8, uint16 or float32 in 0..1, best such as were kept out of training.
        noise: as measured on photos of this kind, of three channels.

    Returns:
        None where no photo has an unclipped square of a size that suits.
    """
    t = network.scale
    specs = {
        WITHOUT: InferenceSpec(pd_factor=1),
        WITH: InferenceSpec(pd_factor=t),
        SHIFTED: InferenceSpec(pd_factor=t, shifted_grids=True),
    }
    found: dict[str, list[_Way]] = {name: [] for name in specs}
    powers = []
    for number, crop in enumerate(_crops(photos, t * network.multiple)):
        brightness = avg_pool2d(crop, 5, stride=1, padding=2, count_include_pad=False)
        probe = torch.from_numpy(draw_noise(noise, brightness[0].numpy(), np.random.default_rng(number)))[None]
        counts = ((brightness > CLIPPED) & (brightness < 1 - CLIPPED)).all(1, keepdim=True).expand_as(crop)
        inner = torch.zeros_like(counts)
        inner[..., MARGIN:-MARGIN, MARGIN:-MARGIN] = counts[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        powers.append((probe[inner] ** 2).numpy())
        for name, way in _try(network, specs, crop, probe, inner).items():
            found[name].append(way)
    ways = {name: _together(parts) for name, parts in found.items()} if powers else {}
    if not ways or not len(ways[WITH].distance):
        return None
    return _best(specs, ways, float(np.concatenate(powers).mean()))


def _best(specs: dict[str, InferenceSpec], ways: dict[str, _Way], power: float) -> InferenceChoice:
    """The way of the least error, a blend only where it is worth twice the time."""
    errors = {name: _error(way, power) for name, way in ways.items()}
    single = min(errors, key=lambda name: errors[name])
    placed = min((WITH, SHIFTED), key=lambda name: errors[name])
    blends = {share: _error(_blended(ways[WITHOUT], ways[placed], share), power) for share in SHARES}
    share = min(blends, key=lambda share: blends[share])
    expected = {**errors, f"{share:.0%} without, the rest {placed}": blends[share]}
    worth = 0 < blends[share] * 10 ** (WORTH_TWICE_DB / 10) < errors[single]
    inference = specs[placed].model_copy(update={"whole_share": share}) if worth else specs[single]
    return InferenceChoice(inference, {name: float(f"{error:.4g}") for name, error in expected.items()})


def _blended(one: _Way, other: _Way, share: float) -> _Way:
    """What the sum of two estimates does, `share` of the first."""
    distance = share * one.distance + (1 - share) * other.distance
    return _Way(distance, share * one.follows + (1 - share) * other.follows)


def _together(parts: Sequence[_Way]) -> _Way:
    """One way over all squares, every pixel alike."""
    pixels = [len(part.distance) for part in parts]
    follows = sum(part.follows * count for part, count in zip(parts, pixels, strict=True)) / max(1, sum(pixels))
    return _Way(np.concatenate([part.distance for part in parts]), follows)


def _error(way: _Way, power: float) -> float:
    """Squared distance to the clean photo, for noise of that mean square."""
    return float((way.distance.astype(np.float64) ** 2).mean()) - power + 2 * way.follows


@torch.inference_mode()
def _try(
    network: Backbone, specs: dict[str, InferenceSpec], crop: torch.Tensor, probe: torch.Tensor, inner: torch.Tensor
) -> dict[str, _Way]:
    """What each way does to one square; the two with PD share the network's work."""
    device = next(network.parameters()).device
    ways = {name: denoiser(network, spec).to(device) for name, spec in specs.items()}
    made: dict[str, list[torch.Tensor]] = {name: [] for name in specs}
    for image in (crop.to(device), (crop + PROBE * probe).to(device)):
        sub_images = network(pixel_shuffle_down(image, network.scale))
        for name, way in ways.items():
            made[name].append((way(image) if way.factor == 1 else way.joined(sub_images)).float().cpu())
    tried = {}
    for name, (plain, moved) in made.items():
        follows = (probe * (moved - plain))[inner]
        tried[name] = _Way((plain - crop)[inner].numpy(), float(follows.mean()) / PROBE if len(follows) else 0.0)
    return tried


def _crops(photos: Sequence[NDArray[np.generic]], multiple: int) -> Iterator[torch.Tensor]:
    """Squares (1, 3, side, side) in 0..1 of the photos, as many of each."""
    rng = np.random.default_rng(0)
    for image in photos[:CROPS]:
        side = min(SIDE, *image.shape[:2])
        side -= side % multiple
        if side < SMALLEST:
            continue
        for top, left in places(image, side, CROPS // min(len(photos), CROPS), rng):
            yield to_tensor(image[top : top + side, left : left + side])[None]
