"""What a camera's photos give to its student: pieces of them, denoised, and the noise of their flat places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.real_noise import PhotoNoise
from nsp_pipeline.calibration.student.moments import is_past
from nsp_pipeline.calibration.student.own_means import with_own_means
from nsp_pipeline.calibration.training.crops import places, to_tensor
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.noise.estimate import estimate_noise

MOST_PHOTOS = 24
"""Photos that are looked at, evenly over all: each costs a second or two before the first step."""

WINDOW = 640
"""Longest side of a piece that is denoised."""


@dataclass(frozen=True, eq=False)
class OwnPhoto:
    """One photo: `pieces` of it (3, H, W) in 0..1, and the same `denoised`.

    `noise` is None where flat places do not show it, and `table` (1, TABLE_ROWS, TABLE_NODES) what networks are told of
    it when the photo is denoised. `own_means`: its local means are taken then, and not the network's.
    """

    pieces: list[torch.Tensor]
    denoised: list[torch.Tensor]
    noise: PhotoNoise | None
    table: torch.Tensor
    own_means: bool = False

    def pictures(self) -> list[NDArray[np.uint8]]:
        """The denoised pieces as (H, W, 3) uint8."""
        return [(part.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for part in self.denoised]


def look_at(
    photos: Sequence[NDArray[np.generic]],
    first: Backbone,
    windows: int,
    rng: np.random.Generator,
    on_window: Callable[[int], None] = lambda done: None,
    by: float | None = None,
) -> list[OwnPhoto]:
    """Denoise about so many windows of photos (H, W, 3), uint8, uint16 or float32, with a student on its own device.

    Args:
        on_window: called with the number of windows that are done.
        by: when to have done so (`time.monotonic`): what is not looked at by then is left out, but for one photo that
            shows its noise. Photos are then looked at in any order. None takes the time that it takes.
    """
    chosen = list(photos[:: -(-len(photos) // MOST_PHOTOS)]) if photos else []
    if by is not None:
        chosen = [chosen[place] for place in rng.permutation(len(chosen))]
    found: list[OwnPhoto] = []
    done = 0
    for pixels in chosen:
        if is_past(by) and any(photo.noise for photo in found):
            break
        told = estimate_noise(pixels)
        table = torch.from_numpy(told.as_told.table)
        pieces: list[torch.Tensor] = []
        clean: list[torch.Tensor] = []
        for piece in _windows(pixels, -(-windows // len(chosen)), first.multiple, rng):
            if pieces and is_past(by):
                break
            pieces.append(piece)
            clean.append(_denoised(first, piece, table, own_means=told.own_means))
            done += 1
            on_window(done)
        noise = PhotoNoise.of(list(zip(pieces, clean, strict=True)), told) if pieces else None
        found.append(OwnPhoto(pieces, clean, noise, table, told.own_means))
    return found


def _windows(pixels: NDArray[np.generic], count: int, multiple: int, rng: np.random.Generator) -> list[torch.Tensor]:
    """Squares that do not overlap, as large as the photo allows."""
    side = min(WINDOW, *pixels.shape[:2])
    side -= side % multiple
    return [to_tensor(pixels[y : y + side, x : x + side]) for y, x in places(pixels, side, count, rng)]


@torch.inference_mode()
def _denoised(network: Backbone, piece: torch.Tensor, table: torch.Tensor, *, own_means: bool) -> torch.Tensor:
    device = next(network.parameters()).device
    told = (table.to(device),) if network.noise_conditioned else ()
    image = piece[None].to(device, memory_format=torch.channels_last)
    made = network.cell_means(image, *told).float()
    made = with_own_means(image, made) if own_means else made
    return made[0].clamp(0, 1).cpu().contiguous()
