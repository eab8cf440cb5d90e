"""What `nsp doctor` finds of the GPU: the driver, and whether each engine reaches it; with what mends it."""

from collections.abc import Callable
from dataclasses import dataclass

from nsp_pipeline.engines.cuda_driver import CudaDriver, find_driver
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.onnx.session import CUDA, GPU_INSTALL_HINT, missing_library, require_provider
from nsp_pipeline.errors import MissingCapabilityError

OLDEST_DRIVERS = {12: 525, 13: 580}
"""The first driver that runs programs built for a CUDA of this major version."""

FLAVOURS = {"tensorrt-rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok` True, False, or None where it is merely absent and not needed for denoising."""

    what: str
    ok: bool | None
    detail: str


def gpu_findings(installed: Callable[[str], str | None]) -> list[Finding]:
    """Look at the driver and at what could use it; `installed` gives a package's version, or None."""
    driver = find_driver()
    gpus = bool(driver and driver.devices)
    findings = [_driver(driver)]
    if driver and (gpus or installed("onnxruntime-gpu")):
        findings.append(_onnxruntime(driver, gpus, installed("onnxruntime-gpu")))
    return findings + [_tensorrt(package, gpus, installed(package)) for package in FLAVOURS]


def _driver(driver: CudaDriver | None) -> Finding:
    if driver is None:
        return Finding("NVIDIA GPU", None, "no driver is installed; photos are denoised on the CPU")
    newest = f"CUDA {driver.version[0]}.{driver.version[1]}"
    if driver.trouble:
        return Finding(
            "NVIDIA GPU",
            False,
            f"the driver (up to {newest}) lists no GPU, {driver.trouble}: restart the machine; if it stays so, "
            "reinstall the driver and see that nvidia-smi lists the GPU",
        )
    if not driver.devices:
        return Finding("NVIDIA GPU", None, f"the driver (up to {newest}) lists no GPU")
    names = ", ".join(f"cuda:{index} {name}" for index, name in enumerate(driver.devices))
    return Finding("NVIDIA GPU", True, f"{names}; the driver runs up to {newest}")


def _onnxruntime(driver: CudaDriver, gpus: bool, version: str | None) -> Finding:
    """Whether ONNX Runtime reaches the GPU."""
    what = "onnxruntime CUDA"
    if not gpus:
        return Finding(what, None, "installed, but there is no GPU")
    if version is None:
        return Finding(what, None, f"needed for denoising on the GPU: {GPU_INSTALL_HINT}")
    try:
        built_for = str(getattr(import_onnxruntime(), "cuda_version", ""))
        major = int(built_for.partition(".")[0] or 0)
        if major > driver.version[0]:
            wanted = f"{OLDEST_DRIVERS[major]} or later" if major in OLDEST_DRIVERS else "the newest"
            return Finding(
                what,
                False,
                f"onnxruntime-gpu {version} is built for CUDA {built_for}, and the driver runs up to CUDA "
                f"{driver.version[0]}.{driver.version[1]}: update it to {wanted} (Ubuntu: sudo ubuntu-drivers install; "
                "others: https://www.nvidia.com/drivers)",
            )
        require_provider(CUDA)
        missing = missing_library(CUDA)
    except MissingCapabilityError as error:
        return Finding(what, False, str(error))
    if missing:
        return Finding(what, False, missing)
    return Finding(what, True, f"built for CUDA {built_for}" if built_for else "there")


def _tensorrt(package: str, gpus: bool, version: str | None) -> Finding:
    """Whether a flavour of TensorRT reaches the GPU."""
    from nsp_pipeline.engines.tensorrt.engine import unavailable

    reason = unavailable(package)
    if reason is None:
        return Finding(FLAVOURS[package], True, version or "there")
    if version and not gpus:
        return Finding(FLAVOURS[package], None, f"{version}, but there is no GPU to run it on")
    return Finding(FLAVOURS[package], False if version else None, reason)
