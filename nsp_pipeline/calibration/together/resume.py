"""Where a training of several stages is, in a file: the stage at work, and its state when it was last judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.calibration.training.checkpoint import save_checkpoint
from nsp_pipeline.errors import OutputError, UsageError

RUN_ONLY = ("workers", "pooled", "judge_every", "refresh_every")
"""Settings that say how a training is run, and not what is learnt: the machine that goes on may be another one."""


@dataclass(frozen=True)
class Identity:
    """By what a checkpoint knows that it is of the same training."""

    settings: list[dict[str, str]]
    pictures: list[list[list[int]]]

    @classmethod
    def of(cls, stages: Sequence[Mapping[str, Any]], pictures: Sequence[Sequence[NDArray[np.uint8]]]) -> "Identity":
        """Of the settings of each stage, and the shapes of all pictures, by what they are for."""
        return cls(
            [{name: str(value) for name, value in stage.items() if name not in RUN_ONLY} for stage in stages],
            [[list(picture.shape) for picture in some] for some in pictures],
        )


def place(checkpoint: Mapping[str, Any], identity: Identity) -> tuple[int, dict[str, Any] | None]:
    """The stage that a training goes on with, counted from 0, and its state; None where it begins with it.

    Raises UsageError when the checkpoint is of another training.
    """
    if checkpoint.get("settings") != identity.settings:
        raise UsageError("the checkpoint was made with other settings; resume with the same command")
    if checkpoint["pictures"] != identity.pictures:
        raise UsageError("the checkpoint was made with other pictures; resume with the same ones, or start again")
    return checkpoint["stage"], checkpoint["state"]


def step_in(checkpoint: Mapping[str, Any] | None, stage: int) -> int:
    """The step that a stage, counted from 0, goes on from; 0 where it begins."""
    if not checkpoint or checkpoint.get("stage") != stage or not checkpoint["state"]:
        return 0
    step: int = checkpoint["state"]["step"]
    return step


@dataclass(frozen=True)
class Kept:
    """A training's checkpoint, in a file or, where that is None, nowhere."""

    path: Path | None
    identity: Identity
    say: Callable[[str], None]

    def keep(self, stage: int, state: Mapping[str, Any] | None) -> None:
        """Put it in the place of the last one, which stays where this one cannot be written."""
        if not self.path:
            return
        try:
            save_checkpoint(self.path, {**asdict(self.identity), "stage": stage, "state": state})
        except OutputError as error:
            self.say(f"{error}; training goes on, and the last checkpoint stays")

    def remove(self) -> None:
        """Forget it: the training has come to its end."""
        if self.path:
            self.path.unlink(missing_ok=True)
