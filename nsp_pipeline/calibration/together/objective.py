"""What the estimator and students of a training learn: the losses of each batch."""

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from nsp_pipeline.calibration.estimator.objective import levels_loss
from nsp_pipeline.calibration.simulation.camera_noise import halved
from nsp_pipeline.calibration.student.objective import FAINTEST
from nsp_pipeline.core.noise import PATCH
from nsp_pipeline.models.noise_net import BLOCK
from nsp_pipeline.models.noise_net import FAINTEST as FAINTEST_LEVEL

LEFT, STRENGTH, POWER = 4.0 / 255, 10.0 / 255, 0.6
"""About the root-mean-square error that is left of white noise of such a strength, and the power by which it grows."""

SHARP_WEIGHT, POOLED_WEIGHT = 0.1, 1.0


def estimator_loss(network: nn.Module, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """How far the network is from the true levels of pictures (B, 3, S, S): (B, 4, S/16, S/16), by its own doubt."""
    truth = 0.5 * torch.log(avg_pool2d(levels**2, BLOCK // PATCH) + FAINTEST_LEVEL**2)
    return levels_loss(network(noisy), truth, POOLED_WEIGHT)


def student_loss(
    estimate: torch.Tensor, noisy: torch.Tensor, clean: torch.Tensor, sharp: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Mean and root-mean-square error in parts of each crop's own noise; that of the finer picture counts a little."""
    weight = 1 / (FAINTEST + ((noisy - clean) ** 2).mean((1, 2, 3)).sqrt())
    coarse = halved(estimate) - clean
    error = (coarse.abs().mean((1, 2, 3)) + ((coarse**2).mean((1, 2, 3)) + 1e-8).sqrt()) / 2
    fine = (known * (estimate - sharp).abs()).mean((1, 2, 3))
    return (weight * (error + SHARP_WEIGHT * fine)).mean()


def white_loss(estimate: torch.Tensor, noisy: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean squared error in parts of what is about left of white noise as strong as each crop's, so that all count."""
    noise = ((noisy - clean) ** 2).mean((1, 2, 3)).sqrt() + 1 / 255
    left = LEFT * (noise / STRENGTH) ** POWER
    return (((halved(estimate) - clean) ** 2).mean((1, 2, 3)) / left**2).mean()
