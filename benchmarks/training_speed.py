"""Steps a second of the trainer against a plain one of the same network, side by side in one run.

    python benchmarks/training_speed.py [--steps N]

The plain trainer: float32, default memory layout, a Python loop over patches to construct pairs. Both see crops of
240×240, batch 4, s = 5, t = 2, n = 1, six inputs a patch, and the recipe `camera-scratch`'s DBSN.
"""

import argparse
import time

import numpy as np
import torch
from pair_construction import loop_over_patches
from torch.nn.functional import l1_loss

from nsp_pipeline.calibration.next_scale import NextScaleLesson
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.calibration.train import Course, Progress, train
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street
from nsp_pipeline.models.registry import build_backbone
from nsp_pipeline.recipe import load_recipe

WARM_UP = 3


def main() -> None:
    """Alternate between the two, and print the median step of each and their ratio."""
    parser = argparse.ArgumentParser(description="Time training steps.")
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    fields = load_recipe("camera-scratch", "calibrate", TrainingSettings.model_fields)
    settings = TrainingSettings.model_validate({**fields, "steps": WARM_UP + steps})
    picture = add_camera_noise(night_street(600, 800), shot=0.01, read=0.005, seed=0)
    image = from_unit(picture, np.dtype(np.uint8))

    ours: list[float] = []
    plain: list[float] = []
    for _ in range(2):
        ours += our_steps(image, settings)[WARM_UP:]
        plain += plain_steps(image, settings)[WARM_UP:]
    print(f"threads              {torch.get_num_threads()}")
    print(f"nsp calibrate        {1 / float(np.median(ours)):7.2f} steps/s")
    print(f"plain trainer        {1 / float(np.median(plain)):7.2f} steps/s")
    print(f"ratio                {float(np.median(plain) / np.median(ours)):7.2f}")


def our_steps(image: "np.typing.NDArray[np.generic]", settings: TrainingSettings) -> list[float]:
    """Seconds of each step of the trainer."""
    ticks = [time.perf_counter()]

    def tick(progress: Progress) -> None:
        ticks.append(time.perf_counter())

    train(NextScaleLesson([image], [], settings), settings, course=Course(on_step=tick))
    return list(np.diff(ticks))


def plain_steps(image: "np.typing.NDArray[np.generic]", settings: TrainingSettings) -> list[float]:
    """Seconds of each step of the plain trainer."""
    network = build_backbone(settings.backbone, settings.backbone_sizes)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    dice = np.random.default_rng(0)
    seconds = []
    for _ in range(settings.steps):
        begun = time.perf_counter()
        corners = [
            (int(dice.integers(side - settings.crop + 1)) for side in image.shape[:2]) for _ in range(settings.batch)
        ]
        crops = [image[y : y + settings.crop, x : x + settings.crop] for y, x in corners]
        batch = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255
        inputs, target = (torch.from_numpy(array) for array in loop_over_patches(batch, dice))
        few = inputs[:, : settings.inputs_per_step]
        predicted = network(few.flatten(0, 1)).unflatten(0, few.shape[:2])
        loss = l1_loss(predicted, target[:, None].expand_as(predicted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    return seconds


if __name__ == "__main__":
    main()
