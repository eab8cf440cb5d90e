"""GPU memory, copies and streams through cuda-python; without PyTorch."""

import importlib
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
    error, *values = answer
    if int(error) == OUT_OF_MEMORY:
        raise MemoryError("the GPU's memory is full")
    if int(error):
        raise CudaError(f"CUDA reports {error.name}; if it stays so, restart the machine or update NVIDIA's driver")
    return values[0] if values else None


class Buffer:
    """Memory on a GPU that grows to the largest size asked for."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._size = 0
        self.address = 0
        """0 while nothing is held."""

    def reserve(self, size: int) -> int:
        """Hold at least `size` bytes and return their address; what they held is lost. Raises MemoryError."""
        if size > self._size:
            self.free()
            self.address = int(checked(self._cuda.cudaMalloc(size)))
            self._size = size
        return self.address

    def free(self) -> None:
        """Give the memory back."""
        if self.address:
            checked(self._cuda.cudaFree(self.address))
        self.address = self._size = 0


class CudaStream:
    """A queue of work on one GPU."""

    def __init__(self, index: int) -> None:
        self.cuda = import_cuda()
        self.index = index
        self.activate()
        self._stream = checked(self.cuda.cudaStreamCreate())

    @property
    def handle(self) -> int:
        """The stream, as TensorRT takes it."""
        return int(self._stream)

    def activate(self) -> None:
        """Make the GPU that of this thread: CUDA asks for it in each."""
        checked(self.cuda.cudaSetDevice(self.index))

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

    def close(self) -> None:
        """Give the stream back."""
        checked(self.cuda.cudaStreamDestroy(self._stream))
