"""Crops for all networks of a training: every kind of noise, developed light, and shots of simulated cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool2d, interpolate

from nsp_pipeline.calibration.simulation.camera_noise import halved
from nsp_pipeline.calibration.simulation.development_batch import develop_batch
from nsp_pipeline.calibration.simulation.draws import between, chosen
from nsp_pipeline.calibration.simulation.jpeg_batch import through_jpeg_batch
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, patch_levels
from nsp_pipeline.calibration.student.any_noise import ANY, Drawn, draw_levels, make_noisy, varied
from nsp_pipeline.calibration.student.pictures import PictureStore
from nsp_pipeline.calibration.together.pool import PooledShots, ShotPool
from nsp_pipeline.core.noise import TABLE_NODES

EXPOSED, NOISIER, MOST_ADDED = 0.4, 0.25, 30.0 / 255
JPEG_SHARE, JPEG_QUALITY, SMOOTHEST = 0.6, (75.0, 100.0), 16
WHITE_ROWS = (1 / 3, 1 / 3, 2 / 3, 2 / 3)
MARGIN, SOFTEST = 16, 3.2
"""Pixels around a picture twice as large as its crop, and the most that it is softened by."""


DRAWN = {
    "any": ANY,
    "unsmoothed": Drawn(white=0.2, soft=0.4, toned=0.5),
    "white": Drawn(white=0.85, bent=0.35, uneven=0.1, coarse=0.0, fine=0.5, soft=0.25, toned=0.3),
}
"""What any noise is for networks of each kind: of one for everything, and of those that have others beside them."""


@dataclass(frozen=True)
class Crops:
    """A batch: noisy, clean (B, 3, S, S), sharp (B, 3, 2S, 2S) where `known` (B, 1, 1, 1), true tables and levels."""

    noisy: torch.Tensor
    clean: torch.Tensor
    sharp: torch.Tensor
    known: torch.Tensor
    table: torch.Tensor
    levels: torch.Tensor


def draw_crops(
    store: PictureStore, pool: ShotPool | None, counts: tuple[int, int, int], rng: torch.Generator, drawn: Drawn = ANY
) -> Crops:
    """So many crops with any noise, of developed light, and of the pool's shots.

    `store` cuts pictures of twice the crops' side and MARGIN more.
    """
    any_noise, light, shots = counts
    made = []
    if any_noise + light:
        sharp = varied(store.draw(any_noise + light, rng), rng, drawn=drawn, softest=SOFTEST, reach=MARGIN // 2)
        made = [_with_any_noise(sharp[:any_noise], rng, drawn), _developed(sharp[any_noise:], rng)]
    if pool is not None and shots:
        made.append(_of_shots(pool.draw(shots, rng), rng))
    return joined(made)


def joined(parts: Sequence[Crops]) -> Crops:
    """All crops of several batches."""
    return Crops(*(torch.cat([getattr(part, name) for part in parts]) for name in Crops.__dataclass_fields__))


def _with_any_noise(sharp: torch.Tensor, rng: torch.Generator, drawn: Drawn) -> Crops:
    clean = halved(sharp)
    noisy = make_noisy(clean, draw_levels(clean, rng), rng, drawn)
    return _crops(noisy, clean, sharp, noisy - clean)


def _developed(sharp: torch.Tensor, rng: torch.Generator) -> Crops:
    scene = halved(sharp)
    noisy, clean = develop_batch(scene, rng)
    flat = noisy - clean
    sharp = sharp + interpolate(clean - scene, scale_factor=2.0, mode="nearest")
    quality, colour = between(*JPEG_QUALITY, clean, rng), chosen(0.5, clean, rng)
    smooth = interpolate(avg_pool2d(clean, SMOOTHEST), size=clean.shape[2:], mode="bilinear", align_corners=False)
    as_jpeg = chosen(JPEG_SHARE, clean, rng)
    # What a JPEG takes of the noise depends on what lies beneath: flat noise goes through one of its own.
    stored, beneath, smooth = (
        through_jpeg_batch(part, quality, colour) for part in (noisy, (smooth + flat).clamp(0, 1), smooth)
    )
    noisy = torch.where(as_jpeg, stored, (noisy * 255).round() / 255)
    return _crops(noisy, clean, sharp, torch.where(as_jpeg, beneath - smooth, flat))


def _crops(noisy: torch.Tensor, clean: torch.Tensor, sharp: torch.Tensor, flat: torch.Tensor) -> Crops:
    one = torch.ones_like(clean[:, :1, :1, :1])
    return Crops(noisy, clean, sharp, one, noise_tables(clean + flat, clean, one), patch_levels(flat))


def _of_shots(shots: PooledShots, rng: torch.Generator) -> Crops:
    """Shots turned, exposed anew, and now and then with white noise on top."""
    noisy, clean = shots.noisy.float() / 255, shots.clean.float() / 255
    exposed = chosen(EXPOSED, noisy, rng)
    gain = torch.where(exposed, between(0.4, 1.0, noisy, rng), 1.0)
    lift = torch.where(exposed, between(0.0, 0.1, noisy, rng), 0.0)
    sigma = MOST_ADDED * between(0, 1, noisy, rng) ** 3 * chosen(NOISIER, noisy, rng)
    noise = sigma * torch.randn(noisy.shape, generator=rng, device=noisy.device)
    noisy, clean = (gain * noisy + lift + noise).clamp(0, 1), gain * clean + lift
    white = torch.tensor(WHITE_ROWS, device=noisy.device).view(1, -1, 1)
    table = (_exposed(shots.table, gain, lift) ** 2 + white * sigma.flatten(2) ** 2).sqrt()
    levels = ((gain * shots.levels) ** 2 + white.unsqueeze(3) * sigma**2).sqrt()
    for axes in ((2,), (3,), None):
        turn = chosen(0.5, noisy, rng)
        noisy, clean, levels = (
            torch.where(turn, part.transpose(2, 3) if axes is None else part.flip(axes), part)
            for part in (noisy, clean, levels)
        )
    sharp = interpolate(clean, scale_factor=2.0, mode="nearest")
    return Crops(noisy, clean, sharp, torch.zeros_like(gain), table, levels)


def _exposed(table: torch.Tensor, gain: torch.Tensor, lift: torch.Tensor) -> torch.Tensor:
    """Noise tables (B, 4, 8) of pictures p that became gain·p + lift."""
    nodes = torch.linspace(0, 1, TABLE_NODES, device=table.device)
    before = ((nodes - lift.view(-1, 1)) / gain.view(-1, 1)).clamp(0, 1) * (TABLE_NODES - 1)
    near = (1 - (before.unsqueeze(1) - torch.arange(TABLE_NODES, device=table.device).view(1, -1, 1)).abs()).clamp_min(
        0
    )
    return gain.view(-1, 1, 1) * (table @ near)
