"""All that ships, in one go: networks for white noise first, then for other unsmoothed noise, then for cameras' own.

Networks for cameras' noise start as those for white noise (see teachers.py), so they come last, and meanwhile the
processors simulate what cameras do. What they learnt of shrunk pictures they unlearn at the end, with pictures as
cameras make them: softer, and their colours softer still.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nsp_pipeline.calibration.together.train import TogetherSettings
from nsp_pipeline.errors import UsageError

FIRST, WHITE, UNSMOOTHED, CAMERA, FULL_SIZE = "first", "white", "unsmoothed", "camera", "full-size"
WEIGHTS = ".safetensors"
TEACHER = "teacher"
BEST = "quality"
"""Of the networks for white noise, the one that teaches beside the teacher."""


@dataclass(frozen=True)
class _Stage:
    share: float
    """Of the time."""
    students: Sequence[str]
    counts: tuple[int, int, int]
    noise: str
    learning_rate: float
    photo_crops: int = 0


SCRATCH: Mapping[str, _Stage] = {FIRST: _Stage(0.8, ("fast", "standard", "quality"), (120, 120, 144), "any", 2e-3)}
"""Where there is nothing to start from: students of every noise, and the estimator beside them."""

STAGES: Mapping[str, _Stage] = {
    WHITE: _Stage(0.55, ("fast", "standard", "quality"), (384, 0, 0), "white", 1e-3),
    UNSMOOTHED: _Stage(0.17, ("fast", "standard"), (160, 160, 64), "unsmoothed", 1e-3),
    CAMERA: _Stage(0.28, ("fast", "standard", "quality"), (0, 0, 240), "any", 1e-3, 144),
}
LAST: Mapping[str, _Stage] = {FULL_SIZE: _Stage(0.2, ("fast", "standard", "quality"), (0, 0, 240), "any", 1e-3)}
"""Where there are pictures to be taken again; the others share what is left of the time."""


def all_stages(
    base: Path | None,
    out: Path,
    seconds: float,
    *,
    parts: int,
    share: float,
    side: int,
    workers: int,
    judge_every: float,
    taken: bool = False,
) -> dict[str, TogetherSettings]:
    """Settings of each stage, by its name.

    Args:
        base: weights to start from: `estimator` and STAGE/STUDENT, and the old network for cameras' noise as
            `camera/teacher`. None begins with nothing: then a first stage makes all of them, for any noise.
        out: where each stage's weights are saved, as STAGE/STUDENT.
        parts: steps in which a batch is learnt from.
        share: of the crops that STAGES has in a batch.
        taken: whether there are pictures that cameras made, for the last stage.

    Raises:
        UsageError: weights that a stage starts from are not in `base`.
    """
    camera = base / CAMERA / f"{TEACHER}{WEIGHTS}" if base else out / FIRST / f"{BEST}{WEIGHTS}"
    estimator = (base or out / FIRST) / f"estimator{WEIGHTS}"
    if base:
        first = [base / kind / f"{name}{WEIGHTS}" for kind in (WHITE, UNSMOOTHED) for name in STAGES[kind].students]
        for file in (estimator, camera, *first):
            # Now, and not when a GPU has worked for minutes.
            if not file.is_file():
                raise UsageError(f"{file} is missing: training starts from it")
    starts = {kind: base / kind if base else out / FIRST for kind in (WHITE, UNSMOOTHED)}
    starts |= {CAMERA: out / WHITE, FULL_SIZE: out / CAMERA}
    stages = {**({} if base else SCRATCH), **STAGES, **(LAST if taken else {})}
    whole = sum(stage.share for stage in stages.values())
    return {
        name: TogetherSettings(
            seconds=seconds * stage.share / whole,
            counts=(round(share * stage.counts[0]), round(share * stage.counts[1]), round(share * stage.counts[2])),
            parts=parts,
            side=side,
            workers=workers,
            pooled=100_000,
            students=stage.students,
            learning_rate=stage.learning_rate,
            judge_every=judge_every,
            noise=stage.noise,
            base=starts.get(name),
            estimator=None if name == FIRST else estimator,
            keep_estimator=name != FIRST,
            teachers=(camera, out / WHITE / f"{BEST}{WEIGHTS}") if name == CAMERA else None,
            photo_crops=round(share * stage.photo_crops),
            taken_again=name == FULL_SIZE,
        )
        for name, stage in stages.items()
    }
