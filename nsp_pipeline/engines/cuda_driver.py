"""NVIDIA's driver, asked directly: it lists the GPUs before any engine is imported."""

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from nsp_pipeline.errors import MissingCapabilityError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE."""

LONGEST_NAME = 256


@dataclass(frozen=True)
class CudaDriver:
    """What the installed driver says."""

    version: tuple[int, int]
    """The newest CUDA that it runs, such as (13, 0)."""
    devices: tuple[str, ...]
    """Names of the GPUs."""
    trouble: str = ""
    """Why it lists no GPU, where there may be one."""


def find_driver() -> CudaDriver | None:
    """Ask the driver; None where none is installed."""
    try:
        library = _load()
    except OSError:
        return None
    number = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    version = number.value // 1000, number.value % 1000 // 10
    status = library.cuInit(0)
    if status:
        return CudaDriver(version, (), "" if status == NO_DEVICE else f"it fails with CUDA error {status}")
    library.cuDeviceGetCount(ctypes.byref(number))
    return CudaDriver(version, tuple(_name(library, index) for index in range(number.value)))


def require_gpu(index: int) -> CudaDriver:
    """Return the driver, if it has a GPU of this number; raises MissingCapabilityError with what to do about it."""
    driver = find_driver()
    if driver is None:
        raise MissingCapabilityError(f"cuda:{index}: NVIDIA's driver is not installed ({LIBRARY} is not found)")
    if driver.trouble:
        raise MissingCapabilityError(
            f"cuda:{index}: NVIDIA's driver lists no GPU, {driver.trouble}: restart the machine, or reinstall it"
        )
    if index >= len(driver.devices):
        there = ", ".join(f"cuda:{number} {name}" for number, name in enumerate(driver.devices)) or "no GPU"
        raise MissingCapabilityError(f"cuda:{index} is not there; NVIDIA's driver lists {there}")
    return driver


def all_gpus() -> str:
    """All GPUs of this machine as one device, such as "cuda:0,1"; raises MissingCapabilityError where there is none."""
    count = len(require_gpu(0).devices)
    return "cuda:" + ",".join(map(str, range(count)))


def _load() -> Any:
    return ctypes.CDLL(LIBRARY)


def _name(library: Any, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(LONGEST_NAME)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, LONGEST_NAME, device)
    return name.value.decode(errors="replace")
