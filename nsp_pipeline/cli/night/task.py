"""A group of photos to calibrate, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nsp_pipeline.calibration.night.candidates import Candidate, counted
from nsp_pipeline.calibration.night.memory import Outcome
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan

GOES_ON = "the calibration was cut off; the same command goes on with it"

Train = Callable[[Plan, Sequence[Path], Path], Made]
"""`calibrate_one`, or what stands in for it."""


@dataclass(frozen=True)
class GroupTask:
    """A group to calibrate, and how; `plan` says neither the device nor the time."""

    candidate: Candidate
    plan: Plan
    seconds: float
    """What it may take in all, earlier runs included."""
    device: str
    threads: int | None


@dataclass(frozen=True)
class GroupEnd:
    """What came of a group in this run; `reason` is a sentence for people."""

    title: str
    photos: int
    outcome: Outcome
    reason: str
    profile: str | None = None
    """Name of the profile that was kept, be it for the camera's noise alone."""
    gain: float | None = None
    gain_error: float | None = None
    """What photos gain by it over the built-in profile, in dB, and how far that may be off; None where it was not kept,
    or nobody knows."""

    def __str__(self) -> str:
        return f"{self.title}, {counted(self.photos)}: {self.reason}"
