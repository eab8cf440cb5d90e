"""PD at inference other than the profile's own, from graphs that every blind profile has.

What `sr` enlarges holds the estimates of all t² sub-images, one in each place of every t×t cell, and what `sr-direct`
enlarges is the network's output for the whole image. So both ways to denoise are a matter of means, and need neither
PyTorch nor another graph.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.shuffle import pixel_shuffle_down
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.profiles.spec import InferenceSpec

OpenMode = Callable[[str], Engine]
"""Opens a profile's graph of a mode."""


class EngineWithPd:
    """Denoises as it is asked to: (1, 3, H, W) float32 in 0..1 in and out."""

    def __init__(self, inference: InferenceSpec, open_mode: OpenMode) -> None:
        """Open what is needed; raises what that raises."""
        self._inference = inference
        self._whole: Engine | None = None
        self._phases: Engine | None = None
        try:
            if inference.pd_factor > 1:
                self._phases = open_mode("sr")
            if inference.pd_factor == 1 or inference.whole_share:
                self._whole = open_mode("sr-direct")
        except BaseException:
            self.close()
            raise
        opened = [engine.info for engine in (self._phases, self._whole) if engine]
        info = replace(
            opened[0],
            # Where the two differ, both are named.
            provider=" and ".join(dict.fromkeys(part.provider for part in opened)),
            precision="/".join(dict.fromkeys(part.precision for part in opened)),
            fallback="; ".join(dict.fromkeys(part.fallback for part in opened if part.fallback)),
            shared=all(part.shared for part in opened),
            integers=False,
        )
        # An estimate that is moved about looks one sub-image pixel farther.
        farther = inference.pd_factor if inference.shifted_grids else 0
        self._scale = info.scale
        self.info = replace(info, mode="denoise", scale=1, halo=info.halo + farther)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run; only blind-spot networks have PD, and they take no noise table."""
        denoised = np.zeros_like(image)
        share = self._inference.whole_share
        if self._phases:
            phases = pixel_shuffle_down(self._phases.run(image)[0], self._scale)
            joined = on_shifted_grids(phases, self._scale) if self._inference.shifted_grids else phases.mean(0)
            denoised += np.float32(1 - share) * joined
        if self._whole:
            cells = pixel_shuffle_down(self._whole.run(image)[0], self._scale)
            denoised += np.float32(share or 1.0) * cells.mean(0)
        return denoised

    def close(self) -> None:
        """Close what was opened."""
        for engine in (self._phases, self._whole):
            if engine:
                engine.close()


def on_shifted_grids(estimates: NDArray[np.float32], t: int) -> NDArray[np.float32]:
    """Mean of the sub-images' estimates, (t², C, H, W) -> (C, H, W), over all t² placements of the PD grid.

    A pixel of phase k stands at place j of its cell in one of them; there its estimate is moved by k - j. At the border
    the outermost pixels stand in for what a moved estimate does not cover.
    """
    height, width = estimates.shape[2:]
    wide = np.pad(estimates, ((0, 0), (0, 0), (t - 1, t - 1), (t - 1, t - 1)), mode="edge")
    total = np.zeros(estimates.shape[1:], np.float32)
    for phase, grid in np.ndindex(t * t, t * t):
        top, left = (t - 1 + grid // t - phase // t, t - 1 + grid % t - phase % t)
        total += wide[phase, :, top : top + height, left : left + width]
    return total / np.float32(t**4)
