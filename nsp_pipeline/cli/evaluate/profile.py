"""The profile that `nsp evaluate` is asked to measure, opened on its engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console

from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.denoise.known_noise import known_noise
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.engines.with_pd import EngineWithPd
from nsp_pipeline.evaluation.datasets.pairs import Pair
from nsp_pipeline.evaluation.measure import NoisyAndClean
from nsp_pipeline.frames.read import read_facts
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import InferenceSpec


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, whatever is to be done with it."""

    profile: str
    engine: str
    device: str
    precision: str
    inference: InferenceSettings

    @cached_property
    def _found(self) -> Profile:
        return find_profile(self.profile)

    def open(self, on_build: Callable[[str], None]) -> Engine:
        """Open the profile on the engine."""
        return open_profile_engine(
            self._found,
            self.inference.mode,
            self.inference.pd,
            lambda part, mode: self._open_mode(part, mode, on_build),
        )

    def known(self, pair: NoisyAndClean) -> NoisePrior | None:
        """What the profile knows of the noise of a pair's noisy photo, by what its file says of the camera."""
        if self._found.camera_noise is None or not isinstance(pair, Pair):
            return None
        facts = read_facts(pair.noisy)
        return known_noise(self._found, facts.kind, facts.camera)

    def open_as_in_the_paper(self, on_build: Callable[[str], None]) -> Engine:
        """Open a blind profile with PD by t and the plain mean over the sub-images (paper, Sec. 3.4)."""
        inference = InferenceSpec(pd_factor=self._found.spec.backbone.scale)
        return EngineWithPd(inference, lambda mode: self._open_mode(self._found, mode, on_build))

    def _open_mode(self, profile: Profile, mode: str, on_build: Callable[[str], None]) -> Engine:
        return open_engine(
            profile,
            mode=mode,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            on_build=on_build,
        )


@contextmanager
def opened(open_engine: Callable[[Callable[[str], None]], Engine]) -> Iterator[Engine]:
    """Open an engine, print what it fell back to, and close it at the end."""
    console = Console(stderr=True)
    engine = open_engine(lambda line: say(console, line))
    if engine.info.fallback:
        say(console, engine.info.fallback)
    try:
        yield engine
    finally:
        engine.close()
