"""Steps a second of the trainer against a plain one of the same network, side by side in one run.

    python benchmarks/training_speed.py [--recipe NAME] [--batch N] [--rounds N]

The plain trainer: float32, eager, default memory layout, a Python loop over patches to construct pairs. Both train the
recipe's network on its crops and pairs; without options that is `camera-scratch`: DBSN, crops of 240×240, batch 4,
s = 5, t = 2, n = 1, six inputs a patch. They run alternately, and the quickest step of each counts:
other work on the machine only ever slows a step down. On a busy machine processor time says more than the clock.
"""

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from pair_construction import loop_over_patches
from torch.nn.functional import l1_loss

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.loop import Progress, RunOptions, train
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street
from nsp_pipeline.models.registry import build_backbone
from nsp_pipeline.recipe import load_recipe

Pixels = NDArray[np.generic]
Seconds = tuple[float, float]
WARM_UP, STEPS = 1, 3


def main() -> None:
    """Alternate between the two, and print the quickest step of each and their ratio."""
    parser = argparse.ArgumentParser(description="Time training steps.")
    parser.add_argument("--recipe", default="camera-scratch")
    parser.add_argument("--batch", type=int, help="instead of the recipe's")
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args()
    fields = load_recipe(asked.recipe, "calibrate", NextScaleSettings.model_fields)
    # What noise or time decides has no part in a step.
    fields = {key: value for key, value in fields.items() if value != "auto"} | {"steps": WARM_UP + STEPS}
    settings = NextScaleSettings.model_validate(fields | ({"batch": asked.batch} if asked.batch else {}))
    picture = add_camera_noise(night_street(600, 800), shot=0.01, read=0.005, seed=0)
    image = from_unit(picture, np.dtype(np.uint8))

    ours: list[Seconds] = []
    plain: list[Seconds] = []
    for _ in range(asked.rounds):
        ours += our_steps(image, settings)[WARM_UP:]
        plain += plain_steps(image, settings)[WARM_UP:]
    print(f"recipe               {asked.recipe}, batch {settings.batch}, {torch.get_num_threads()} threads")
    for kind, name in enumerate(("wall", "CPU")):
        quickest, quickest_plain = (min(step[kind] for step in steps) for steps in (ours, plain))
        print(f"{name:4} seconds a step   {quickest:.3f} against {quickest_plain:.3f}: {quickest_plain / quickest:.2f}")


def now() -> Seconds:
    """Seconds of the clock, and of CPU that this process took."""
    return time.perf_counter(), time.process_time()


def between(ticks: Sequence[Seconds]) -> list[Seconds]:
    """What passed from each tick to the next."""
    return [(later[0] - sooner[0], later[1] - sooner[1]) for sooner, later in pairwise(ticks)]


def our_steps(image: Pixels, settings: NextScaleSettings) -> list[Seconds]:
    """Seconds of each step of the trainer; in bfloat16, whatever a recipe of the paper's settings says."""
    ticks = [now()]

    def tick(progress: Progress) -> None:
        ticks.append(now())

    ours = settings.model_copy(update={"bf16": True})
    train(NextScaleObjective([image], [], ours), ours, run=RunOptions(on_step=tick))
    return between(ticks)


def plain_steps(image: Pixels, settings: NextScaleSettings) -> list[Seconds]:
    """Seconds of each step of the plain trainer."""
    network = build_backbone(settings.backbone, settings.backbone_sizes)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    rng = np.random.default_rng(0)
    ticks = [now()]
    for _ in range(settings.steps):
        corners = [
            (int(rng.integers(side - settings.crop + 1)) for side in image.shape[:2]) for _ in range(settings.batch)
        ]
        crops = [image[y : y + settings.crop, x : x + settings.crop] for y, x in corners]
        batch = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        inputs, target = (torch.from_numpy(array) for array in loop_over_patches(batch, rng))
        few = inputs[:, : settings.inputs_per_step]
        predicted = network(few.flatten(0, 1)).unflatten(0, few.shape[:2])
        loss = l1_loss(predicted, target[:, None].expand_as(predicted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ticks.append(now())
    return between(ticks)


if __name__ == "__main__":
    main()
