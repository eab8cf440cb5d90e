"""TensorRT and TensorRT-RTX, directly: engines built from a profile's ONNX, kept, and run without PyTorch."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline import __version__
from nsp_pipeline.engines.cache_folder import cache_folder
from nsp_pipeline.engines.cuda.device import Gpu, count_gpus, find_gpu, use_gpu
from nsp_pipeline.engines.cuda.lanes import OnLanes, open_lanes
from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo
from nsp_pipeline.engines.onnx.half_precision import to_half
from nsp_pipeline.engines.onnx.model_file import checked_model, without_default
from nsp_pipeline.engines.tensorrt.build import (
    NAMES,
    BuildError,
    BuildOptions,
    build_engine,
    collecting_logger,
    import_tensorrt,
)
from nsp_pipeline.engines.tensorrt.cache import EngineCache, EngineKey
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
        self._trt = import_tensorrt(flavour)
        gpu = find_gpu(device)
        content, _ = checked_model(profile, checked.mode)
        if checked.noise_conditioned:
            content = without_default(content, NOISE_INPUT)
        self.sizes = default_range(checked.multiple, checked.tile)
        named = replace(checked, profile=profile.spec.network)  # what a camera's profile has of its base is built once
        self._key = _key(self._trt, gpu, named, content, flavour=flavour, precision=precision, sizes=self.sizes)
        self._cache = EngineCache(cache_folder(), on_build)

        def build() -> bytes:
            return _build(self._key, content, self.sizes, self._cache, on_build)

        use_gpu(device)
        self._logger = collecting_logger(self._trt)
        self._runtime = self._trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(self._cache.engine(self._key, build))
        if self._engine is None:
            on_build("the engine in the cache cannot be loaded any more; built anew")
            self._engine = self._runtime.deserialize_cuda_engine(self._cache.rebuilt(self._key, build))
        if self._engine is None:
            raise BuildError(f"{NAMES[flavour]} cannot load what it has built: {'; '.join(self._logger.errors)}")
        self._kernels: Any = None
        how = self._how_to_run()
        loaded = Loaded(lambda: self._engine.create_execution_context(how), self._logger, checked.noise_conditioned)
        captures = self._kernels is None
        self._lanes = open_lanes(device, checked.scale, lambda stream: OnStream(loaded, stream, captures=captures))
        self._where = f"cuda:{device}"
        provider = f"{NAMES[flavour]} {self._key.version} on {gpu.name}"
        most = min(self.sizes.most)
        self.info = replace(checked, name=flavour, provider=provider, precision=precision, most=most, shared=True)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run.

        Raises SizeRangeError for sizes that the engine was not built for, EngineFailedError when it breaks down.
        """
        self.sizes.require(image.shape[2:])
        return super().run(image, noise)

    def close(self) -> None:
        """Keep what was compiled while it ran, and give back memory and device."""
        if self._kernels is not None:
            compiled = bytes(self._kernels.serialize())
            if compiled != self._cache.kernels(self._key):
                self._cache.keep_kernels(self._key, compiled)
        # In this order: a context must not outlive its engine.
        self._lanes.close()
        del self._lanes, self._kernels, self._engine, self._runtime

    def _how_to_run(self) -> Any:
        """How contexts are made: without memory of their own, so that they get what each image's size needs."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(self._trt, "IRuntimeCache"):
            return strategy
        # TensorRT-RTX compiles kernels on the GPU at hand when it first runs them.
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        self._kernels = config.create_runtime_cache()
        if known := self._cache.kernels(self._key):
            self._kernels.deserialize(known)
        config.set_runtime_cache(self._kernels)
        if hasattr(self._trt, "CudaGraphStrategy"):
            # It knows when the kernels for a shape are compiled; captured from without, others would be in the graph.
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return config


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
    key: EngineKey, content: bytes, sizes: SizeRange, cache: EngineCache, on_build: Callable[[str], None]
) -> bytes:
    on_build(f"building the {NAMES[key.flavour]} engine of {key.profile} ({key.mode}, {key.precision}) for {key.gpu}")
    for_turing = key.flavour == "tensorrt-rtx" and key.compute_capability == TURING
    options = BuildOptions((TURING,) if for_turing else (), cache.timings(key), on_build)
    graph = to_half(content) if key.precision == "fp16" else content
    engine, timings = build_engine(key.flavour, graph, sizes, options)
    if timings:
        cache.keep_timings(key, timings)
    return engine
