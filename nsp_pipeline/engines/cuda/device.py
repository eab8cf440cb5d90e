"""GPU memory, copies, streams and CUDA graphs through cuda-python; without PyTorch."""

import ctypes
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import MissingCapabilityError

INSTALL_HINT = "pip install 'cuda-python>=12.6'"
DRIVER_VERSION = Path("/sys/module/nvidia/version")
OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation."""


class CudaError(MissingCapabilityError):
    """A call to CUDA failed."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, as engines are keyed by it."""

    index: int
    name: str
    compute_capability: str
    """Such as "8.9"."""
    driver: str


def import_cuda() -> Any:
    """Import CUDA's runtime bindings; raises MissingCapabilityError with the command that installs them."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise MissingCapabilityError(f"cuda-python is not installed ({error}): {INSTALL_HINT}") from None


def count_gpus() -> int:
    """How many GPUs there are; raises MissingCapabilityError where none can be used, with what mends it."""
    error, count = import_cuda().cudaGetDeviceCount()
    if int(error):
        raise MissingCapabilityError(
            f"no NVIDIA GPU can be used here ({error.name}): install or update NVIDIA's driver; nvidia-smi must list "
            "the GPU"
        )
    return int(count)


def find_gpu(index: int) -> Gpu:
    """Describe a GPU; raises MissingCapabilityError where there is none of that index, or no driver for it."""
    cuda = import_cuda()
    count = count_gpus()
    if not 0 <= index < count:
        raise MissingCapabilityError(f"there is no GPU cuda:{index}; this machine has {count}")
    facts = checked(cuda.cudaGetDeviceProperties(index))
    version = f"CUDA {checked(cuda.cudaDriverGetVersion())}"
    exact = DRIVER_VERSION.read_text().strip() if DRIVER_VERSION.exists() else ""
    name = bytes(facts.name).split(b"\0")[0].decode(errors="replace")
    return Gpu(index, name, f"{facts.major}.{facts.minor}", f"{version}, driver {exact}" if exact else version)


def checked(answer: tuple[Any, ...]) -> Any:
    """The value of a CUDA call's answer.

    Raises MemoryError when the GPU's memory is full, CudaError for every other failure.
    """
    values = checked_all(answer)
    return values[0] if values else None


def checked_all(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """All values of a CUDA call's answer; raises as `checked`."""
    error, *values = answer
    if int(error) == OUT_OF_MEMORY:
        raise MemoryError("the GPU's memory is full")
    if int(error):
        raise CudaError(f"CUDA reports {error.name}; if it stays so, restart the machine or update NVIDIA's driver")
    return tuple(values)


def use_gpu(index: int) -> None:
    """Make a GPU that of this thread: CUDA asks for it in each."""
    checked(import_cuda().cudaSetDevice(index))


def free_memory(index: int) -> int | None:
    """Bytes that are free on a GPU; None where it cannot be asked."""
    try:
        use_gpu(index)
        free, _ = checked_all(import_cuda().cudaMemGetInfo())
    except MissingCapabilityError:
        return None
    return int(free)


class Buffer:
    """Memory that grows to the largest size asked for: of a GPU, or of the machine and pinned.

    Copies from and to pinned memory go on while the GPU computes; for any other, CUDA copies once more and waits.
    """

    def __init__(self, cuda: Any, *, pinned: bool = False) -> None:
        self._allocate, self._free = (
            (cuda.cudaMallocHost, cuda.cudaFreeHost) if pinned else (cuda.cudaMalloc, cuda.cudaFree)
        )
        self.size = 0
        self.address = 0
        """0 while nothing is held."""

    def reserve(self, size: int) -> int:
        """Hold at least `size` bytes and return their address; what they held is lost. Raises MemoryError."""
        if size > self.size:
            self.free()
            self.address = int(checked(self._allocate(size)))
            self.size = size
        return self.address

    def as_array(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        """Pinned memory as an array, which is valid until more is reserved."""
        memory = (ctypes.c_byte * (math.prod(shape) * kind.itemsize)).from_address(self.address)
        return np.ndarray(shape, kind, memoryview(memory))

    def free(self) -> None:
        """Give the memory back."""
        if self.address:
            checked(self._free(self.address))
        self.address = self.size = 0


class CudaStream:
    """A queue of work on one GPU, which waits for no other."""

    def __init__(self, index: int) -> None:
        self.cuda = import_cuda()
        self.index = index
        use_gpu(index)
        self._stream = checked(self.cuda.cudaStreamCreateWithFlags(self.cuda.cudaStreamNonBlocking))

    @property
    def handle(self) -> int:
        """The stream, as TensorRT and ONNX Runtime take it."""
        return int(self._stream)

    def upload(self, array: NDArray[np.generic], address: int) -> None:
        """Queue a copy to the GPU; the array must live until `wait` returns."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        checked(self.cuda.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, kind, self._stream))

    def download(self, address: int, array: NDArray[np.generic]) -> None:
        """Queue a copy from the GPU; the array is filled when `wait` returns."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(self.cuda.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, self._stream))

    def wait(self) -> None:
        """Wait for all that is queued; failures of the queued work come out here."""
        checked(self.cuda.cudaStreamSynchronize(self._stream))

    def captured(self, queue: Callable[[], None]) -> "CudaGraph":
        """What `queue` queues, as a graph, without running it; raises CudaError where it cannot be captured."""
        # Of this thread alone: others may get memory meanwhile.
        mode = self.cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(self.cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            queue()
        except BaseException:
            self.abandon_capture()
            raise
        return CudaGraph(self.cuda, self._stream, checked(self.cuda.cudaStreamEndCapture(self._stream)))

    def abandon_capture(self) -> None:
        """Let the stream run again after a capture that failed; nothing where there was none."""
        status = checked(self.cuda.cudaStreamIsCapturing(self._stream))
        if status != self.cuda.cudaStreamCaptureStatus.cudaStreamCaptureStatusNone:
            self.cuda.cudaStreamEndCapture(self._stream)  # which says again that it failed
        self.cuda.cudaGetLastError()  # and is no news to the next call

    def close(self) -> None:
        """Give the stream back."""
        checked(self.cuda.cudaStreamDestroy(self._stream))


class CudaGraph:
    """Work that was queued once, and is launched as a whole from then on."""

    def __init__(self, cuda: Any, stream: Any, graph: Any) -> None:
        self._cuda, self._stream = cuda, stream
        try:
            self._graph = checked(cuda.cudaGraphInstantiate(graph, 0))
        finally:
            checked(cuda.cudaGraphDestroy(graph))

    def launch(self) -> None:
        """Queue it on the stream that it was captured from."""
        checked(self._cuda.cudaGraphLaunch(self._graph, self._stream))

    def close(self) -> None:
        """Give the graph back."""
        checked(self._cuda.cudaGraphExecDestroy(self._graph))


class Marks:
    """Moments in a stream, as seconds after a moment of any stream of the GPU."""

    def __init__(self, stream: CudaStream, count: int) -> None:
        self._stream, self._cuda = stream, stream.cuda
        self._events = [checked(self._cuda.cudaEventCreate()) for _ in range(count)]

    def set(self, number: int) -> None:
        """Mark the moment when all that is queued so far is done."""
        checked(self._cuda.cudaEventRecord(self._events[number], self._stream.handle))

    def seconds_after(self, start: "Marks") -> tuple[float, ...]:
        """From the first mark of `start`, in whatever stream, to each of these; all must be set and waited for."""
        return tuple(checked(self._cuda.cudaEventElapsedTime(start._events[0], end)) / 1e3 for end in self._events)

    def close(self) -> None:
        """Give the events back."""
        for event in self._events:
            checked(self._cuda.cudaEventDestroy(event))
