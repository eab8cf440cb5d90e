"""A TensorRT engine on the stream of one lane: contexts for each place, and a CUDA graph of what they queue."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from nsp_pipeline.engines.cuda.device import Buffer, CudaError, CudaGraph, CudaStream
from nsp_pipeline.engines.cuda.lanes import Place, Prepared
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.errors import EngineFailedError


@dataclass(frozen=True)
class Loaded:
    """An engine that is loaded: what makes a context of it, what TensorRT complains to, and whether it takes noise.

    `new_unit` makes a context of what makes 0..1 of the bytes of integers of a type (see unit_graph_of_bytes).
    """

    new_context: Callable[[], Any]
    new_unit: Callable[[np.dtype[Any]], Any]
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
    """Contexts whose shapes and addresses never change: a graph holds those that it was captured with."""

    def __init__(self, loaded: Loaded, stream: CudaStream, place: Place, *, captures: bool) -> None:
        self._loaded, self._stream = loaded, stream
        self._graph: CudaGraph | None = None
        self._captures = captures
        self._steps: list[_Step] = []
        try:
            if place.pixels:
                seen = (*place.shape[:-1], place.shape[-1] * place.kind.itemsize)
                addresses = {"pixels": place.pixels, "image": place.image}
                self._steps.append(_Step(loaded.new_unit(place.kind), stream, ("pixels", seen), addresses))
            addresses = {"image": place.image, "denoised": place.output}
            if loaded.noise_conditioned:
                addresses[NOISE_INPUT] = place.noise
            self._steps.append(_Step(loaded.new_context(), stream, ("image", place.shape), addresses))
        except BaseException:
            self.close()
            raise

    def compute(self) -> None:
        """See Prepared. The first run settles what depends on the shape, which is not to be captured with the rest."""
        if self._graph:
            self._graph.launch()
            return
        self._queue()
        if self._captures:
            self._captures = False
            # Where that fails, it is launched piece by piece from then on.
            with suppress(CudaError, EngineFailedError):
                self._graph = self._stream.captured(self._queue)

    def close(self) -> None:
        """See Prepared."""
        if self._graph:
            self._graph.close()
        while self._steps:
            self._steps.pop().close()

    def _queue(self) -> None:
        self._loaded.logger.errors.clear()
        if not all(step.queue() for step in self._steps):
            raise EngineFailedError(f"it failed: {'; '.join(self._loaded.logger.errors)}")


class _Step:
    """A context with memory for one shape, bound to addresses."""

    def __init__(
        self, context: Any, stream: CudaStream, seen: tuple[str, tuple[int, ...]], addresses: Mapping[str, int]
    ) -> None:
        self._context, self._stream = context, stream
        self._scratch = Buffer(stream.cuda)
        context.set_input_shape(*seen)
        needed = context.update_device_memory_size_for_shapes()
        context.set_device_memory(self._scratch.reserve(needed), needed)
        for name, address in addresses.items():
            context.set_tensor_address(name, address)

    def queue(self) -> bool:
        """Queue it on the stream; whether TensorRT took it."""
        return bool(self._context.execute_async_v3(self._stream.handle))

    def close(self) -> None:
        """Give back context and memory."""
        del self._context
        self._scratch.free()
