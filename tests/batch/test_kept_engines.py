"""Engines that stay open while watching: none is closed under a run that uses it, and few stay open."""

from functools import partial
from typing import Any

import numpy as np
from fake_engine import FakeEngine, fake_profile, fake_sources

from nsp_pipeline.batch.engine_pool import OPEN_ENGINES, engine_pool
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.batch.watch.kept_engines import KeptEngines
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.with_pd import EngineWithPd
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.spec import InferenceSpec

IMAGE = np.zeros((1, 3, 8, 8), np.float32)
PROFILES = [fake_profile(str(number), str(number) * 64) for number in range(4)]


class StrictEngine(FakeEngine):
    """Refuses to run once it is closed."""

    def run(self, image: Any, noise: Any = None) -> Any:
        assert not self.closed, f"{self.info.profile} runs after it was closed"
        return super().run(image, noise)


class Opened(list[StrictEngine]):
    """Opens strict engines, and remembers them."""

    def __call__(self, profile: Any, *, mode: str, **options: Any) -> StrictEngine:
        self.append(StrictEngine(profile, mode))
        return self[-1]

    def still(self) -> int:
        return sum(not engine.closed for engine in self)


def test_photos_of_many_cameras_in_any_order_never_meet_a_closed_engine() -> None:
    opened, settings = Opened(), RunSettings(InferenceSettings())
    with KeptEngines(fake_sources(open_engine=opened)) as kept:
        for order in ((0, 1, 0, 2, 0, 1, 3), (0, 3, 0, 1)):
            with engine_pool(settings, kept.sources, lambda line: None) as pool:
                for number in order:
                    pool.get(PROFILES[number]).run(IMAGE)
                    assert opened.still() <= OPEN_ENGINES
        before = len(opened)
        with engine_pool(settings, kept.sources, lambda line: None) as pool:
            pool.get(PROFILES[1]).run(IMAGE)
        assert len(opened) == before, "the next run finds it open"
    assert opened.still() == 0


def _open_mode(sources: Sources, profile: Profile, mode: str) -> Engine:
    return sources.open_engine(profile, mode=mode)


def test_engines_of_two_parts_are_kept_whole_and_given_back_with_their_run() -> None:
    opened = Opened()
    both = InferenceSpec(pd_factor=2, whole_share=0.5)
    with KeptEngines(fake_sources(open_engine=opened)) as kept:
        for first, second in ((0, 1), (2, 3)):
            engines = [
                EngineWithPd(both, partial(_open_mode, kept.sources, PROFILES[number])) for number in (first, second)
            ]
            for engine in (*engines, *engines):
                engine.run(IMAGE)
            for engine in engines:
                engine.close()
        assert opened.still() == 4, "no more than the last run held at a time"
