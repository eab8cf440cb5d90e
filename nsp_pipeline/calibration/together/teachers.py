"""Two networks that teach a third what they find together: one for noise that cameras smoothed, one for white noise.

Told white noise as strong as what is coarse of a camera's noise, the network for white noise makes a camera's pictures
as well as the one that was trained for them, errs elsewhere, and the mean of both is nearer to the truth than either
(docs/quality.md). A student that starts as the one and learns what both find needs the time of one. Of noise that
neither knows, it learns the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from nsp_pipeline.calibration.simulation.camera_noise import halved
from nsp_pipeline.calibration.together.crops import Crops
from nsp_pipeline.calibration.training.precision import half_precision
from nsp_pipeline.core.noise import PATCH, TABLE_ROWS
from nsp_pipeline.core.noise_kind import COARSEST, STRONGEST_SMOOTHED, is_unsmoothed
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.noise.estimate import estimate_noise

COARSE_GREY = 1
"""The row of a noise table that white noise is told by."""

OF_ALIKE = (1.0, 1.0, 2**0.5, 2**0.5)
"""Each row of the table of noise that is white and alike in all channels, in parts of its grey."""


class Teachers:
    """What both networks make of crops, in the mean; each looks at them turned by 180° too."""

    def __init__(self, camera: Path, white: Path, device: str) -> None:
        """Load the weights of two files, of U-Nets of any size."""
        self._camera, self._white = (
            UNet.of_weights(load_file(path), 2).to(device).eval().requires_grad_(False) for path in (camera, white)
        )

    @torch.no_grad()
    def taught(self, crops: Crops, true: int = 0) -> Crops:
        """Crops whose clean pictures are what the teachers make of them, told the true noise.

        The first so many have true clean pictures, which stay where the noise is none that the teachers know.
        """
        noisy, table = crops.noisy, crops.table
        with half_precision(noisy.device.type):
            found = _both_ways(self._camera, noisy, table) + _both_ways(self._white, noisy, as_coarse_white(table))
        foreign = (is_foreign(table) & (torch.arange(len(table), device=table.device) < true)).view(-1, 1, 1, 1)
        sharp = torch.where(foreign, crops.sharp, (found / 2).clamp(0, 1))
        clean = torch.where(foreign, crops.clean, halved(sharp))
        return replace(crops, clean=clean, sharp=sharp, known=torch.where(foreign, crops.known, 1.0))


def _both_ways(network: UNet, noisy: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    turned = network(noisy.flip(2, 3), table).flip(2, 3)
    found: torch.Tensor = (network(noisy, table) + turned).float() / 2
    return found


def is_foreign(table: torch.Tensor) -> torch.Tensor:
    """Which tables (B, 4, 8) tell of noise that other networks make: stronger than cameras leave it, or unsmoothed."""
    grey, _, colour, coarse_colour = table.clamp_min(0).sum(2).unbind(1)
    return (torch.hypot(grey, colour) > STRONGEST_SMOOTHED * table.shape[2]) | (coarse_colour <= COARSEST * colour)


def as_coarse_white(table: torch.Tensor) -> torch.Tensor:
    """Tables (B, 4, 8) of white noise as strong as the coarse grey noise of others; unknown where they are."""
    rows = torch.tensor(OF_ALIKE, device=table.device).view(1, -1, 1)
    return torch.where(table < 0, table, rows * table[:, COARSE_GREY : COARSE_GREY + 1])


def take_tables_as_coarse_white(network: UNet) -> None:
    """Change a network's weights so that it makes of any table what it made of `as_coarse_white` of it."""
    with torch.no_grad():
        weight = network.noise_head.weight
        together = sum(share * weight[:, row] for row, share in enumerate(OF_ALIKE))
        weight.zero_()
        weight[:, COARSE_GREY] = together


@dataclass(frozen=True, eq=False)
class Photos:
    """Photos as cameras made them, with the little noise they have: (H, W, 3) uint8, and the table of each (4, 8)."""

    pixels: Sequence[NDArray[np.uint8]]
    tables: torch.Tensor

    @classmethod
    def estimated(cls, pixels: Sequence[NDArray[np.uint8]]) -> "Photos":
        """Photos with what the estimator says of each as a whole, without those whose noise no camera has smoothed.

        Raises:
            UsageError: none is left.
        """
        tables = [estimate_noise(photo).table for photo in pixels]
        fitting = [bool(table.max() > 0 and not is_unsmoothed(table)) for table in tables]
        if not any(fitting):
            raise UsageError("none of the photos has noise as cameras leave it in their JPEGs; give others")
        kept = np.concatenate([table for table, fits in zip(tables, fitting, strict=True) if fits])
        return cls([photo for photo, fits in zip(pixels, fitting, strict=True) if fits], torch.from_numpy(kept))

    def draw(self, count: int, side: int, rng: torch.Generator) -> Crops:
        """Crops (count, 3, side, side) without a clean picture: `taught` makes one."""
        device = rng.device
        chosen = torch.randint(len(self.pixels), (count,), generator=rng, device=device).tolist()
        places = torch.rand(count, 2, generator=rng, device=device).tolist()
        pieces = [_piece(self.pixels[number], side, place) for number, place in zip(chosen, places, strict=True)]
        noisy = torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2).to(device).float() / 255
        known = torch.zeros(count, 1, 1, 1, device=device)
        sharp = torch.zeros(count, 3, 2 * side, 2 * side, device=device)
        levels = torch.zeros(count, TABLE_ROWS, side // PATCH, side // PATCH, device=device)
        return Crops(noisy, noisy, sharp, known, self.tables[chosen].to(device), levels)


def _piece(photo: NDArray[np.uint8], side: int, place: Sequence[float]) -> NDArray[np.uint8]:
    top, left = (int(share * (length - side + 1)) for share, length in zip(place, photo.shape[:2], strict=True))
    return photo[top : top + side, left : left + side]
