"""How long the training of a student takes on this machine: some of its steps, on crops drawn at random."""

import time
from copy import deepcopy

import torch

from nsp_pipeline.calibration.student.objective import student_loss
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.models.backbone import Backbone

WARM_UP, TIMED = 1, 2


def training_seconds(settings: StudentSettings, first: Backbone, device: str) -> float:
    """Measure a few steps (seconds), and return how long all of them take.

    Args:
        settings: as they will be trained with.
        first: the network that training starts from.
        device: torch device, such as "cpu".
    """
    network = deepcopy(first).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)
    noisy, clean = torch.rand(2, settings.batch, 3, settings.crop, settings.crop)
    sharp, table = clean.repeat_interleave(2, 2).repeat_interleave(2, 3), torch.zeros(1, TABLE_ROWS, TABLE_NODES)
    crops = [noisy, clean, sharp, torch.ones(settings.batch, 1, 1, 1), table.repeat(settings.batch, 1, 1)]
    ticks = []
    for _ in range(WARM_UP + TIMED):
        optimizer.zero_grad(set_to_none=True)
        loss = student_loss(network, crops, settings, device)
        loss.backward()
        optimizer.step()
        loss.item()
        ticks.append(time.monotonic())
    return (ticks[-1] - ticks[WARM_UP - 1]) / TIMED * settings.steps
