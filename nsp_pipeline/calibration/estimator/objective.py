"""What the estimator learns: the noise of each block as it would be if the block were flat, and its own error."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate

from nsp_pipeline.calibration.estimator.drawings import draw_picture
from nsp_pipeline.calibration.estimator.settings import EstimatorSettings
from nsp_pipeline.calibration.simulation.cameras import plainly
from nsp_pipeline.calibration.simulation.noise_tables import patch_levels
from nsp_pipeline.calibration.simulation.shot import Shot, stored
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.core.noise import PATCH, TABLE_ROWS
from nsp_pipeline.models.noise_net import BLOCK, FAINTEST
from nsp_pipeline.noise.pooling import Blocks, pooled

GREY_PART, COLOUR_PART = 1 / 3, 2 / 3
"""Of the variance of noise that is the same in each channel by itself: what is grey of it, and what is colour."""

LEAST_JUDGED = 0.5 / 255
GREY_ROWS = 2


@dataclass(frozen=True)
class _Crop:
    noisy: torch.Tensor
    levels: torch.Tensor


class EstimatorObjective:
    """Laplace likelihood of the logarithm of every block's noise; and of that of all blocks of a crop together."""

    def __init__(self, store: ShotStore, held_out: ShotStore | None, settings: EstimatorSettings) -> None:
        """Learn from one store and be judged by another, of other scenes."""
        self._store = store
        self._held_out = held_out
        self._settings = settings
        self.photos = [store.identity]

    def stepped(self, network: nn.Module) -> nn.Module:
        """The network itself."""
        return network

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean negative log likelihood of new crops, all of one size."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, 5, step, rank])
        side = int(rng.choice(settings.sides))
        count = round(batch * (max(settings.sides) / side) ** 2)
        crops = [self._crop(side, rng) for _ in range(count)]
        noisy = torch.cat([crop.noisy for crop in crops]).contiguous(memory_format=torch.channels_last)
        truth = torch.cat([crop.levels for crop in crops])
        return levels_loss(network(noisy), truth, settings.pooled_weight)

    @torch.inference_mode()
    def judge(self, network: nn.Module) -> Judgement | None:
        """Relative error of grey noise of held-out shots: the mean over the brightnesses that they have."""
        if self._held_out is None:
            return None
        store, errors, signed = self._held_out, [], []
        for number in range(len(store)):
            table = told_table(network, store.noisy[number])
            error = table_error(table, store.tables[number], store.clean[number])
            if error is not None:
                errors.append(float(np.abs(error).mean()))
                signed.append(float(error.mean()))
        median = float(np.median(errors))
        return Judgement(np.array(errors), median, abs(float(np.median(signed))), float("nan"), float("nan"))

    def previews(self, network: nn.Module) -> list[list[NDArray[np.float32]]]:
        """There is nothing to look at."""
        return []

    def _crop(self, side: int, rng: np.random.Generator) -> _Crop:
        crop = self._shot(side, rng) if rng.random() < self._settings.store_share else self._made(side, rng)
        if rng.random() < self._settings.grey_share:
            fine, coarse, *_ = crop.levels.unbind(1)
            none = torch.zeros_like(fine)
            # Of colour noise that is the same in each channel, the mean of the channels is the grey part.
            grey = crop.noisy.mean(1, keepdim=True).expand(-1, 3, -1, -1)
            crop = _Crop(grey, torch.stack([fine, coarse, none, none], 1))
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        noisy, levels = (torch.rot90(part, turns, (2, 3)) for part in (crop.noisy, crop.levels))
        noisy, levels = (part.flip(3) if mirrored else part for part in (noisy, levels))
        blocks = avg_pool2d(levels**2, BLOCK // PATCH)
        return _Crop(noisy, 0.5 * torch.log(blocks + FAINTEST**2))

    def _shot(self, side: int, rng: np.random.Generator) -> _Crop:
        """A piece of a simulated shot, exposed anew, and now and then with white noise on top."""
        number, top, left = self._place(side, rng)
        noisy = _unit(self._store.noisy[number, top : top + side, left : left + side])
        patches = slice(top // PATCH, (top + side) // PATCH), slice(left // PATCH, (left + side) // PATCH)
        levels = torch.from_numpy(self._store.levels[number][:, *patches].astype(np.float32))[None]
        if rng.random() < 0.5:
            gain, lift = float(rng.uniform(0.4, 1.0)), float(rng.uniform(0, 0.1))
            noisy, levels = gain * noisy + lift, gain * levels
        if rng.random() < self._settings.more_noise_share:
            sigma = self._sigma(rng) / 2
            part = torch.tensor([GREY_PART, GREY_PART, COLOUR_PART, COLOUR_PART]).view(1, -1, 1, 1)
            noisy = noisy + sigma * _white(noisy.shape, rng)
            levels = (levels**2 + part * sigma**2).sqrt()
        return _Crop(noisy.clamp(0, 1), levels)

    def _made(self, side: int, rng: np.random.Generator) -> _Crop:
        """A clean picture, a drawing perhaps, with noise laid on it, or without."""
        settings = self._settings
        enlarged = rng.random() < settings.enlarged_share
        small = side // 2 if enlarged else side
        drawn = rng.random() < settings.drawing_share
        if drawn:
            clean = draw_picture(small, rng)
        else:
            number, top, left = self._place(small, rng)
            clean = _unit(self._store.clean[number, top : top + small, left : left + small])
        if rng.random() < (0.5 if drawn else settings.none_share):
            shot = Shot(clean, clean, torch.zeros_like(clean))
        elif rng.random() < 0.5:
            sigma = self._sigma(rng)
            noisy = (clean + sigma * _white(clean.shape, rng)).clamp(0, 1)
            shot = Shot(noisy, clean, noisy - clean)
        else:
            shot = plainly(clean, self._sigma(rng), rng)
        if enlarged:
            shot = Shot(*(_enlarged(part) for part in (shot.noisy, shot.clean, shot.flat)))
        if rng.random() < 0.4:
            shot = stored(shot, rng, jpeg_share=0.4, quality=(80, 100))
        return _Crop(shot.noisy.clamp(0, 1), patch_levels(shot.flat))

    def _place(self, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
        """Number of a shot, and top and left of a crop of it, on its patches."""
        room = (self._store.recipe.side - side) // PATCH + 1
        number, (top, left) = int(rng.integers(len(self._store))), rng.integers(room, size=2)
        return number, PATCH * int(top), PATCH * int(left)

    def _sigma(self, rng: np.random.Generator) -> float:
        limits = np.log([self._settings.least_sigma, self._settings.most_sigma])
        return float(np.exp(rng.uniform(*limits))) / 255


def levels_loss(said: torch.Tensor, truth: torch.Tensor, pooled_weight: float) -> torch.Tensor:
    """Mean negative log likelihood (Laplace) of each block's level, and the error of all blocks of a crop together.

    Args:
        said: what the network says, (B, 8, h, w): logarithms of the levels, and of their errors.
        truth: logarithms of the true levels, (B, 4, h, w).
        pooled_weight: weight of the second part.
    """
    told, unsure = said.chunk(2, 1)
    single = ((told - truth).abs() * torch.exp(-unsure) + unsure).mean()
    # All blocks together err by what they have in common, which is what a photo's table errs by.
    weight = torch.exp(-2 * unsure).detach()
    error = (weight * (told - truth)).sum((2, 3)) / weight.sum((2, 3))
    return torch.add(single, error.abs().mean(), alpha=pooled_weight)


def told_table(network: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The noise table, (4, 8), that a network tells of a picture (H, W, 3) whose sides are multiples of BLOCK."""
    image = _unit(pixels)
    said = network(image)[0].flatten(1).numpy()
    brightness = avg_pool2d(image.mean(1, keepdim=True), BLOCK).flatten().numpy()
    level, _ = pooled(Blocks(brightness, said[:TABLE_ROWS].T, np.exp(said[TABLE_ROWS:].T)))
    return np.asarray(np.sqrt(np.maximum(np.exp(2 * level) - FAINTEST**2, 0)), dtype=np.float32)


def table_error(
    told: NDArray[np.floating], true: NDArray[np.floating], clean: NDArray[np.uint8]
) -> NDArray[np.floating] | None:
    """Error of the logarithm of grey noise, where a picture has brightnesses and noise; None where it has no noise."""
    nodes = true.shape[1] - 1
    nearest = np.rint(clean.mean(2).ravel() / 255 * nodes).astype(int)
    share = np.bincount(nearest, minlength=nodes + 1) / len(nearest)
    seen = (share > 0.02) & (true[0] > LEAST_JUDGED)
    if not seen.any():
        return None
    ratio = np.maximum(told[:GREY_ROWS, seen], 1e-5) / np.maximum(true[:GREY_ROWS, seen], 1e-5)
    return np.asarray(np.log(ratio))


def _unit(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def _white(shape: torch.Size, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def _enlarged(image: torch.Tensor) -> torch.Tensor:
    return interpolate(image, scale_factor=2.0, mode="bicubic", align_corners=False)
