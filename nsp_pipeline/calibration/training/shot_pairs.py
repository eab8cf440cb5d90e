"""Two shots of one scene from a tripod: the test without clean photos that needs no assumption on the noise.

The noise of one shot is independent of the other's, so E|D(A) - B|² = E|D(A) - clean|² + σ², whatever the noise's
spectrum and whatever D sees. Between two networks σ² cancels, and with E|A - B|² = 2σ² it is even known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.crops import to_tensor
from nsp_pipeline.core.noise import measure_noise
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.spec import InferenceSpec

TILE = 256
MOST_TILES = 64
"""Of one pair: more would add minutes and little certainty."""

MARGIN = 32
"""Pixels around a tile that the network sees and that do not count."""

APART = 4.0
"""Squared difference of two shots over what their noise explains, from which they cannot be of one scene."""


@dataclass(frozen=True)
class ShotPairs:
    """Tiles of pairs: shots A and B of each, (N, 3, side, side) in 0..1, exposure of B matched to A's."""

    first: torch.Tensor
    second: torch.Tensor

    @property
    def noise(self) -> float:
        """Noise variance σ² of one shot: half the mean squared difference of the two."""
        return float(((_inner(self.first) - _inner(self.second)) ** 2).mean()) / 2

    def errors(self, network: Backbone, inference: InferenceSpec) -> NDArray[np.float64]:
        """Squared error of each tile (N,): what is made of A against B, and of B against A. It contains σ²."""
        found = []
        for one, other in zip(self.first, self.second, strict=True):
            both = [
                float(((_inner(denoised(network, seen[None], inference)[0]) - _inner(unseen)) ** 2).mean())
                for seen, unseen in ((one, other), (other, one))
            ]
            found.append(sum(both) / 2)
        return np.array(found)

    def gain(self, errors: NDArray[np.float64]) -> float | None:
        """PSNR gained over the noisy shot, in dB; None where the error is too small to tell from the noise."""
        left = float(errors.mean()) - self.noise
        return psnr_of(left) - psnr_of(self.noise) if left > 0 else None


def read_shot_pairs(paths: Sequence[tuple[Path, Path]]) -> ShotPairs | None:
    """Read pairs of photos and cut tiles from the same places of both; None where there is no pair.

    Raises:
        UsageError: a photo cannot be read, is too small, or the two are not of one scene, size and framing.
    """
    tiles: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for pair in paths:
        try:
            first, second = (_pixels(path) for path in pair)
        except PhotoError as error:
            raise UsageError(f"--pair: {error}") from None
        where = f"--pair {pair[0]} {pair[1]}"
        if first.shape != second.shape:
            raise UsageError(f"{where}: {_size(first)} and {_size(second)}; two shots of one scene have one size")
        _require_same_scene(first, second, where)
        one, other = to_tensor(first), to_tensor(second)
        other = (other + (one - other).mean((1, 2), keepdim=True)).clamp(0, 1)
        places = [
            (top, left)
            for top in range(0, one.shape[1] - TILE + 1, TILE)
            for left in range(0, one.shape[2] - TILE + 1, TILE)
        ]
        if not places:
            raise UsageError(f"{where}: {_size(first)} pixels are too few: a tile takes {TILE} a side")
        for top, left in places[:: -(-len(places) // MOST_TILES)]:
            for shot, kept in zip((one, other), tiles, strict=True):
                kept.append(shot[:, top : top + TILE, left : left + TILE])
    return ShotPairs(torch.stack(tiles[0]), torch.stack(tiles[1])) if paths else None


def _pixels(path: Path) -> NDArray[np.generic]:
    pixels = read_frame(path).pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _require_same_scene(first: NDArray[np.generic], second: NDArray[np.generic], where: str) -> None:
    one, other = to_tensor(first), to_tensor(second)
    difference = (one - other) - (one - other).mean((1, 2), keepdim=True)
    seen = float((difference**2).mean())
    explained = sum((shot.sigma / 255) ** 2 for shot in (measure_noise(first), measure_noise(second)))
    if seen > APART * max(explained, (0.5 / 255) ** 2):
        raise UsageError(
            f"{where}: the two differ by {255 * seen**0.5:.1f} of 255 where their noise explains "
            f"{255 * explained**0.5:.1f}: not two shots of one scene from a tripod, or one is moved, or edited"
        )


def _inner(tile: torch.Tensor) -> torch.Tensor:
    return tile[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def _size(pixels: NDArray[np.generic]) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"
