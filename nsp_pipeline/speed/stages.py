"""How fast each stage of a photo's way is by itself: in a run they overlap, and the slowest bounds it."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, write_frame
from nsp_pipeline.noise.estimate import estimate_noise

STAGES = ("decode", "noise", "copy in", "compute", "copy out", "blend", "encode")
"""In the order in which a photo goes through them; an engine of the CPU copies nothing."""

TRIES = 2
"""Of which the faster counts: what else the machine does only ever slows it."""


def around_the_network(pixels: NDArray[np.generic], info: EngineInfo) -> dict[str, float]:
    """Seconds of all stages but those of the engine: decode and encode of a JPEG in one thread, noise, blend.

    "blend" is all that surrounds the network in memory: tiles are filled, blended and stored, on as many processors
    as with an engine of this `info`, whose place is taken by one that takes no time.
    """
    frame = Frame(pixels, None, Kind.PNG, Metadata(), Camera())
    noise = estimate_noise(pixels)
    with TemporaryDirectory(prefix="nsp-stages-") as folder:
        path = Path(folder) / "photo.jpg"
        _write(frame, path)
        instant = _Instant(info)
        return {
            "decode": _seconds(lambda: read_frame(path)),
            "noise": _seconds(lambda: estimate_noise(pixels)),
            "blend": _seconds(lambda: denoise_frame(frame, instant, InferenceSettings(), noise=noise)),
            "encode": _seconds(lambda: _write(frame, io.BytesIO())),
        }


def bound_by(rates: dict[str, float]) -> str | None:
    """The slowest of stages, given in megapixels a second; None where there are none."""
    return min(rates, key=lambda stage: rates[stage], default=None)


def _write(frame: Frame, target: Any) -> None:
    write_frame(frame, target, kind=OutputKind.JPEG, bit_depth=None, quality=None)


def _seconds(run: Callable[[], object]) -> float:
    spent = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        run()
        spent.append(time.perf_counter() - begun)
    return min(spent)


class _Instant:
    """An engine that gives back what it gets."""

    def __init__(self, info: EngineInfo) -> None:
        self.info = info

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        return to_unit(image)

    def close(self) -> None:
        """See Engine."""
