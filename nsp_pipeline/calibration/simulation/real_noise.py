"""A camera's own noise on other pictures: what is left of flat places of its photos, laid side by side.

No formula describes what a camera makes of its noise: spectrum, colour, blotches, the grid of its JPEG. All of that is
in a piece of a flat place. Pieces of one photo that are as bright as the picture beneath are laid over each other's
borders, with weights whose squares sum to one, so that the noise stays as strong as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, fold, pad

from nsp_pipeline.core.noise import NoiseLevel

SIDE, STEP = 32, 24
OVER = SIDE - STEP
"""Side of a piece, how far apart pieces are laid, and how much of them lies over each other."""

FLAT = 0.2, 0.3, 0.45, 0.6
"""A piece is flat where the denoised picture varies, about its best surface, by less than the first share of the noise;
by less than the next one where there are fewer than ENOUGH of these. The higher it is, the coarser noise seems."""

CLIPPED_SHARE = 0.01
FEWEST, ENOUGH, MOST = 24, 64, 1500
"""Pieces of a photo: of fewer its noise is not known, more than the last add nothing."""

NEAREST = 24
"""Of the pieces nearest in brightness to a place, any of so many is laid there."""


@dataclass(frozen=True, eq=False)
class PhotoNoise:
    """The noise of one photo.

    `pieces` (P, 3, SIDE, SIDE) in 0..1, of mean zero, in order of their `brightness` (P,). `told` is what networks are
    told of the photo's noise when it is denoised: how it changes from one brightness to another.
    """

    pieces: torch.Tensor
    brightness: NDArray[np.float32]
    told: NoiseLevel

    @classmethod
    def of(cls, windows: Sequence[tuple[torch.Tensor, torch.Tensor]], told: NoiseLevel) -> Self | None:
        """Cut flat places out of windows of a photo; None where too few show its noise.

        Args:
            windows: (3, H, W) each in 0..1, as they are and denoised.
        """
        if told.sigma <= 0:
            return None
        parts = [_pieces(noisy.numpy(), clean.numpy()) for noisy, clean in windows]
        pieces, brightness, texture = (np.concatenate(part) for part in zip(*parts, strict=True))
        flat = texture < next((most for most in FLAT if (texture < most).sum() >= ENOUGH), FLAT[-1])
        if flat.sum() < FEWEST:
            return None
        pieces, brightness = pieces[flat], brightness[flat]
        kept = np.argsort(brightness, kind="stable")
        kept = kept[np.linspace(0, len(kept) - 1, min(MOST, len(kept))).astype(int)]
        return cls(torch.from_numpy(pieces[kept]), brightness[kept], told)

    @property
    def table(self) -> torch.Tensor:
        """The noise table (1, TABLE_ROWS, TABLE_NODES) that networks are told."""
        return torch.from_numpy(self.told.as_told.table)

    def on(self, device: str) -> Self:
        """The same noise for pictures on a device."""
        return replace(self, pieces=self.pieces.to(device))

    def draw(self, clean: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Noise for a picture (1, 3, H, W) in 0..1, as strong as the photo has it at each brightness; same shape.

        The picture is on the device that the noise is `on`.
        """
        height, width = clean.shape[2:]
        # Pieces are faint at their borders: the outermost ones lie half beside the picture.
        rows, columns = (-(-(side + 2 * OVER - SIDE) // STEP) + 1 for side in (height, width))
        size = SIDE + (rows - 1) * STEP, SIDE + (columns - 1) * STEP
        # What is laid where is settled on the processor, with numpy's generator, whatever device it is laid on.
        grey = _smooth(clean.mean(1, keepdim=True)).cpu()
        around = pad(grey, (OVER, size[1] - width - OVER, OVER, size[0] - height - OVER), mode="replicate")
        places = avg_pool2d(around, SIDE, stride=STEP).flatten().numpy()
        laid = self._turned(self._picked(places, rng), rng) * _WINDOW.to(clean.device)
        noise = fold(laid.flatten(1).T[None], size, SIDE, stride=STEP)
        strength = torch.from_numpy(np.sqrt(np.maximum(self.told.at(grey[0, 0].numpy()), 0)).astype(np.float32))
        return noise[..., OVER : OVER + height, OVER : OVER + width] * strength.to(clean.device)

    def _picked(self, places: NDArray[np.float32], rng: np.random.Generator) -> torch.Tensor:
        """For each brightness (N,) a piece that is about as bright, its noise in parts of the photo's there."""
        most = min(NEAREST, len(self.brightness))
        first = np.clip(np.searchsorted(self.brightness, places) - most // 2, 0, len(self.brightness) - most)
        chosen = first + rng.integers(most, size=len(places))
        own = np.sqrt(np.maximum(self.told.at(self.brightness[chosen]), 1e-12)).astype(np.float32)
        device = self.pieces.device
        return self.pieces[torch.from_numpy(chosen).to(device)] / torch.from_numpy(own).to(device).view(-1, 1, 1, 1)

    @staticmethod
    def _turned(pieces: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """All pieces mirrored in one way: noise of a crop keeps its direction."""
        flips = [axis for axis in (2, 3) if rng.integers(2)]
        return pieces.flip(flips) if flips else pieces


def _pieces(
    noisy: NDArray[np.float32], clean: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Pieces (P, 3, SIDE, SIDE) of a window (3, H, W) without their shading, but those that are clipped.

    Returns:
        The pieces, their brightness (P,), and how much the denoised picture varies there, in parts of them (P,).
    """
    seen, beneath = (_cut(image) for image in (noisy, clean))
    residual, left = _without_shading(seen), _without_shading(beneath)
    texture = np.sqrt(left.var((1, 2, 3)) / np.maximum(residual.var((1, 2, 3)), 1e-12))
    kept = ((seen <= 0) | (seen >= 1)).mean((1, 2, 3)) <= CLIPPED_SHARE
    return residual[kept], seen[kept].mean((1, 2, 3)), texture[kept]


def _cut(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, H, W) -> (P, 3, SIDE, SIDE)."""
    rows, columns = (side // SIDE for side in image.shape[1:])
    cells = image[:, : rows * SIDE, : columns * SIDE].reshape(3, rows, SIDE, columns, SIDE)
    return cells.transpose(1, 3, 0, 2, 4).reshape(-1, 3, SIDE, SIDE)


def _without_shading(pieces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the best surface of second degree out of each piece (P, 3, SIDE, SIDE)."""
    values = pieces.reshape(-1, SIDE * SIDE)
    return np.asarray((values - (values @ _SURFACES) @ _SURFACES.T).reshape(pieces.shape), dtype=np.float32)


def _surfaces() -> NDArray[np.float32]:
    """(SIDE², 6): level, slopes and curvatures, each of length 1 and at right angles to the others."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].reshape(2, -1)
    return np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 1))[0].astype(np.float32)


def _smooth(grey: torch.Tensor) -> torch.Tensor:
    return avg_pool2d(grey, 5, stride=1, padding=2, count_include_pad=False)


def _window() -> torch.Tensor:
    """Weights (SIDE, SIDE) of a piece, whose squares sum to one where pieces overlap."""
    rise = np.sin(np.pi / 2 * (np.arange(OVER) + 0.5) / OVER)
    line = np.concatenate([rise, np.ones(STEP - OVER), rise[::-1]]).astype(np.float32)
    return torch.from_numpy(np.outer(line, line))


_WINDOW, _SURFACES = _window(), _surfaces()
