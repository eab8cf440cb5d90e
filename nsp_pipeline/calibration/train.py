"""The training loop: crop, construct pairs, step, average, report, in the order they happen."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import l1_loss
from torch.optim.swa_utils import AveragedModel

from nsp_pipeline.calibration.crops import CropSampler
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.core.pairs import construct_pairs
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import build_backbone

HELD_OUT_CROPS = 32


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps done of steps in all, mean L1 loss (0..1) lately, steps a second."""

    step: int
    steps: int
    loss: float
    steps_per_second: float


@dataclass(frozen=True)
class Trained:
    """A trained network (averaged weights, on the CPU, in eval mode) and how it came about."""

    network: Backbone
    steps: int
    seconds: float
    loss: float
    held_out_loss: float | None


def train(
    images: Sequence[NDArray[np.generic]],
    held_out: Sequence[NDArray[np.generic]],
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train a backbone on noisy photos alone: L1 between prediction and target (paper, Eq. 7), Adam, EMA.

    Args:
        images: photos (H, W, 3), uint8, uint16 or float32 in 0..1, no side shorter than `settings.crop`.
        held_out: photos for the loss that is reported at the end; may be empty.
        device: torch device to train on.
        should_stop: asked after every step; True ends training with the network so far.
        on_step: called after every step.

    The same images, settings and thread count give the same network on one CPU.
    """
    torch.manual_seed(settings.seed)
    side = settings.crop - settings.crop % settings.s
    sampler = CropSampler(images, side, settings.seed)
    dice = torch.Generator(device).manual_seed(settings.seed)

    network = build_backbone(settings.backbone, settings.backbone_sizes)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedModel(network, avg_fn=_running_average(settings.ema_decay))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    scheduler = _schedule(optimizer, settings)

    started = time.monotonic()
    losses: list[float] = []
    step = 0
    for step in range(1, settings.steps + 1):
        loss = _loss(network, sampler.draw(settings.batch).to(device), settings, dice)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        averaged.update_parameters(network)

        losses.append(loss.item())
        recent = losses[-100:]
        on_step(Progress(step, settings.steps, sum(recent) / len(recent), step / (time.monotonic() - started)))
        if should_stop():
            break

    result = cast(Backbone, averaged.module.cpu().eval())
    with torch.inference_mode():
        judged = [_loss(result, crop, settings, dice_cpu).item() for crop, dice_cpu in _judging_crops(held_out, side)]
    return Trained(
        network=result,
        steps=step,
        seconds=time.monotonic() - started,
        loss=sum(losses[-100:]) / len(losses[-100:]),
        held_out_loss=sum(judged) / len(judged) if judged else None,
    )


def _running_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """Exponential moving average whose memory grows to `decay`, so that a short training forgets its random start."""

    def average(mean: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        warming = (1.0 + float(count)) / (10.0 + float(count))
        return mean.lerp(current, 1.0 - min(decay, warming))

    return average


def _loss(network: nn.Module, crops: torch.Tensor, settings: TrainingSettings, dice: torch.Generator) -> torch.Tensor:
    """Mean L1 over the Cartesian product of inputs and targets of one batch of crops."""
    inputs, targets = construct_pairs(crops, settings.geometry, dice)
    if settings.inputs_per_step:
        # The deal was a shuffle, so the first ones are as random as any.
        inputs = inputs[:, : settings.inputs_per_step]
    flat = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast(flat.device.type, dtype=torch.bfloat16, enabled=settings.bf16):
        predicted = network(flat).float().unflatten(0, inputs.shape[:2])
    pairs = torch.broadcast_tensors(predicted[:, :, None], targets[:, None])  # type: ignore[no-untyped-call]
    return l1_loss(*pairs)


def _judging_crops(images: Sequence[NDArray[np.generic]], side: int) -> Iterator[tuple[torch.Tensor, torch.Generator]]:
    """Yield the same crops of the held-out photos, and the same dice for their pairs, every time."""
    if not images:
        return
    sampler = CropSampler(images, side, seed=1)
    for number in range(HELD_OUT_CROPS):
        yield sampler.draw(1), torch.Generator().manual_seed(number)


def _schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=settings.warmup or 1e-9
    )
