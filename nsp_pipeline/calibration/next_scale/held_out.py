"""Judging a network without clean photos: its loss on held-out noisy photos.

The noise of a target is independent of the input, so E|F(input) - target|² = E|F(input) - clean|² + σ². Between two
networks on the same pairs σ² cancels: the one with the lower noisy loss is the one nearer to the clean photo.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.crops import places, to_tensor
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.core.noise import measure_noise
from nsp_pipeline.core.pairs import construct_pairs

CROPS = 64
INPUTS = 4
"""Inputs of a crop that are tried; more would add little, as all share the target's noise."""

FLAT_SHARE = 0.5
EDGE_SHARE = 0.1


class HeldOut:
    """The same crops of the held-out photos, and the same pairs of them, for every network that is judged."""

    def __init__(self, images: Sequence[NDArray[np.generic]], settings: NextScaleSettings) -> None:
        """Cut the crops: places without overlap, as many from each photo as its share of all.

        Args:
            images: whole photos (H, W, 3), uint8, uint16 or float32 in 0..1, kept out of training.
            settings: those of the training.
        """
        self._settings = settings
        self._inputs: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []
        self._variances: list[NDArray[np.float32]] = []
        side = settings.crop - settings.crop % settings.s
        rng = np.random.default_rng(settings.seed + 1)
        share = CROPS // max(1, len(images))
        for image in images:
            # Measured in full where it is flat, however coarse: leaking noise is just the coarse one.
            noise = measure_noise(image)
            for top, left in places(image, side, max(1, share), rng):
                crop = to_tensor(image[top : top + side, left : left + side])[None]
                generator = torch.Generator().manual_seed(len(self._inputs))
                inputs, targets = construct_pairs(crop, settings.geometry, generator)
                self._inputs.append(inputs[0, :INPUTS])
                self._targets.append(targets[0])
                self._variances.append(noise.at(_smooth(targets[0, 0]).mean(0).numpy()) / np.float32(3))

    def __len__(self) -> int:
        return len(self._inputs)

    @torch.inference_mode()
    def judge(self, network: nn.Module) -> Judgement:
        """Run a network over all pairs, in float32 on its own device."""
        device = next(network.parameters()).device
        squares, absolutes, biases, ratios = [], [], [], []
        for inputs, targets, variance in zip(self._inputs, self._targets, self._variances, strict=True):
            predicted = network(inputs.to(device)).float().cpu()
            difference = predicted[:, None] - targets[None]
            squares.append(float((difference**2).mean()))
            absolutes.append(float(difference.abs().mean()))
            biases.append(difference.mean((0, 1, 3, 4)).numpy())
            ratios.append(_residual_ratios(predicted[0], difference[0, 0], variance))
        flat, edge = np.array(ratios).T if ratios else (np.array([np.nan]), np.array([np.nan]))
        known = np.isfinite(flat)
        return Judgement(
            mse=np.array(squares),
            l1=float(np.mean(absolutes)),
            drift=float(np.abs(np.mean(biases, 0)).max() * 255),
            leak=float(np.median(flat[known])) if known.any() else float("nan"),
            edges=float(np.median(edge[known] / flat[known])) if known.any() else float("nan"),
        )


def _smooth(image: torch.Tensor) -> torch.Tensor:
    """Mean over 5×5 pixels; (C, H, W) in and out."""
    return avg_pool2d(image[None], 5, stride=1, padding=2, count_include_pad=False)[0]


def _residual_ratios(
    predicted: torch.Tensor, difference: torch.Tensor, variance: NDArray[np.float32]
) -> tuple[float, float]:
    """Squared residual over noise variance: in the flattest places and at the strongest edges of a prediction."""
    if not (variance > 0).all():
        return float("nan"), float("nan")
    grey = _smooth(predicted).mean(0).numpy()
    down, across = np.gradient(grey)
    steepness = np.hypot(down, across)
    ratio = (difference**2).mean(0).numpy() / variance
    flat = steepness <= np.quantile(steepness, FLAT_SHARE)
    edge = steepness >= np.quantile(steepness, 1 - EDGE_SHARE)
    return float(ratio[flat].mean()), float(ratio[edge].mean())
