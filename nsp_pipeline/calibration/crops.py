"""Random training crops out of whole photos."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit


class CropSampler:
    """Cuts random square crops, every pixel of the archive about equally likely, flipped and turned at random.

    Two samplers with the same seed give the same crops.
    """

    def __init__(self, images: Sequence[NDArray[np.generic]], side: int, seed: int) -> None:
        self._images = images
        self._side = side
        self._rng = np.random.default_rng(seed)
        areas = np.array([image.shape[0] * image.shape[1] for image in images], dtype=np.float64)
        self._weights = areas / areas.sum()

    def draw(self, batch: int) -> torch.Tensor:
        """Return (batch, 3, side, side) float32 in 0..1, on the CPU."""
        picks = self._rng.choice(len(self._images), size=batch, p=self._weights)
        return torch.stack([self._crop(self._images[pick]) for pick in picks])

    def _crop(self, image: NDArray[np.generic]) -> torch.Tensor:
        top = int(self._rng.integers(image.shape[0] - self._side + 1))
        left = int(self._rng.integers(image.shape[1] - self._side + 1))
        crop = np.rot90(image[top : top + self._side, left : left + self._side], int(self._rng.integers(4)))
        if self._rng.integers(2):
            crop = crop[:, ::-1]
        return to_tensor(crop)


def to_tensor(pixels: NDArray[np.generic]) -> torch.Tensor:
    """(H, W, C) uint8, uint16 or float32 pixels -> (C, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(to_unit(pixels).transpose(2, 0, 1)))
