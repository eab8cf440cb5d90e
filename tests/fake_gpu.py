"""A GPU that is none: CUDA's calls on ordinary memory, and a TensorRT whose engines are ONNX files.

Every name in it is a name of the real bindings, which `test_the_fake_has_real_names_only` checks.
"""

import ctypes
import time
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime


class FakeCuda:
    """`cuda.bindings.runtime`, as far as nsp calls it."""

    class cudaError_t(IntEnum):  # noqa: N801
        """Some of CUDA's errors."""

        cudaSuccess = 0  # noqa: N815
        cudaErrorMemoryAllocation = 2  # noqa: N815

        cudaErrorStreamCaptureUnsupported = 900  # noqa: N815

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaStreamCaptureStatus = SimpleNamespace(cudaStreamCaptureStatusNone=0)  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self, memory: int = 1 << 30) -> None:
        self.memory = memory
        self.held: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.streams: set[int] = set()
        self.events: dict[int, float] = {}
        self.graphs: dict[int, list[Callable[[], object]]] = {}
        self.capturing: dict[int, list[Callable[[], object]]] = {}
        self.launched = 0
        self.refuses_capture = False
        self.copied: list[tuple[int, int]] = []
        """Kind and size of every copy."""
        self._names = iter(range(1, 1 << 30))

    def _queue(self, stream: int, work: Callable[[], object]) -> None:
        """Do it now, or keep it where the stream is captured."""
        assert stream in self.streams
        if stream in self.capturing:
            self.capturing[stream].append(work)
        else:
            work()

    def _ok(self, *values: Any) -> tuple[Any, ...]:
        return (self.cudaError_t.cudaSuccess, *values)

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return self._ok(1)

    def cudaGetDeviceProperties(self, index: int) -> Any:  # noqa: N802
        return self._ok(SimpleNamespace(name=b"Fake RTX\0\0", major=8, minor=9))

    def cudaDriverGetVersion(self) -> Any:  # noqa: N802
        return self._ok(13000)

    def cudaSetDevice(self, index: int) -> Any:  # noqa: N802
        return self._ok()

    def cudaMemGetInfo(self) -> Any:  # noqa: N802
        return self._ok(self.memory - sum(map(len, self.held.values())), self.memory)

    def cudaGetLastError(self) -> Any:  # noqa: N802
        return self._ok()

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        stream = next(self._names)
        self.streams.add(stream)
        return self._ok(stream)

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        self.streams.remove(stream)
        return self._ok()

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        return self._ok()

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> Any:  # noqa: N802
        if self.refuses_capture:
            return (self.cudaError_t.cudaErrorStreamCaptureUnsupported,)
        self.capturing[stream] = []
        return self._ok()

    def cudaStreamIsCapturing(self, stream: int) -> Any:  # noqa: N802
        return self._ok(int(stream in self.capturing))

    def cudaStreamEndCapture(self, stream: int) -> Any:  # noqa: N802
        return self._ok(self.capturing.pop(stream))

    def cudaGraphInstantiate(self, graph: list[Callable[[], object]], flags: int) -> Any:  # noqa: N802
        name = next(self._names)
        self.graphs[name] = list(graph)
        return self._ok(name)

    def cudaGraphDestroy(self, graph: list[Callable[[], object]]) -> Any:  # noqa: N802
        graph.clear()
        return self._ok()

    def cudaGraphLaunch(self, graph: int, stream: int) -> Any:  # noqa: N802
        self.launched += 1
        for work in self.graphs[graph]:
            self._queue(stream, work)
        return self._ok()

    def cudaGraphExecDestroy(self, graph: int) -> Any:  # noqa: N802
        del self.graphs[graph]
        return self._ok()

    def cudaEventCreate(self) -> Any:  # noqa: N802
        event = next(self._names)
        self.events[event] = 0.0
        return self._ok(event)

    def cudaEventRecord(self, event: int, stream: int) -> Any:  # noqa: N802
        self._queue(stream, lambda: self.events.update({event: time.perf_counter()}))
        return self._ok()

    def cudaEventElapsedTime(self, start: int, end: int) -> Any:  # noqa: N802
        return self._ok(1e3 * (self.events[end] - self.events[start]))

    def cudaEventDestroy(self, event: int) -> Any:  # noqa: N802
        del self.events[event]
        return self._ok()

    def _new(self, size: int, held: dict[int, Any]) -> Any:
        block = ctypes.create_string_buffer(size)
        held[ctypes.addressof(block)] = block
        return self._ok(ctypes.addressof(block))

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        if sum(map(len, self.held.values())) + size > self.memory:
            return self.cudaError_t.cudaErrorMemoryAllocation, 0
        return self._new(size, self.held)

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        del self.held[address]
        return self._ok()

    def cudaMallocHost(self, size: int) -> Any:  # noqa: N802
        return self._new(size, self.pinned)

    def cudaFreeHost(self, address: int) -> Any:  # noqa: N802
        del self.pinned[address]
        return self._ok()

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> Any:  # noqa: N802
        self.copied.append((kind, size))
        assert any(
            held <= (source if kind == 1 else target) < held + len(block) for held, block in self.pinned.items()
        ), "a copy that waits"
        self._queue(stream, lambda: ctypes.memmove(target, source, size))
        return self._ok()

    @property
    def _idle(self) -> bool:
        """Whether everything was given back."""
        return not (self.held or self.pinned or self.streams or self.events or self.graphs)


class ILogger:
    """TensorRT's."""

    class Severity(IntEnum):
        """Of a message."""

        INTERNAL_ERROR = 0
        ERROR = 1


class ExecutionContextAllocationStrategy(IntEnum):
    """Who gives a context its memory."""

    USER_MANAGED = 2


class CudaGraphStrategy(IntEnum):
    """Whether TensorRT-RTX captures graphs."""

    WHOLE_GRAPH_CAPTURE = 1


class IExecutionContext:
    """Runs an ONNX file on addresses."""

    def __init__(self, session: Any, cuda: FakeCuda) -> None:
        self._session = session
        self._cuda = cuda
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {
            value.name: tuple(value.shape)
            for value in session.get_inputs()
            if all(isinstance(side, int) for side in value.shape)
        }
        self._scratch = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert any(value.name == name for value in self._session.get_inputs())
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def update_device_memory_size_for_shapes(self) -> int:
        return 4 * max(shape[2] * shape[3] for shape in self._shapes.values() if len(shape) == 4)

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert self._scratch in self._cuda.held
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        self._cuda._queue(stream_handle, lambda: self._run(shapes, addresses))
        return True

    def _run(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        kinds: dict[str, Any] = {"tensor(float)": ctypes.c_float, "tensor(uint8)": ctypes.c_uint8}
        inputs = {}
        for value in self._session.get_inputs():
            kind = kinds[value.type]
            count = int(np.prod(shapes[value.name]))
            held = np.ctypeslib.as_array((kind * count).from_address(addresses[value.name]))
            inputs[value.name] = held.reshape(shapes[value.name])
        (output,) = self._session.get_outputs()
        (result,) = self._session.run([output.name], inputs)
        ctypes.memmove(addresses[output.name], np.ascontiguousarray(result).ctypes.data, result.nbytes)


class IRuntimeCache:
    """Kernels that ran before."""

    def __init__(self) -> None:
        self._known = b""

    def deserialize(self, serialized_cache: bytes) -> bool:
        self._known = serialized_cache
        return True

    def serialize(self) -> bytes:
        return self._known or b"kernels"


class IRuntimeConfig:
    """How to run."""

    cuda_graph_strategy = 0

    def set_execution_context_allocation_strategy(self, strategy: int) -> None:
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        return True


class ICudaEngine:
    """An ONNX file."""

    def __init__(self, content: bytes, cuda: FakeCuda) -> None:
        self._session = onnxruntime.InferenceSession(content)
        self._cuda = cuda

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, how: Any) -> IExecutionContext:
        return IExecutionContext(self._session, self._cuda)


class Runtime:
    """Loads engines."""

    def __init__(self, logger: Any, cuda: FakeCuda) -> None:
        self._logger = logger
        self._cuda = cuda

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            return ICudaEngine(serialized_engine, self._cuda)
        except Exception:
            self._logger.log(ILogger.Severity.ERROR, "not an engine")
            return None


def fake_tensorrt(flavour: str, cuda: FakeCuda) -> Any:
    """The module, as far as an engine that is already built needs it."""
    parts: list[type] = [ILogger, ExecutionContextAllocationStrategy]
    if flavour == "tensorrt-rtx":
        parts += [IRuntimeCache, CudaGraphStrategy]
    named = {part.__name__: part for part in parts}
    return SimpleNamespace(__version__="1.2.3", Runtime=lambda logger: Runtime(logger, cuda), **named)


CLASSES = (IExecutionContext, IRuntimeCache, IRuntimeConfig, ICudaEngine, Runtime)
