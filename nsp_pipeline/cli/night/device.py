"""Where a night trains: on the device that denoises, or on one of those."""

from collections.abc import Mapping
from typing import Any

from nsp_pipeline.cli.shared.training import usable
from nsp_pipeline.errors import MissingCapabilityError, UsageError


def device_asked(options: Mapping[str, Any]) -> str:
    """The device to train on, by the options of `nsp denoise`: of several GPUs the first that is named."""
    device = str(options["device"])
    if device == "all" or (device == "auto" and options["require_gpu"]):
        return "cuda"
    return device.partition(",")[0]


def training_device(device: str, threads: int | None) -> str:
    """The device to train on (see usable); raises MissingCapabilityError where PyTorch cannot use it.

    No photo is to blame for that: what is half done waits until the device is back.
    """
    try:
        return usable(device, threads)
    except UsageError as error:
        raise MissingCapabilityError(f"{error}; --calibrate trains there: take --device cpu, or mend that") from None
