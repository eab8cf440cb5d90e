"""One measurement in a process of its own, so that its memory is its own and a crash is its own too.

The process reads what to do as JSON from its standard input and answers with JSON in the last line of its standard
output; see `apart`, which starts it.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.denoise.tiles import seen_twice
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.cuda.lanes import OnLanes
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.errors import MissingCapabilityError, NspError
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.speed.matrix_rate import matrix_rate
from nsp_pipeline.speed.memory import gpu_memory, peak_memory
from nsp_pipeline.speed.stages import around_the_network
from nsp_pipeline.speed.work import macs_per_pixel

REAL_SIZE = 4000, 6000
"""Height and width of the photo whose tiles are told of."""

WARM_UP = 256
"""Side of the piece of the photo that goes first on a CPU: libraries load and compile before the clock runs."""

Pixels = NDArray[np.generic]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Pass:
    """What one pass of the photo took: by the clock, and of processor time in all threads."""

    seconds: float
    cpu_seconds: float


def time_engine(
    profile: str, engine: str, precision: str, device: str, threads: int | None, photo: str, seconds: float
) -> Answer:
    """Open a profile on an engine and time the whole way of a photo in memory: noise, tiles, engine, blend, store."""
    index = int(device.partition(":")[2] or 0)
    before = gpu_memory(index)
    begun = time.perf_counter()
    opened = open_engine(
        find_profile(profile), mode="denoise", engine=engine, device=device, precision=precision, threads=threads
    )
    start = time.perf_counter() - begun
    gpu = "cpu" not in opened.info.provider.lower()
    watched = _Watched(opened)
    spent = _time_passes(lambda pixels: _denoised(pixels, watched), photo, seconds, gpu=gpu)
    held = gpu_memory(index) if gpu else None
    info = opened.info
    engine_seconds = statistics.median(watched.passes[-len(spent) :])
    pixels: Pixels = np.load(photo)
    return {
        **_outcome(start, spent, held - before if held is not None and before is not None else None),
        "gpu": gpu,
        "engine": info.name,
        "provider": info.provider,
        "precision": info.precision,
        "note": info.fallback,
        "engine_seconds": engine_seconds,
        "stages": {**_in_the_engine(opened, engine_seconds, pixels), **around_the_network(pixels, info)},
        "seen_twice": seen_twice(info, REAL_SIZE, InferenceSettings().reach) if info.tiling == "exact" else None,
    }


def _in_the_engine(engine: Engine, seconds: float, pixels: Pixels) -> dict[str, float]:
    """Seconds by the clock of a photo's stages on the device; no copies where none are seen apart from computing."""
    if not isinstance(engine, OnLanes):
        return {"compute": seconds}
    taken = engine.spent_on(lambda: denoise_pixels(pixels, engine, InferenceSettings()))
    return {"copy in": taken.copy_in, "compute": taken.compute, "copy out": taken.copy_out}


def _denoised(pixels: Pixels, engine: "_Watched") -> object:
    engine.begin()
    return denoise_pixels(pixels, engine, InferenceSettings())


class _Watched:
    """An engine, and how many seconds of each photo it was at work, with one tile or several."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.passes: list[float] = []
        self._counting = threading.Lock()
        self._inside = 0
        self._begun = 0.0

    @property
    def info(self) -> EngineInfo:
        """See Engine."""
        return self._engine.info

    @info.setter
    def info(self, info: EngineInfo) -> None:
        self._engine.info = info

    def begin(self) -> None:
        """Another photo comes."""
        self.passes.append(0.0)

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine."""
        with self._counting:
            if not self._inside:
                self._begun = time.perf_counter()
            self._inside += 1
        try:
            return self._engine.run(image) if noise is None else self._engine.run(image, noise)
        finally:
            with self._counting:
                self._inside -= 1
                if not self._inside:
                    self.passes[-1] += time.perf_counter() - self._begun

    def close(self) -> None:
        """See Engine."""
        self._engine.close()


def time_authors_way(profile: str, device: str, threads: int | None, photo: str, seconds: float) -> Answer:
    """Time the authors' inference in eager PyTorch, on the GPU where there is one and `device` allows it."""
    try:
        import torch

        from nsp_pipeline.speed.authors_way import authors_way
    except ImportError as error:
        raise MissingCapabilityError(
            f"the authors' way needs PyTorch ({error}): pip install 'nsp-pipeline[cpu,train]'"
        ) from None
    if threads:
        torch.set_num_threads(threads)
    gpu = device != "cpu" and torch.cuda.is_available()
    begun = time.perf_counter()
    denoise = authors_way(find_profile(profile), ("cuda" if device == "auto" else device) if gpu else "cpu")
    start = time.perf_counter() - begun
    spent = _time_passes(denoise, photo, seconds, gpu=gpu)
    provider = f"PyTorch {torch.cuda.get_device_name() if gpu else 'CPU'}"
    held = torch.cuda.max_memory_reserved() if gpu else None
    return {
        **_outcome(start, spent, held),
        "gpu": gpu,
        "engine": "eager",
        "provider": provider,
        "precision": "fp32",
        "note": "",
    }


def count_work(profile: str) -> Answer:
    """Count the multiply-adds of a profile's network for one pixel."""
    return {"macs_per_pixel": macs_per_pixel(find_profile(profile))}


def measure_rate(precision: str, gpu: bool, threads: int | None) -> Answer:
    """Measure the machine's matrix rate."""
    return {"flops": matrix_rate(precision, gpu=gpu, threads=threads)}


def _time_passes(run: Callable[[Pixels], object], photo: str, seconds: float, *, gpu: bool) -> list[Pass]:
    """Time each pass of the photo; as many passes as `seconds` hold, at least one, after one to warm up.

    GPU libraries choose their algorithms anew for every shape, so there the whole photo warms up.
    """
    pixels: Pixels = np.load(photo)
    run(pixels if gpu else pixels[:WARM_UP, :WARM_UP])
    passes: list[Pass] = []
    while not passes or sum(one.seconds for one in passes) < seconds:
        begun, computed = time.perf_counter(), time.process_time()
        run(pixels)
        passes.append(Pass(time.perf_counter() - begun, time.process_time() - computed))
    return passes


def _outcome(start: float, spent: list[Pass], gpu_bytes: int | None) -> Answer:
    return {
        "start_seconds": start,
        "seconds": statistics.median(one.seconds for one in spent),
        "cpu_seconds": statistics.median(one.cpu_seconds for one in spent),
        "passes": len(spent),
        "peak_bytes": peak_memory(),
        "gpu_bytes": gpu_bytes,
    }


TASKS: dict[str, Callable[..., Answer]] = {
    "engine": time_engine,
    "authors": time_authors_way,
    "work": count_work,
    "rate": measure_rate,
}


def main() -> None:
    """Run the task given on the command line, and print its answer or the reason for refusing it, as JSON."""
    asked = json.load(sys.stdin)
    try:
        answer = TASKS[asked.pop("task")](**asked)
    except NspError as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {"refused": "not enough memory; try a smaller --size"}
    # Libraries may have printed and not ended their line.
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
