"""Noisy pictures and settings small enough to train on in seconds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny import SIZES

from nsp_pipeline.calibration.next_scale import NextScaleLesson
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.calibration.train import Course, Trained, train


def noisy_picture(seed: int, side: int = 120, sigma: float = 0.05) -> NDArray[np.uint8]:
    """Smooth blobs with independent Gaussian noise: (side, side, 3) uint8."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [
        np.sin(2 * np.pi * (dice.uniform(1, 4) * x + dice.uniform(1, 4) * y) + dice.uniform(0, 6)) for _ in range(3)
    ]
    clean = 0.5 + 0.3 * np.stack(waves, 2)
    return np.asarray((clean + dice.normal(0, sigma, clean.shape)).clip(0, 1) * 255 + 0.5, dtype=np.uint8)


def small_settings(**changes: object) -> TrainingSettings:
    """A training of some steps; `changes` replace settings."""
    fields = {key: value for key, value in SIZES.items() if key != "scale"}
    small = {"crop": 40, "batch": 2, "steps": 12, "judge_every": 4, "inputs_per_step": 3, "pd_factor": 1}
    return TrainingSettings.model_validate({**fields, **small, **changes})


def train_on(
    images: Sequence[NDArray[Any]], held_out: Sequence[NDArray[Any]], settings: TrainingSettings, **options: Any
) -> Trained:
    """Train by next-scale prediction; `options` are those of the course."""
    return train(NextScaleLesson(images, held_out, settings), settings, course=Course(**options))
