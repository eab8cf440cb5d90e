"""What becomes of each photo and of a run: plain values for the terminal, the log and JSON."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nsp_pipeline.errors import NspError
from nsp_pipeline.file_names import printable


class Outcome(StrEnum):
    """What became of one photo in this run."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """One photo's end; `reason` says why it was skipped or failed."""

    name: str
    """The input, as text for a terminal."""
    outcome: Outcome
    reason: str | None = None
    output: str | None = None
    profile: str | None = None
    why: str | None = None
    engine: str | None = None
    provider: str | None = None
    seconds: float = 0.0
    megapixels: float = 0.0
    strength: float | None = None
    noise_before: float | None = None
    noise_after: float | None = None
    traceback: str | None = None
    """Of a bug of ours."""
    precision: str | None = None
    fallback: str | None = None
    """Why a faster engine or precision did not make it, if one was tried."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not known is left out."""
        values = {**vars(self), "outcome": str(self.outcome)}
        return {key: value for key, value in values.items() if value is not None}


class Ended(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    TIME_UP = "time up"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped by an error"


@dataclass(frozen=True)
class Summary:
    """A whole run; `remaining` photos were not come to, `fatal` is what stopped it."""

    root: Path
    results: tuple[Result, ...]
    remaining: int
    seconds: float
    ended: Ended
    fatal: NspError | None = None

    def of(self, outcome: Outcome) -> list[Result]:
        """The results with this outcome."""
        return [result for result in self.results if result.outcome == outcome]

    @property
    def megapixels_per_second(self) -> float:
        """Pixels denoised over the run's whole time."""
        return sum(result.megapixels for result in self.of(Outcome.DONE)) / max(self.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """The document that --json prints."""
        return {
            "summary": {
                "output": printable(self.root),
                "ended": str(self.ended),
                **{str(outcome): len(self.of(outcome)) for outcome in Outcome},
                "remaining": self.remaining,
                "seconds": round(self.seconds, 3),
                "megapixels_per_second": round(self.megapixels_per_second, 4),
                "error": str(self.fatal) if self.fatal else None,
            },
            "photos": [result.as_json() for result in self.results],
        }
