"""One process's part in a training: where, since when, beside whom, and who may end it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.stop_signals import StopSignals

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.loop import Progress, RunOptions, Trained
    from nsp_pipeline.calibration.training.ranks import Ranks


@dataclass(frozen=True)
class Run:
    """What a command knows of its training, settings aside; `begun` is when it began, on the monotonic clock."""

    folder: Path
    ranks: "Ranks"
    stop: StopSignals
    begun: float
    console: Console
    on_trained: "Callable[[Trained], None]" = lambda trained: None
    """Hears of the student that a calibration ends in, whatever the verdict on it will be."""

    def options(
        self, device: str, resume: bool, max_seconds: float | None, on_step: "Callable[[Progress], None]"
    ) -> "RunOptions":
        """Say the same as the training loop wants it."""
        from nsp_pipeline.calibration.training.loop import RunOptions

        return RunOptions(
            device=device,
            folder=self.folder,
            resume=resume,
            max_seconds=max_seconds,
            since=self.begun,
            ranks=self.ranks,
            should_stop=self.stop.asked,
            on_step=on_step,
            on_picture=lambda path: say(self.console, f"photos kept out of training, before and after: {path}"),
            on_trouble=lambda message: say(self.console, message, style="yellow"),
        )
