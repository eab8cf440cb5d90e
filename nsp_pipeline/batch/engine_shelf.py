"""The engines of a run, one for each profile, few of them open at a time."""

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.profiles.bundle import Profile

OPEN_ENGINES = 2


class EngineShelf:
    """Engines by profile, opened when first needed; the one used longest ago makes room for a third."""

    def __init__(self, opener: Callable[[Profile], Engine]) -> None:
        self._opener = opener
        self._open: OrderedDict[str, Engine] = OrderedDict()

    def get(self, profile: Profile) -> Engine:
        """Return the profile's engine; raises what opening it raises."""
        if profile.sha256 not in self._open:
            while len(self._open) >= OPEN_ENGINES:
                self._open.popitem(last=False)[1].close()
            self._open[profile.sha256] = self._opener(profile)
        self._open.move_to_end(profile.sha256)
        return self._open[profile.sha256]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in self._open.values():
            engine.close()
