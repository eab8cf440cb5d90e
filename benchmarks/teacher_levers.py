"""What each departure from the paper's training is worth, one by one, at equal compute.

    python benchmarks/teacher_levers.py PHOTOS --noisy DIR --clean DIR [--seconds 150]

The same small DBSN is trained on PHOTOS from nothing, once as in the paper (crops of 160, one `consecutive` target, a
constant rate of 1e-4, no average of the weights, no local-mean skip), once for each lever alone, and once with all of
them. Every training takes the same seconds of one core: how many steps that is, is measured first. Photos with ground
truth are kept out; scores are of the middle of those, with PD by t as in the paper and without PD.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from checkpoint_choice import Pixels, middle

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.crops import to_tensor
from nsp_pipeline.calibration.training.loop import train
from nsp_pipeline.calibration.training.photos import load_photos
from nsp_pipeline.evaluation.datasets.pairs import find_pairs
from nsp_pipeline.evaluation.metrics import psnr, ssim, to_eight_bit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.spec import InferenceSpec

NETWORK = {"backbone": "dbsn", "base_channels": 32, "modules": 4, "batch": 4, "inputs_per_step": 6}
PAPER = {
    "local_mean_skip": False,
    "crop": 160,
    "n": 1,
    "strategy": "consecutive",
    "learning_rate": 1e-4,
    "schedule": "constant",
    "ema_decay": 0.0,
}
LEVERS: dict[str, dict[str, object]] = {
    "local-mean skip": {"local_mean_skip": True},
    "average of the weights": {"ema_decay": 0.995},
    "one-cycle rate to 2e-3": {"learning_rate": 2e-3, "schedule": "one-cycle"},
    "crops of 320": {"crop": 320},
    "4 intersected targets": {"n": 4, "strategy": "intersected"},
}
TRIAL_STEPS = 8


def main() -> None:
    """Train each, and print a line with its steps and scores."""
    parser = argparse.ArgumentParser(description="Measure the levers of a teacher's training.")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--side", type=int, default=480, help="side of the part of each pair that is scored")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = find_pairs(asked.noisy, asked.clean)
    pairs = [tuple(middle(pixels, asked.side) for pixels in pair.load()) for pair in found]
    known = {pair.noisy.name for pair in found}
    files = [path for path in find_photos(asked.photos).paths if path.name not in known]
    images = [photo.pixels for photo in load_photos(files, smallest_side=320, memory=2 << 30, seed=0).training]

    everything = {key: value for lever in LEVERS.values() for key, value in lever.items()}
    rows = {"as in the paper": {}, **LEVERS, "all of them": everything}
    # The first training of a process takes longer: that must not pass for what the first row's steps take.
    seconds_a_step(images, NextScaleSettings.model_validate({**NETWORK, **PAPER}))
    print(f"{'':52} {'steps':>6}  with PD by t     without PD")
    for name, changes in rows.items():
        settings = NextScaleSettings.model_validate({**NETWORK, **PAPER, **changes})
        steps = max(1, int(asked.seconds / seconds_a_step(images, settings)))
        network = train(NextScaleObjective(images, [], settings), settings.model_copy(update={"steps": steps})).network
        scores = [score(network, pairs, factor) for factor in (settings.t, 1)]
        columns = "  ".join(f"{found:5.2f} / {alike:.4f}" for found, alike in scores)
        print(f"{name:52} {steps:6d}  {columns}", flush=True)


def seconds_a_step(images: list[Pixels], settings: NextScaleSettings) -> float:
    """Seconds of a core that a step takes: other work on the machine does not count."""
    trial = settings.model_copy(update={"steps": TRIAL_STEPS})
    began = time.process_time()
    train(NextScaleObjective(images, [], trial), trial)
    return (time.process_time() - began) / TRIAL_STEPS


def score(network: Backbone, pairs: list[tuple[Pixels, ...]], factor: int) -> tuple[float, float]:
    """Mean PSNR and SSIM with PD by `factor`."""
    scores = []
    for noisy, clean in pairs:
        estimate = denoised(network, to_tensor(noisy)[None], InferenceSpec(pd_factor=factor))[0].clamp(0, 1)
        picture = to_eight_bit(estimate.permute(1, 2, 0).numpy())
        scores.append((psnr(picture, to_eight_bit(clean)), ssim(picture, to_eight_bit(clean))))
    mean = np.mean(scores, 0)
    return float(mean[0]), float(mean[1])


if __name__ == "__main__":
    main()
