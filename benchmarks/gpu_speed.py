"""Megapixels a second of shipped profiles on a GPU, by every way there is to run them, with parity, in one run.

    python benchmarks/gpu_speed.py [--profile fast --profile standard ...] [--size 1 --size 24 --size 100]

From tiles in the machine's memory to estimates in the machine's memory; tiles have one size for all ways. What fills
and blends them, decoding and encoding are `nsp bench --device cuda`'s to say. A line of JSON for each profile, way and
size; what is not installed, or does not run, is a line with its reason. Parity is the PSNR in dB against ONNX Runtime
on the CPU in float32, of a piece of the picture.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.core.tiling import plan_tiles
from nsp_pipeline.denoise.in_order import in_order
from nsp_pipeline.denoise.photo import TOGETHER, InferenceSettings
from nsp_pipeline.denoise.tiles import tile_shape
from nsp_pipeline.engines.cuda.device import find_gpu
from nsp_pipeline.engines.cuda.lanes import OnLanes
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.engines.onnx.on_cuda import OnnxCudaEngine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CUDA
from nsp_pipeline.engines.tensorrt.engine import TensorRtEngine
from nsp_pipeline.engines.torch.engine import TorchEngine
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.speed.memory import gpu_memory
from nsp_pipeline.speed.photo import noisy_photo

SIZES = {1: (1024, 1024), 24: (4096, 6000), 100: (8192, 12288)}
"""Height and width by megapixels."""

PIECE = 512, 768
PASSES = 3
DISTINCT = 6
"""Tiles that are cut out; larger pictures show them again."""


@dataclass(frozen=True)
class Way:
    """A way to run a profile: its name, and what opens it on a GPU, given what the reference says of the graph."""

    name: str
    open: Callable[[Profile, EngineInfo, int], Engine]


def eager(profile: Profile, info: EngineInfo, gpu: int) -> Engine:
    """PyTorch in float32 (TF32 off), operator by operator."""
    return TorchEngine(profile, info, precision="fp32", device=f"cuda:{gpu}")


def compiled(profile: Profile, info: EngineInfo, gpu: int) -> Engine:
    """PyTorch in float16 by autocast, compiled for the shape of the tiles."""
    import torch

    engine = TorchEngine(profile, info, precision="fp16", device=f"cuda:{gpu}")
    engine._graph = torch.compile(engine._graph, dynamic=False)
    return engine


def plain(precision: str) -> Callable[[Profile, EngineInfo, int], Engine]:
    """ONNX Runtime on CUDA, which copies in and out by itself."""
    return lambda profile, info, gpu: OnnxRuntimeEngine(
        profile, mode=info.mode, provider=CUDA, precision=precision, device=gpu
    )


def bound(*, graphs: bool) -> Callable[[Profile, EngineInfo, int], Engine]:
    """ONNX Runtime on CUDA, bound to memory of two lanes, with CUDA graphs or without."""
    return lambda profile, info, gpu: OnnxCudaEngine(profile, info, precision="fp16", device=gpu, graphs=graphs)


def tensorrt(flavour: str) -> Callable[[Profile, EngineInfo, int], Engine]:
    """TensorRT or TensorRT-RTX, directly."""
    return lambda profile, info, gpu: TensorRtEngine(profile, info, flavour=flavour, precision="fp16", device=gpu)


WAYS = (
    Way("PyTorch fp32 eager", eager),
    Way("PyTorch fp16 compiled", compiled),
    Way("ONNX Runtime CUDA fp32", plain("fp32")),
    Way("ONNX Runtime CUDA fp16", plain("fp16")),
    Way("ONNX Runtime CUDA fp16, bound", bound(graphs=False)),
    Way("ONNX Runtime CUDA fp16, bound, graphs", bound(graphs=True)),
    Way("TensorRT-RTX fp16", tensorrt("tensorrt-rtx")),
    Way("TensorRT fp16", tensorrt("tensorrt")),
)


class Picture:
    """A noisy photo, its noise, and its tiles, as an engine takes them."""

    def __init__(self, size: tuple[int, int], info: EngineInfo) -> None:
        self.megapixels = size[0] * size[1] / 1e6
        pixels = noisy_photo(*size)
        self.noise = estimate_noise(pixels).table if info.noise_conditioned else None
        reach = InferenceSettings().reach
        height, width = (-(-side // info.multiple) * info.multiple for side in size)
        shape = tile_shape(info, None, reach, (height, width))
        tiles = list(plan_tiles(height, width, tile=shape, halo=info.halo + reach, multiple=info.multiple))
        wide = np.pad(pixels, ((0, height - size[0]), (0, width - size[1]), (0, 0)), mode="edge")
        self.count = len(tiles)
        stored = [
            np.ascontiguousarray(
                wide[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop].transpose(2, 0, 1)[None]
            )
            for tile in tiles[:DISTINCT]
        ]
        self.tiles: list[NDArray[Any]] = stored if info.integers else [to_unit(tile) for tile in stored]

    def seconds(self, engine: Engine) -> float:
        """One pass over all tiles, as many together as `nsp denoise` has in hand."""
        noise = () if self.noise is None else (self.noise,)
        begun = time.perf_counter()
        together = TOGETHER if engine.info.shared else 1
        for _ in in_order(lambda tile: engine.run(tile, *noise), islice(cycle(self.tiles), self.count), together):
            pass
        return time.perf_counter() - begun


def rows_of(way: Way, profile: Profile, sizes: Sequence[int], gpu: int) -> Iterator[dict[str, Any]]:
    """A row for each size, or one with the reason why there are none."""
    reference = OnnxRuntimeEngine(profile, mode="denoise")
    before = gpu_memory(gpu)
    try:
        with closing(way.open(profile, reference.info, gpu)) as engine:
            psnr = round(parity(engine, reference), 1)
            for megapixels in sizes:
                row = {"MP": megapixels, **timed(engine, Picture(SIZES[megapixels], engine.info)), "parity dB": psnr}
                held = gpu_memory(gpu)
                yield row if held is None or before is None else {**row, "GPU GiB": round((held - before) / 2**30, 2)}
            if engine.info.fallback:
                yield {"note": engine.info.fallback}
    except Exception as error:  # every library has classes of its own; the next way is tried
        yield {"skipped": (str(error).strip() or type(error).__name__).splitlines()[0]}


def timed(engine: Engine, picture: Picture) -> dict[str, Any]:
    """Rate of a picture, and of copies and computing apart where the engine knows them."""
    picture.seconds(engine)
    seconds: list[float] = []

    def passes() -> None:
        seconds.extend(picture.seconds(engine) for _ in range(PASSES))

    spent = None
    if isinstance(engine, OnLanes):
        spent = engine.spent_on(passes)
    else:
        passes()
    row: dict[str, Any] = {"MP/s": round(picture.megapixels / statistics.median(seconds), 1), "tiles": picture.count}
    if spent:
        for name, taken in (("in", spent.copy_in), ("compute", spent.compute), ("out", spent.copy_out)):
            row[f"{name} MP/s"] = round(PASSES * picture.megapixels / max(taken, 1e-9), 1)
    return row


def parity(engine: Engine, reference: Engine) -> float:
    """PSNR in dB of a piece against the reference (infinite where they agree to the bit)."""
    pixels = noisy_photo(*PIECE)
    noise = (estimate_noise(pixels).table,) if reference.info.noise_conditioned else ()
    image = to_unit(pixels).transpose(2, 0, 1)[None].copy()
    difference = engine.run(image, *noise).astype(np.float64) - reference.run(image, *noise)
    return psnr_of(float((difference**2).mean()))


def main() -> None:
    """Print the rows."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--profile", action="append", help="name or path; may be repeated (default: the students)")
    asked.add_argument("--size", action="append", type=int, choices=list(SIZES), help="megapixels; may be repeated")
    asked.add_argument("--gpu", type=int, default=0, help="its number")
    given = asked.parse_args()
    try:
        print(json.dumps({"GPU": str(find_gpu(given.gpu))}), flush=True)
    except Exception as error:
        print(json.dumps({"GPU": None, "reason": str(error)}), flush=True)
    for name in given.profile or ("fast", "standard", "quality"):
        for way in WAYS:
            for row in rows_of(way, find_profile(name), given.size or list(SIZES), given.gpu):
                print(json.dumps({"profile": name, "way": way.name, **row}), flush=True)


if __name__ == "__main__":
    main()
