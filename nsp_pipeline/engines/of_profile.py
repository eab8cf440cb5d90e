"""What denoises with a profile: one network, or the one of two that suits the photo's noise."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.noise_kind import is_unsmoothed
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.with_pd import EngineWithPd
from nsp_pipeline.models.memory import bytes_a_pixel
from nsp_pipeline.profiles.bundle import Profile

Open = Callable[[Profile, str], Engine]
"""Opens a profile's graph of a mode."""


def open_profile_engine(profile: Profile, mode: str, pd: str, opener: Open) -> Engine:
    """Open a mode of a profile, with PD as one of PD_WORDS asks, and with its second network if it has one.

    Raises:
        UsageError: a student is asked for PD.
        ProfileError: the second network is damaged.
    """
    if pd != "auto":
        return EngineWithPd(profile.spec.inference_with(pd), lambda part: opener(profile, part))
    other = profile.unsmoothed
    engine = opener(profile, mode)
    return EngineByNoise(engine, (profile, other), lambda: opener(other, mode)) if other else engine


class EngineByNoise:
    """Runs the network that suits the noise table it is given: a photo has one table, so all its tiles are alike."""

    def __init__(
        self, smoothed: Engine, profiles: tuple[Profile, Profile], open_unsmoothed: Callable[[], Engine]
    ) -> None:
        """Take the open engine of the first profile; that of the second is opened when a photo first needs it."""
        self._smoothed, self._open_unsmoothed = smoothed, open_unsmoothed
        self._unsmoothed: Engine | None = None
        self._one = threading.Lock()
        info, other = smoothed.info, profiles[1].spec.backbone
        first, most = _bytes_a_pixel(profiles[0]), max(map(_bytes_a_pixel, profiles))
        self.info = replace(
            info,
            halo=max(info.halo, other.halo),
            multiple=math.lcm(info.multiple, other.multiple),
            room=info.room and info.room * first // most,
        )

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run; without a table, the network for what cameras have smoothed."""
        if noise is None or not is_unsmoothed(noise):
            return self._smoothed.run(image, noise)
        with self._one:
            if self._unsmoothed is None:
                self._unsmoothed = self._open_unsmoothed()
            if not self._unsmoothed.info.shared:
                # Another engine than the first may have been trusted with the second network.
                return self._unsmoothed.run(to_unit(image), noise)
        return self._unsmoothed.run(image if self._unsmoothed.info.integers else to_unit(image), noise)

    def close(self) -> None:
        """Close what was opened."""
        for engine in (self._smoothed, self._unsmoothed):
            if engine:
                engine.close()


def _bytes_a_pixel(profile: Profile) -> int:
    backbone = profile.spec.backbone
    return bytes_a_pixel(backbone.name, backbone.sizes, profile.spec.inference.self_ensemble)
