"""A TensorRT engine on the stream of one lane: a context for each place, and a CUDA graph of what it queues."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nsp_pipeline.engines.cuda.device import Buffer, CudaError, CudaGraph, CudaStream
from nsp_pipeline.engines.cuda.lanes import Place, Prepared
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.errors import EngineFailedError


@dataclass(frozen=True)
class Loaded:
    """An engine that is loaded: what makes a context of it, what TensorRT complains to, and whether it takes noise."""

    new_context: Callable[[], Any]
    logger: Any
    noise_conditioned: bool


class OnStream:
    """A network for a lane. TensorRT-RTX captures graphs by itself, so that `captures` is for TensorRT alone."""

    worn = False
    """Graphs go with their contexts."""

    def __init__(self, loaded: Loaded, stream: CudaStream, *, captures: bool) -> None:
        self._loaded, self._stream, self._captures = loaded, stream, captures

    def prepare(self, place: Place) -> Prepared:
        """See Network."""
        return _Context(self._loaded, self._stream, place, captures=self._captures)

    def close(self) -> None:
        """See Network; contexts are closed one by one."""


class _Context:
    """A context whose shape and addresses never change: a graph holds those that it was captured with."""

    def __init__(self, loaded: Loaded, stream: CudaStream, place: Place, *, captures: bool) -> None:
        self._loaded, self._stream = loaded, stream
        self._scratch = Buffer(stream.cuda)
        self._graph: CudaGraph | None = None
        self._captures = captures
        self._context = loaded.new_context()
        self._context.set_input_shape("image", place.shape)
        needed = self._context.update_device_memory_size_for_shapes()
        self._context.set_device_memory(self._scratch.reserve(needed), needed)
        self._context.set_tensor_address("image", place.image)
        self._context.set_tensor_address("denoised", place.output)
        if loaded.noise_conditioned:
            self._context.set_tensor_address(NOISE_INPUT, place.noise)

    def compute(self) -> None:
        """See Prepared. The first run settles what depends on the shape, which is not to be captured with the rest."""
        if self._graph:
            self._graph.launch()
            return
        self._queue()
        if self._captures:
            self._captures = False
            try:
                self._graph = self._stream.captured(self._queue)
            except (CudaError, EngineFailedError):
                self._graph = None  # it is launched piece by piece from then on

    def close(self) -> None:
        """See Prepared."""
        if self._graph:
            self._graph.close()
        del self._context
        self._scratch.free()

    def _queue(self) -> None:
        self._loaded.logger.errors.clear()
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineFailedError(f"it failed: {'; '.join(self._loaded.logger.errors)}")
