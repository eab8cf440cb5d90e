"""The engines of a run, one for each profile, few of them open at a time."""

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.profiles.bundle import Profile

OPEN_ENGINES = 2

Opener = Callable[[Profile], Engine]


class EnginePool:
    """Engines by profile, opened when first needed; the one used longest ago makes room for a third.

    `reference` opens the engine that stands in where the first one's result cannot be trusted; None: there is none.
    """

    def __init__(self, opener: Opener, reference: Opener | None = None) -> None:
        self._opener = opener
        self._reference = reference
        self._open: OrderedDict[tuple[str, bool], Engine] = OrderedDict()

    def get(self, profile: Profile) -> Engine:
        """Return the profile's engine; raises what opening it raises."""
        return self._take((profile.sha256, False), profile, self._opener)

    def reference(self, profile: Profile) -> Engine | None:
        """Return the engine that stands in for the profile's own, if there is one; raises what opening it raises."""
        return self._take((profile.sha256, True), profile, self._reference) if self._reference else None

    def _take(self, key: tuple[str, bool], profile: Profile, opener: Opener) -> Engine:
        if key not in self._open:
            while len(self._open) >= OPEN_ENGINES:
                self._open.popitem(last=False)[1].close()
            self._open[key] = opener(profile)
        self._open.move_to_end(key)
        return self._open[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in self._open.values():
            engine.close()
