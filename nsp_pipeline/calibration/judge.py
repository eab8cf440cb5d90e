"""Judging a network without clean photos: its loss on held-out noisy photos, and what to distrust in it.

The noise of a target is independent of the input, so E|F(input) - target|² = E|F(input) - clean|² + σ². Between two
networks on the same pairs σ² cancels: the one with the lower noisy loss is the one nearer to the clean photo.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.crops import to_tensor
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.core.noise import measure_noise
from nsp_pipeline.core.pairs import construct_pairs

CROPS = 64
INPUTS = 4
"""Inputs of a crop that are tried; more would add little, as all share the target's noise."""

FLAT_SHARE = 0.5
EDGE_SHARE = 0.1
LEAK_BELOW = 0.85
"""Residual over noise variance in flat places: lower means that the target's noise could be foreseen."""

STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Judgement:
    """What a network does on held-out pairs.

    `mse` (N,) is its squared error per crop, values in 0..1, noise of the target included, and `l1` its mean absolute
    error. `drift` is the largest mean difference of a colour channel, in 8-bit steps. `leak` is the residual in flat
    places over the noise variance measured there (near 1; below `LEAK_BELOW` s is too small), and `edges` the same
    at the strongest edges over that in flat places (1 would be no detail lost); NaN where no noise could be measured.
    """

    mse: NDArray[np.float64]
    l1: float
    drift: float
    leak: float
    edges: float

    @property
    def mean(self) -> float:
        """Mean squared error over all crops."""
        return float(self.mse.mean())

    @property
    def leaks(self) -> bool:
        """Whether the error is below the noise, which only noise that was foreseen can make it."""
        return self.leak < LEAK_BELOW

    @property
    def rank(self) -> tuple[bool, float]:
        """What orders checkpoints, the best first: an error that a leak made small speaks for nothing."""
        return self.leaks, self.mean


@dataclass(frozen=True)
class Verdict:
    """Whether a network beats its base on the same pairs: `gain` is the fall in mean squared error, positive is better.

    `standard_error` is that of the gain over the crops.
    """

    accepted: bool
    gain: float
    standard_error: float
    reason: str


class HeldOut:
    """The same crops of the held-out photos, and the same pairs of them, for every network that is judged."""

    def __init__(self, images: Sequence[NDArray[np.generic]], settings: TrainingSettings) -> None:
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
        dice = np.random.default_rng(settings.seed + 1)
        share = CROPS // max(1, len(images))
        for image in images:
            noise = measure_noise(image)
            for top, left in places(image, side, max(1, share), dice):
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


def compare(candidate: Judgement, base: Judgement, what: str = "held-out squared error") -> Verdict:
    """Accept a candidate that beats its base by more than two standard errors, on the same crops; errors in `what`."""
    verdict = compare_errors(candidate.mse, base.mse, what)
    if candidate.leaks:
        reason = f"its residual is {candidate.leak:.2f} of the noise: noise leaks in, s is too small"
        return replace(verdict, accepted=False, reason=reason)
    return verdict


def compare_errors(candidate: NDArray[np.float64], base: NDArray[np.float64], what: str) -> Verdict:
    """Accept a candidate whose errors (N,) are below its base's, place by place, by more than two standard errors."""
    gains = base - candidate
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else float("inf")
    measured = f"{gain:+.3g} ± {error:.2g} in {what} over {len(gains)} crops"
    if gain > STANDARD_ERRORS * error:
        return Verdict(True, gain, error, f"better than the base by {measured}")
    return Verdict(False, gain, error, f"not better than the base by two standard errors: {measured}")


def places(image: NDArray[np.generic], side: int, count: int, dice: np.random.Generator) -> list[tuple[int, int]]:
    """Draw (top, left) of at most `count` squares of an image (H, W, ...) that do not overlap, in order."""
    rows, cols = image.shape[0] // side, image.shape[1] // side
    chosen = dice.choice(rows * cols, size=min(count, rows * cols), replace=False)
    return [(int(place) // cols * side, int(place) % cols * side) for place in np.sort(chosen)]


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
