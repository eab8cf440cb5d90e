"""Noisy pictures and settings small enough to train on in seconds."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from tiny import SIZES

from nsp_pipeline.calibration.next_scale import held_out as held_out_crops
from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.loop import RunOptions, Trained, train

JUDGED = 8
"""Crops to judge by, where a real training takes 64: judging takes longer than the few steps of a test."""


def noisy_picture(seed: int, side: int = 120, sigma: float = 0.05) -> NDArray[np.uint8]:
    """Smooth blobs with independent Gaussian noise: (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(2 * np.pi * (rng.uniform(1, 4) * x + rng.uniform(1, 4) * y) + rng.uniform(0, 6)) for _ in range(3)]
    clean = 0.5 + 0.3 * np.stack(waves, 2)
    return np.asarray((clean + rng.normal(0, sigma, clean.shape)).clip(0, 1) * 255 + 0.5, dtype=np.uint8)


def small_settings(**changes: object) -> NextScaleSettings:
    """A training of some steps; `changes` replace settings."""
    fields = {key: value for key, value in SIZES.items() if key != "scale"}
    small = {"crop": 40, "batch": 2, "steps": 12, "judge_every": 4, "inputs_per_step": 3, "pd_factor": 1}
    return NextScaleSettings.model_validate({**fields, **small, **changes})


def train_on(
    images: Sequence[NDArray[Any]], held_out: Sequence[NDArray[Any]], settings: NextScaleSettings, **options: Any
) -> Trained:
    """Train by next-scale prediction, judged by few crops; `options` are the run options."""
    with mock.patch.object(held_out_crops, "CROPS", JUDGED):
        objective = NextScaleObjective(images, held_out, settings)
    return train(objective, settings, run=RunOptions(**options))
