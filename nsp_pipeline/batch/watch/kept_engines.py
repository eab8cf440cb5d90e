"""Engines that stay open from one run to the next."""

from collections import OrderedDict
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.batch.engine_pool import OPEN_ENGINES
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.profiles.bundle import Profile

MUCH = 1e4
"""Megapixels: an engine that stays open has more before it than the photos that are there now."""


class KeptEngine:
    """An engine whose runs do not close it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.held = 0
        """How often it was opened and not closed yet."""

    @property
    def info(self) -> EngineInfo:
        """See Engine."""
        return self.engine.info

    @info.setter
    def info(self, info: EngineInfo) -> None:
        self.engine.info = info

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine."""
        return self.engine.run(image) if noise is None else self.engine.run(image, noise)

    def close(self) -> None:
        """It stays open; KeptEngines closes it when it needs room."""
        self.held -= 1


class KeptEngines:
    """Engines of runs past and present. A context manager, which closes them at its end.

    As many are kept as one run has open at a time; more only while a run holds more, as with --pd.
    """

    def __init__(self, sources: Sources) -> None:
        self._open_engine = sources.open_engine
        self._kept: OrderedDict[tuple[str, str], KeptEngine] = OrderedDict()
        self.sources = replace(sources, open_engine=self.open_engine)
        """The sources, with engines that stay open."""

    def open_engine(self, profile: Profile, *, mode: str, **options: Any) -> KeptEngine:
        """See engines.choose.open_engine; options are the same for all of one command."""
        key = (profile.sha256, mode)
        if key not in self._kept:
            self._make_room()
            self._kept[key] = KeptEngine(self._open_engine(profile, mode=mode, **{**options, "megapixels": MUCH}))
        self._kept.move_to_end(key)
        self._kept[key].held += 1
        return self._kept[key]

    def _make_room(self) -> None:
        """Close what was opened longest ago, but nothing that a run holds."""
        idle = [key for key, kept in self._kept.items() if not kept.held]
        for key in idle[: max(0, len(self._kept) - OPEN_ENGINES + 1)]:
            self._kept.pop(key).engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kept in self._kept.values():
            kept.engine.close()
