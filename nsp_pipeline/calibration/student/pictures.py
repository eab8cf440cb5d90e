"""Clean pictures in many sizes, and random crops of them, cut many at once wherever they lie."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.training.crops import to_tensor
from nsp_pipeline.core.noise import measure_noise

SHRINKS = (2.0, 2.83, 4.0, 5.66, 8.0)
"""A photo is shrunk by each of these: its own noise and JPEG blocks go, and what was soft at 100 % becomes crisp."""

FAINT, FALLS, APART = 1.2, 0.8, 2
"""A copy in which more noise than FAINT is measured (8-bit steps) is noisy, and so are all larger ones, if that falls
below FALLS of itself in the copy APART places on, half as large: noise does so when averaged, and texture does not."""


class PictureStore:
    """Cuts random square crops of pictures on any device; the device's own generator draws where."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], side: int, device: str) -> None:
        """Hold pictures (H, W, 3), uint8, no side shorter than `side`, the crops' own.

        A picture four times as large is drawn from twice as often.
        """
        self._pixels = torch.cat([torch.from_numpy(picture).reshape(-1, 3) for picture in pictures]).to(device)
        heights, widths = (torch.tensor([picture.shape[axis] for picture in pictures]) for axis in (0, 1))
        first = (heights * widths).cumsum(0) - heights * widths
        self._first, self._heights, self._widths = (part.to(device) for part in (first, heights, widths))
        self._weights = (heights * widths).to(device).sqrt()
        self._side = side

    def draw(self, batch: int, rng: torch.Generator) -> torch.Tensor:
        """Return (batch, 3, side, side) float32 in 0..1, each turned and mirrored by chance."""
        device, side = self._pixels.device, self._side
        pick = torch.multinomial(self._weights, batch, replacement=True, generator=rng)
        height, width = self._heights[pick], self._widths[pick]
        place = torch.rand(2, batch, generator=rng, device=device, dtype=torch.float64)
        top, left = (place[0] * (height - side + 1)).long(), (place[1] * (width - side + 1)).long()
        turned = torch.randint(2, (3, batch, 1, 1), generator=rng, device=device, dtype=torch.bool)
        steps = torch.arange(side, device=device)
        down, across = steps.view(1, -1, 1).expand(batch, side, side), steps.view(1, 1, -1).expand(batch, side, side)
        down, across = torch.where(turned[0], across, down), torch.where(turned[0], down, across)
        down, across = (
            torch.where(turned[1], side - 1 - down, down),
            torch.where(turned[2], side - 1 - across, across),
        )
        rows, columns = top.view(-1, 1, 1) + down, left.view(-1, 1, 1) + across
        crops = self._pixels[self._first[pick].view(-1, 1, 1) + rows * width.view(-1, 1, 1) + columns]
        return crops.permute(0, 3, 1, 2).float() / 255


def clean_copies(photo: NDArray[np.generic], side: int) -> list[NDArray[np.uint8]]:
    """Shrink a photo (H, W, 3) by area averaging, as often as its size allows; copies that still show noise are none.

    Sides are no shorter than `side`.
    """
    copies = [shrunk(photo, factor) for factor in SHRINKS if min(photo.shape[:2]) >= factor * side]
    levels = [measure_noise(copy).sigma for copy in copies]
    halves = zip(levels, levels[APART:], strict=False)
    noisy = [place for place, (level, later) in enumerate(halves) if level > FAINT and later < FALLS * level]
    return copies[max(noisy, default=-1) + 1 :]


def shrunk(photo: NDArray[np.generic], factor: float) -> NDArray[np.uint8]:
    """Shrink (H, W, 3) by averaging; uint8 out."""
    from PIL import Image

    pixels = (to_tensor(photo).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    size = tuple(max(1, round(length / factor)) for length in (pixels.shape[1], pixels.shape[0]))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
