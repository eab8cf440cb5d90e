"""An engine from the cache, or built, and loaded: what contexts are made of, with the kernels that ran before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nsp_pipeline.engines.tensorrt.build import NAMES, BuildError
from nsp_pipeline.engines.tensorrt.cache import EngineCache, EngineKey


@dataclass(frozen=True)
class Loader:
    """What engines are loaded with: a flavour's module, its logger and runtime, the cache, and what takes lines."""

    trt: Any
    logger: Any
    runtime: Any
    cache: EngineCache
    on_build: Callable[[str], None]

    def load(self, key: EngineKey, build: Callable[[], bytes]) -> "LoadedEngine":
        """Take the engine of a key from the cache, or build it; raises BuildError where the library loads neither."""
        engine = self.runtime.deserialize_cuda_engine(self.cache.engine(key, build))
        if engine is None:
            self.on_build("the engine in the cache cannot be loaded any more; built anew")
            engine = self.runtime.deserialize_cuda_engine(self.cache.rebuilt(key, build))
        if engine is None:
            reasons = "; ".join(self.logger.errors)
            raise BuildError(f"{NAMES[key.flavour]} cannot load what it has built: {reasons}")
        return LoadedEngine(self, key, engine)


class LoadedEngine:
    """An engine that makes contexts without memory of their own, so that they get what each image's size needs."""

    def __init__(self, loader: Loader, key: EngineKey, engine: Any) -> None:
        self._cache, self._key, self._engine = loader.cache, key, engine
        self.kernels: Any = None
        """What TensorRT-RTX compiled; None for TensorRT."""
        self._how = self._how_to_run(loader.trt)

    def new_context(self) -> Any:
        """Make a context, which must not outlive the engine."""
        return self._engine.create_execution_context(self._how)

    def close(self) -> None:
        """Keep what was compiled while it ran, and give back its memory."""
        if self.kernels is not None:
            compiled = bytes(self.kernels.serialize())
            if compiled != self._cache.kernels(self._key):
                self._cache.keep_kernels(self._key, compiled)
        del self.kernels, self._how, self._engine

    def _how_to_run(self, trt: Any) -> Any:
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(trt, "IRuntimeCache"):
            return strategy
        # TensorRT-RTX compiles kernels on the GPU at hand when it first runs them.
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        self.kernels = config.create_runtime_cache()
        if known := self._cache.kernels(self._key):
            self.kernels.deserialize(known)
        config.set_runtime_cache(self.kernels)
        if hasattr(trt, "CudaGraphStrategy"):
            # It knows when the kernels for a shape are compiled; captured from without, others would be in the graph.
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return config
