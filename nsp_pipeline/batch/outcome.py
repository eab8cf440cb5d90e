"""What becomes of each photo and of a run: plain values for the terminal, the log and JSON."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from nsp_pipeline.batch.provenance import Provenance
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
    """Why that profile."""
    made: Provenance = field(default_factory=Provenance)
    traceback: str | None = None
    """Of a bug of ours."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not known is left out."""
        values = {**vars(self), "outcome": str(self.outcome), **self.made.as_json(), "made": None}
        return {key: value for key, value in values.items() if value is not None}


class Ended(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    TIME_UP = "time up"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped by an error"


@dataclass(frozen=True)
class Summary:
    """A whole run; `fatal` is what stopped it."""

    root: Path
    results: tuple[Result, ...]
    remaining: int
    """Photos that the run did not come to, and that are not finished by the record."""
    seconds: float
    ended: Ended
    fatal: NspError | None = None
    unchecked: int = 0
    """Photos that the run did not come to, and that an earlier one has finished with the same settings."""
    file: Path | None = None
    """The one output, where OUTPUT is a file's name."""

    def of(self, outcome: Outcome) -> list[Result]:
        """The results with this outcome."""
        return [result for result in self.results if result.outcome == outcome]

    def counts(self) -> dict[str, int]:
        """How many photos were done, skipped and failed, and how many remain or were not looked at again."""
        ended = {str(outcome): len(self.of(outcome)) for outcome in Outcome}
        return {**ended, "remaining": self.remaining, "unchecked": self.unchecked}

    @property
    def damaged(self) -> list[Result]:
        """The results of photos that were made although they are damaged."""
        return [result for result in self.of(Outcome.DONE) if result.made.damaged]

    @property
    def lost(self) -> dict[str, int]:
        """What outputs could not keep of their photos' metadata, and of how many photos."""
        return dict(Counter(name for result in self.of(Outcome.DONE) for name in result.made.losses))

    @property
    def megapixels_per_second(self) -> float:
        """Pixels denoised over the run's whole time."""
        return sum(result.made.megapixels or 0.0 for result in self.of(Outcome.DONE)) / max(self.seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """The document that --json prints."""
        return {
            "summary": {
                "output": printable(self.file or self.root),
                "ended": str(self.ended),
                **self.counts(),
                "damaged": len(self.damaged),
                "lost": self.lost,
                "seconds": round(self.seconds, 3),
                "megapixels_per_second": round(self.megapixels_per_second, 4),
                "error": str(self.fatal) if self.fatal else None,
            },
            "photos": [result.as_json() for result in self.results],
        }
