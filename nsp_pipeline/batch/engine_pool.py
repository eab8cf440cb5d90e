"""The engines of a run, one for each profile, few of them open at a time."""

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import Profile

OPEN_ENGINES = 2

Opener = Callable[[Profile], Engine]


class EnginePool:
    """Engines by profile, opened when first needed; the one used longest ago makes room where `most` are open.

    `reference` opens the engine that stands in where the first one's result cannot be trusted; None: there is none.
    """

    def __init__(self, opener: Opener, reference: Opener | None = None, most: int = OPEN_ENGINES) -> None:
        self._opener = opener
        self._most = most
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
            while len(self._open) >= self._most:
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


def engine_pool(
    settings: RunSettings,
    sources: Sources,
    say: Callable[[str], None],
    most: int = OPEN_ENGINES,
    ahead: Callable[[Profile], float | None] = lambda profile: None,
) -> EnginePool:
    """The pool of a run.

    Args:
        say: takes a line for the user when an engine has to be built or measured first.
        ahead: says how many megapixels a profile has before it, None where that is not known.
    """
    on_gpu = settings.require_gpu or settings.device.startswith("cuda")
    # Who asks for the GPU is not to wait for the CPU.
    reference = None if on_gpu else lambda profile: _open_reference(profile, settings, sources)
    return EnginePool(lambda profile: _open(profile, settings, sources, say, ahead(profile)), reference, most)


def _open_reference(profile: Profile, settings: RunSettings, sources: Sources) -> Engine:
    def opener(part: Profile, mode: str) -> Engine:
        return sources.open_reference(part, mode=mode, threads=settings.threads)

    return open_profile_engine(profile, settings.inference.mode, settings.inference.pd, opener)


def _open(
    profile: Profile, settings: RunSettings, sources: Sources, say: Callable[[str], None], megapixels: float | None
) -> Engine:
    def opener(part: Profile, mode: str) -> Engine:
        return sources.open_engine(
            part,
            mode=mode,
            engine=settings.engine,
            device="cuda" if settings.require_gpu and settings.device == "auto" else settings.device,
            precision=settings.precision,
            threads=settings.threads,
            on_build=say,
            megapixels=megapixels,
        )

    engine = open_profile_engine(profile, settings.inference.mode, settings.inference.pd, opener)
    if settings.require_gpu and "CPU" in engine.info.provider:
        engine.close()
        raise MissingCapabilityError(
            f"--require-gpu: {engine.info.name} would run on {engine.info.provider}; `nsp doctor` says what is missing"
        )
    return engine
