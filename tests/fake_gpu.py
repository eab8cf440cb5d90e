"""A GPU that is none: CUDA's calls on ordinary memory, and a TensorRT whose engines are ONNX files.

Every name in it is a name of the real bindings, which `test_the_fake_has_real_names_only` checks.
"""

import ctypes
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

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, memory: int = 1 << 30) -> None:
        self.memory = memory
        self.held: dict[int, Any] = {}
        self.streams = 0

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

    def cudaStreamCreate(self) -> Any:  # noqa: N802
        self.streams += 1
        return self._ok(77)

    def cudaStreamDestroy(self, stream: int) -> Any:  # noqa: N802
        self.streams -= 1
        return self._ok()

    def cudaStreamSynchronize(self, stream: int) -> Any:  # noqa: N802
        return self._ok()

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        if sum(map(len, self.held.values())) + size > self.memory:
            return self.cudaError_t.cudaErrorMemoryAllocation, 0
        block = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(block)] = block
        return self._ok(ctypes.addressof(block))

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        del self.held[address]
        return self._ok()

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> Any:  # noqa: N802
        ctypes.memmove(target, source, size)
        return self._ok()


class ILogger:
    """TensorRT's."""

    class Severity(IntEnum):
        """Of a message."""

        INTERNAL_ERROR = 0
        ERROR = 1


class ExecutionContextAllocationStrategy(IntEnum):
    """Who gives a context its memory."""

    USER_MANAGED = 2


class IExecutionContext:
    """Runs an ONNX file on addresses."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._addresses: dict[str, int] = {}
        self._scratch = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shape

    def update_device_memory_size_for_shapes(self) -> int:
        return 4 * self._shape[2] * self._shape[3]

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 77
        assert self._scratch
        count = int(np.prod(self._shape))
        image = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self._addresses["image"]))
        (result,) = self._session.run(["denoised"], {"image": image.reshape(self._shape)})
        ctypes.memmove(self._addresses["denoised"], np.ascontiguousarray(result).ctypes.data, result.nbytes)
        return True


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

    def set_execution_context_allocation_strategy(self, strategy: int) -> None:
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        return True


class ICudaEngine:
    """An ONNX file."""

    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content)

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, how: Any) -> IExecutionContext:
        return IExecutionContext(self._session)


class Runtime:
    """Loads engines."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            return ICudaEngine(serialized_engine)
        except Exception:
            self._logger.log(ILogger.Severity.ERROR, "not an engine")
            return None


def fake_tensorrt(flavour: str) -> Any:
    """The module, as far as an engine that is already built needs it."""
    parts = [ILogger, ExecutionContextAllocationStrategy, Runtime]
    if flavour == "tensorrt-rtx":
        parts.append(IRuntimeCache)
    return SimpleNamespace(__version__="1.2.3", **{part.__name__: part for part in parts})


CLASSES = (IExecutionContext, IRuntimeCache, IRuntimeConfig, ICudaEngine, Runtime)
