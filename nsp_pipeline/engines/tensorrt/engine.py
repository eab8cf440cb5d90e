"""TensorRT and TensorRT-RTX, directly: engines built from a profile's ONNX, kept, and run without PyTorch."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline import __version__
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.engines.cache_folder import cache_folder
from nsp_pipeline.engines.cuda.device import Gpu, count_gpus, find_gpu, use_gpu
from nsp_pipeline.engines.cuda.gate import GATE
from nsp_pipeline.engines.cuda.lanes import OnLanes, open_lanes
from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo
from nsp_pipeline.engines.onnx.half_precision import to_half
from nsp_pipeline.engines.onnx.model_file import checked_model, without_default
from nsp_pipeline.engines.onnx.unit_pixels import unit_graph_of_bytes
from nsp_pipeline.engines.tensorrt.build import (
    NAMES,
    BuildError,
    BuildOptions,
    build_engine,
    collecting_logger,
    import_tensorrt,
)
from nsp_pipeline.engines.tensorrt.cache import EngineCache, EngineKey
from nsp_pipeline.engines.tensorrt.loaded import LoadedEngine, Loader
from nsp_pipeline.engines.tensorrt.on_stream import Loaded, OnStream
from nsp_pipeline.engines.tensorrt.size_range import SizeRange, default_range
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import Profile

FLAVOURS = ("tensorrt", "tensorrt-rtx")
TURING = "7.5"
"""The one compute capability that TensorRT-RTX builds for only when asked."""


def unavailable(flavour: str) -> str | None:
    """Why a flavour cannot run here, with what mends it; None where its module and a CUDA device are there."""
    try:
        import_tensorrt(flavour)
        find_gpu(0)
    except MissingCapabilityError as error:
        return str(error)
    return None


def this_machine() -> dict[str, dict[str, frozenset[str]]]:
    """By flavour that is installed: what the parts of an engine's key can be here. Without a GPU, versions only."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    try:
        gpus = [find_gpu(index) for index in range(count_gpus())]
    except MissingCapabilityError:
        gpus = []
    for flavour in FLAVOURS:
        try:
            version = str(import_tensorrt(flavour).__version__)
        except MissingCapabilityError:
            continue
        found[flavour] = {"version": frozenset({version}), "nsp": frozenset({__version__})}
        if gpus:
            found[flavour] |= {
                "gpu": frozenset(gpu.name for gpu in gpus),
                "compute_capability": frozenset(gpu.compute_capability for gpu in gpus),
                "driver": frozenset(gpu.driver for gpu in gpus),
            }
    return found


class TensorRtEngine(OnLanes):
    """A profile's graph on a GPU through TensorRT or TensorRT-RTX."""

    def __init__(
        self,
        profile: Profile,
        checked: EngineInfo,
        *,
        flavour: str,
        precision: str,
        device: int = 0,
        on_build: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take the engine from the cache, or build it.

        Args:
            checked: what another engine, which has looked at the graph and its metadata, says of it.
            flavour: one of FLAVOURS.
            precision: "fp32" or "fp16".
            device: index of the GPU.
            on_build: takes lines for the user about building and the cache.

        Raises:
            MissingCapabilityError: the flavour is not installed, or there is no such GPU.
            ProfileError: the profile's graph is not what nsp writes.
            BuildError: TensorRT cannot build the graph, or not load what it has built.
            MemoryError: the GPU's memory is full.
        """
        trt = import_tensorrt(flavour)
        gpu = find_gpu(device)
        content, _ = checked_model(profile, checked.mode)
        if checked.noise_conditioned:
            content = without_default(content, NOISE_INPUT)
        self.sizes = default_range(checked.multiple, checked.tile)
        named = replace(checked, profile=profile.spec.network)  # what a camera's profile has of its base is built once
        self._key = _key(trt, gpu, named, content, flavour=flavour, precision=precision, sizes=self.sizes)
        cache = EngineCache(cache_folder(), on_build)

        def build() -> bytes:
            return _build(self._key, content, self.sizes, cache, on_build)

        use_gpu(device)
        logger = collecting_logger(trt)
        self._loader = Loader(trt, logger, trt.Runtime(logger), cache, on_build)
        self._network = self._loader.load(self._key, build)
        self._kernels = self._network.kernels
        self._device, self._one = device, threading.Lock()
        self._units: dict[np.dtype[Any], LoadedEngine | None] = {}
        loaded = Loaded(self._network.new_context, self._new_unit, logger, checked.noise_conditioned)
        captures = self._kernels is None
        self._lanes = open_lanes(device, checked.scale, lambda stream: OnStream(loaded, stream, captures=captures))
        self._where = f"cuda:{device}"
        provider = f"{NAMES[flavour]} {self._key.version} on {gpu.name}"
        most = min(self.sizes.most)
        self.info = replace(
            checked, name=flavour, provider=provider, precision=precision, most=most, shared=True, integers=True
        )

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run.

        Raises SizeRangeError for sizes that the engine was not built for, EngineFailedError when it breaks down.
        """
        self.sizes.require(image.shape[2:])
        taken = image.dtype.kind != "u" or self._takes(image.dtype)
        return super().run(image if taken else to_unit(image), noise)

    def close(self) -> None:
        """Keep what was compiled while it ran, and give back memory and device."""
        # In this order: a context must not outlive its engine, nor that its runtime.
        self._lanes.close()
        for engine in (self._network, *self._units.values()):
            if engine:
                engine.close()
        del self._lanes, self._kernels, self._network, self._units, self._loader

    def _takes(self, kind: np.dtype[Any]) -> bool:
        """Whether integers of a type can be copied as they are; the first time, what makes 0..1 of them is loaded."""
        with self._one:
            if kind not in self._units:
                self._units[kind] = self._load_unit(kind)
            return self._units[kind] is not None

    def _load_unit(self, kind: np.dtype[Any]) -> LoadedEngine | None:
        """An engine of its own: that of the network, which may take minutes to build, is the same for all photos."""
        content = unit_graph_of_bytes(kind)
        key = replace(
            self._key, mode=f"{kind.name}-to-unit", precision="fp32", model_sha256=hashlib.sha256(content).hexdigest()
        )
        cache, on_build = self._loader.cache, self._loader.on_build

        def build() -> bytes:
            return _build(key, content, self.sizes.wider(kind.itemsize), cache, on_build, image="pixels")

        try:
            with GATE.alone():
                use_gpu(self._device)
                return self._loader.load(key, build)
        except (BuildError, MemoryError) as error:
            on_build(f"{error}; photos of {kind.name} are copied as float32")
            return None

    def _new_unit(self, kind: np.dtype[Any]) -> Any:
        unit = self._units[kind]
        assert unit
        return unit.new_context()


def _key(
    trt: Any, gpu: Gpu, checked: EngineInfo, content: bytes, *, flavour: str, precision: str, sizes: SizeRange
) -> EngineKey:
    return EngineKey(
        flavour=flavour,
        version=str(trt.__version__),
        nsp=__version__,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        profile=checked.profile,
        mode=checked.mode,
        precision=precision,
        sizes=f"{sizes}, best {sizes.best[0]}x{sizes.best[1]}",
        model_sha256=hashlib.sha256(content).hexdigest(),
    )


def _build(
    key: EngineKey,
    content: bytes,
    sizes: SizeRange,
    cache: EngineCache,
    on_build: Callable[[str], None],
    image: str = "image",
) -> bytes:
    on_build(f"building the {NAMES[key.flavour]} engine of {key.profile} ({key.mode}, {key.precision}) for {key.gpu}")
    for_turing = key.flavour == "tensorrt-rtx" and key.compute_capability == TURING
    options = BuildOptions((TURING,) if for_turing else (), cache.timings(key), image, on_build)
    graph = to_half(content) if key.precision == "fp16" else content
    engine, timings = build_engine(key.flavour, graph, sizes, options)
    if timings:
        cache.keep_timings(key, timings)
    return engine
