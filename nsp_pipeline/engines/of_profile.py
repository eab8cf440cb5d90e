"""What denoises with a profile: one network, or of several the one that suits the photo's noise."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.noise_kind import NoiseKind, noise_kind
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.with_pd import EngineWithPd
from nsp_pipeline.models.memory import bytes_a_pixel
from nsp_pipeline.profiles.bundle import Profile

Open = Callable[[Profile, str], Engine]
"""Opens a profile's graph of a mode."""


def open_profile_engine(profile: Profile, mode: str, pd: str, opener: Open) -> Engine:
    """Open a mode of a profile, with PD as one of PD_WORDS asks, and with its networks for other noise if it has them.

    Raises:
        UsageError: a student is asked for PD.
        ProfileError: one of those is damaged.
    """
    if pd != "auto":
        return EngineWithPd(profile.spec.inference_with(pd), lambda part: opener(profile, part))
    profiles = profile.by_noise
    engine = opener(profile, mode)
    return EngineByNoise(engine, profiles, lambda part: opener(part, mode)) if len(profiles) > 1 else engine


class EngineByNoise:
    """Runs the network that suits the noise table it is given: a photo has one table, so all its tiles are alike."""

    def __init__(
        self, smoothed: Engine, profiles: Mapping[NoiseKind, Profile], opener: Callable[[Profile], Engine]
    ) -> None:
        """Take the open engine of the first kind's profile; others are opened when a photo first needs them."""
        self._profiles, self._opener = profiles, opener
        self._engines = {NoiseKind.SMOOTHED: smoothed}
        self._one = threading.Lock()
        info, backbones = smoothed.info, [profile.spec.backbone for profile in profiles.values()]
        first, most = _bytes_a_pixel(profiles[NoiseKind.SMOOTHED]), max(map(_bytes_a_pixel, profiles.values()))
        self.info = replace(
            info,
            halo=max(info.halo, *(backbone.halo for backbone in backbones)),
            multiple=math.lcm(info.multiple, *(backbone.multiple for backbone in backbones)),
            room=info.room and info.room * first // most,
        )

    def run(
        self, image: NDArray[Any], noise: NDArray[np.float32] | None = None, *, of_light: bool = False
    ) -> NDArray[np.float32]:
        """See Engine.run; without a table, the network for what cameras have smoothed.

        Noise `of_light` (see NoiseLevel) is never white: the network for white noise has not seen such.
        """
        known = set(self._profiles) - ({NoiseKind.WHITE} if of_light else set())
        kind = NoiseKind.SMOOTHED if noise is None else noise_kind(noise, known)
        if kind is NoiseKind.SMOOTHED:
            return self._engines[kind].run(image, noise)
        with self._one:
            if kind not in self._engines:
                self._engines[kind] = self._opener(self._profiles[kind])
            engine = self._engines[kind]
            if not engine.info.shared:
                # Another engine than the first may have been trusted with this network.
                return engine.run(to_unit(image), noise)
        return engine.run(image if engine.info.integers else to_unit(image), noise)

    def close(self) -> None:
        """Close what was opened."""
        for engine in self._engines.values():
            engine.close()


def _bytes_a_pixel(profile: Profile) -> int:
    backbone = profile.spec.backbone
    return bytes_a_pixel(backbone.name, backbone.sizes, profile.spec.inference.self_ensemble)
