"""Random training crops out of whole photos, cut where the photos lie: in memory, on a GPU, or mapped from a file."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit

GPU_SHARE = 0.5
"""Photos move onto a GPU when they take at most this share of its free memory."""


class CropSampler:
    """Cuts random square crops, every pixel of the archive about equally likely, flipped and rotated at random."""

    def __init__(self, images: Sequence[NDArray[np.generic]], side: int, device: str) -> None:
        """Hold the photos as they are stored.

        Args:
            images: (H, W, 3) uint8, uint16 or float32 in 0..1; memory-mapped arrays are read crop by crop.
            side: of the crops, in pixels.
            device: torch device that the crops are wanted on.
        """
        self._images = [torch.from_numpy(image) for image in images]
        self._side = side
        self._device = device
        if device.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(device)
            if sum(image.nbytes for image in self._images) <= GPU_SHARE * free:
                self._images = [image.to(device) for image in self._images]
        areas = np.array([image.shape[0] * image.shape[1] for image in images], dtype=np.float64)
        self._weights = areas / areas.sum()

    def draw(self, batch: int, rng: np.random.Generator) -> torch.Tensor:
        """Return (batch, 3, side, side) float32 in 0..1 on the device."""
        picks = rng.choice(len(self._images), size=batch, p=self._weights)
        return torch.stack([self._crop(self._images[pick], rng) for pick in picks])

    def _crop(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        top = int(rng.integers(image.shape[0] - self._side + 1))
        left = int(rng.integers(image.shape[1] - self._side + 1))
        # Moved as stored, which is a quarter of the bytes, and then made float.
        crop = image[top : top + self._side, left : left + self._side].to(self._device)
        largest = 1.0 if image.dtype.is_floating_point else float(torch.iinfo(image.dtype).max)
        crop = torch.rot90(crop.permute(2, 0, 1).float() / largest, int(rng.integers(4)), (1, 2))
        return crop.flip(2) if rng.integers(2) else crop


def to_tensor(pixels: NDArray[np.generic]) -> torch.Tensor:
    """(H, W, C) uint8, uint16 or float32 pixels -> (C, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(to_unit(pixels).transpose(2, 0, 1)))


def places(image: NDArray[np.generic], side: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw (top, left) of at most `count` squares of an image (H, W, ...) that do not overlap, in order."""
    rows, cols = image.shape[0] // side, image.shape[1] // side
    chosen = rng.choice(rows * cols, size=min(count, rows * cols), replace=False)
    return [(int(place) // cols * side, int(place) % cols * side) for place in np.sort(chosen)]
