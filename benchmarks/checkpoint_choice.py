"""What it costs to choose a checkpoint without clean photos: the best by held-out noisy loss against the best by truth.

    python benchmarks/checkpoint_choice.py PHOTOS --noisy DIR --clean DIR [--recipe NAME] [--max-time 8m]

Trains on PHOTOS as `nsp calibrate` does; those with ground truth are kept out of the training. Each judged checkpoint
is scored on the middle of the pairs of --noisy and --clean as well, which the choice never sees.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.calibration.next_scale.objective import NextScaleObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.publish import base_network
from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.crops import to_tensor
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.calibration.training.photos import load_photos
from nsp_pipeline.cli.shared.quantities import DurationType
from nsp_pipeline.evaluation.datasets.pairs import find_pairs
from nsp_pipeline.evaluation.metrics import psnr, to_eight_bit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import InferenceSpec
from nsp_pipeline.recipe import load_recipe

Pixels = NDArray[np.generic]


class WatchedLesson(NextScaleObjective):
    """The same objective, which notes the true score of every network that it judges."""

    def __init__(
        self,
        images: Sequence[Pixels],
        held_out: Sequence[Pixels],
        settings: NextScaleSettings,
        pairs: list[tuple[Pixels, Pixels]],
    ) -> None:
        super().__init__(images, held_out, settings)
        self._pairs = pairs
        self._inference = InferenceSpec(pd_factor=settings.pd_factor or settings.t)
        self.seen: list[tuple[float, float]] = []

    def judge(self, network: Backbone) -> Judgement | None:
        """Judge as ever, and print what the judgement does not know."""
        found = super().judge(network)
        assert found is not None, "too few photos to keep one out"
        scores = [self._score(network, noisy, clean) for noisy, clean in self._pairs]
        self.seen.append((found.mean, float(np.mean(scores))))
        print(f"{len(self.seen):3d}  held-out MSE {found.mean:.4e}  true PSNR {self.seen[-1][1]:.3f} dB", flush=True)
        return found

    def _score(self, network: Backbone, noisy: Pixels, clean: Pixels) -> float:
        estimate = denoised(network, to_tensor(noisy)[None], self._inference)[0].clamp(0, 1)
        return psnr(to_eight_bit(estimate.permute(1, 2, 0).numpy()), to_eight_bit(clean))


def main() -> None:
    """Train, and print each checkpoint's two scores and what the choice lost."""
    parser = argparse.ArgumentParser(description="Judge the choice of checkpoints.")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--recipe", default="camera-scratch")
    parser.add_argument("--max-time", default="8m")
    parser.add_argument("--side", type=int, default=480, help="side of the part of each pair that is scored")
    asked = parser.parse_args()

    fields = load_recipe(asked.recipe, "calibrate", [*NextScaleSettings.model_fields, "base"])
    base = find_profile(name) if (name := fields.pop("base", None)) else None
    if base:
        fields = {
            **base.spec.backbone.sizes,
            "t": base.spec.backbone.scale,
            "backbone": base.spec.backbone.name,
        } | fields
        fields.pop("scale", None)
    # What the noise decides is left at its default: all checkpoints are scored alike.
    fields = {key: value for key, value in fields.items() if value != "auto"}
    settings = NextScaleSettings.model_validate(fields)
    found = find_pairs(asked.noisy, asked.clean)
    pairs = [tuple(middle(pixels, asked.side) for pixels in pair.load()) for pair in found]
    known = {pair.noisy.name for pair in found}
    files = [path for path in find_photos(asked.photos).paths if path.name not in known]
    photos = load_photos(files, smallest_side=settings.crop, memory=settings.memory, seed=settings.seed)
    images, held_out = ([photo.pixels for photo in part] for part in (photos.training, photos.held_out))
    objective = WatchedLesson(images, held_out, settings, pairs)  # type: ignore[arg-type]
    print(f"{len(images)} photos, {len(held_out)} held out, {len(pairs)} pairs, recipe {asked.recipe}", flush=True)

    seconds = DurationType().convert(asked.max_time, None, None)
    train(objective, settings, base=base_network(base, settings) if base else None, run=RunOptions(max_seconds=seconds))
    # The network that a training starts from is judged first, but is no checkpoint of it.
    losses, truths = np.array(objective.seen[1 if base else 0 :]).T
    chosen, best = int(losses.argmin()), int(truths.argmax())
    print(f"chosen by held-out noisy loss: checkpoint {chosen + 1} of {len(losses)}, {truths[chosen]:.3f} dB")
    print(f"best by ground truth:          checkpoint {best + 1} of {len(losses)}, {truths[best]:.3f} dB")
    print(f"lost by not knowing the truth: {truths[best] - truths[chosen]:.3f} dB")


def middle(pixels: Pixels, side: int) -> Pixels:
    """The square of that side in the middle of (H, W, 3)."""
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


if __name__ == "__main__":
    main()
