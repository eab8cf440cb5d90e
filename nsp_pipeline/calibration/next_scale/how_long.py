"""How long a calibration takes on this machine: some of its steps, on a picture drawn at random."""

import time

import numpy as np

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.loop import Progress, RunOptions, train

WARM_UP, TIMED = 1, 2


def training_seconds(settings: NextScaleSettings, device: str) -> float:
    """Measure a few steps (seconds), and return how long all of them take.

    Args:
        settings: as they will be trained with.
        device: torch device, such as "cpu".
    """
    side = settings.crop + settings.s
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    few = settings.model_copy(update={"steps": WARM_UP + TIMED})
    ticks: list[float] = []

    def tick(progress: Progress) -> None:
        ticks.append(time.monotonic())

    train(NextScaleObjective([image], [], few, device), few, run=RunOptions(device=device, on_step=tick))
    return (ticks[-1] - ticks[WARM_UP - 1]) / TIMED * settings.steps
