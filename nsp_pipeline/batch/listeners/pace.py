"""How far a run is, how fast, and when it will be done: in megapixels, for photos differ in size."""

import time
from collections.abc import Callable

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.outcome import Outcome, Result

SUM_SECONDS = 1.0
"""What is left of thousands of photos is summed up no more often than this."""


class Pace:
    """Counts a run as it goes; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._work: Workload | None = None
        self._pending: set[str] = set()
        self._at_work: dict[str, float] = {}
        self._summed = (0.0, float("-inf"))
        self.total = self.ended = 0
        self.made = 0.0
        """Megapixels of photos that were made."""

    def begin(self, total: int, work: Workload | None) -> None:
        """The run starts."""
        self._work, self.total, self._began = work, total, self._clock()
        self._pending = set(work.names) if work else set()

    def working(self, name: str, share: float) -> None:
        """A photo is at its engine, this share of it done."""
        self._at_work[name] = share

    def count(self, result: Result) -> None:
        """A photo has come to its end."""
        self.ended += 1
        self._pending.discard(result.name)
        self._summed = (self._summed[0], float("-inf"))
        self._at_work.pop(result.name, None)
        if result.outcome == Outcome.DONE:
            megapixels = result.made.megapixels or 0.0
            self.made += megapixels
            if self._work:
                self._work.learn(result.name, megapixels)

    def size_of(self, name: str) -> float:
        """Megapixels of a photo, as far as that is known."""
        return self._work.megapixels(name) if self._work else 0.0

    @property
    def done(self) -> float:
        """Megapixels done, also of photos that are at their engine, or computed and not written yet."""
        return self.made + self._under_way

    @property
    def left(self) -> float:
        """Megapixels still to be done."""
        value, when = self._summed
        if self._clock() - when >= SUM_SECONDS:
            value = sum(map(self.size_of, tuple(self._pending)))
            self._summed = value, self._clock()
        return max(0.0, value - self._under_way)

    @property
    def _under_way(self) -> float:
        return sum(share * self.size_of(name) for name, share in tuple(self._at_work.items()))

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1."""
        whole = self.done + self.left
        return self.done / whole if whole else self.ended / self.total if self.total else 0.0

    @property
    def megapixels_per_second(self) -> float:
        """Since the run began."""
        seconds = self._clock() - self._began if self._began is not None else 0.0
        return self.done / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None before anything was made."""
        rate = self.megapixels_per_second
        return self.left / rate if rate else None
