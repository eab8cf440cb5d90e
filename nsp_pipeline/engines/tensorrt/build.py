"""ONNX to an engine of TensorRT or TensorRT-RTX: two modules with one API, and one way through both.

Networks are strongly typed, which is all that TensorRT 11 knows: precision is what the graph says. Nothing here needs
a GPU by itself; TensorRT-RTX builds without one, TensorRT does not.
"""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nsp_pipeline.engines.tensorrt.size_range import SizeRange
from nsp_pipeline.errors import MissingCapabilityError, NspError, UsageError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
NAMES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
INSTALL_HINTS = {
    "tensorrt": "pip install 'nsp-pipeline[cpu,tensorrt]'",
    "tensorrt-rtx": "pip install 'nsp-pipeline[cpu]' tensorrt-rtx 'cuda-python>=12.6' onnx",
}
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX can be asked to build for."""

SECONDS_BETWEEN_LINES = 2.0

OnLine = Callable[[str], None]


class BuildError(NspError):
    """TensorRT could not make an engine of a graph; the message holds its own."""


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    `capabilities` are the compute capabilities that a TensorRT-RTX engine is for; without any it is for the GPUs that
    the library chooses (Ampere and later). `timings` are those of earlier builds on the same GPU. `image` is the name
    of the input that the sizes are of.
    """

    capabilities: Sequence[str] = ()
    timings: bytes = b""
    image: str = "image"
    on_line: OnLine = field(default=lambda line: None)


def import_tensorrt(flavour: str) -> Any:
    """Import a flavour's module; raises MissingCapabilityError with the command that installs it."""
    try:
        return importlib.import_module(MODULES[flavour])
    except (ImportError, OSError) as error:
        raise MissingCapabilityError(f"{NAMES[flavour]} is not installed ({error}): {INSTALL_HINTS[flavour]}") from None


def collecting_logger(trt: Any) -> Any:
    """A logger for TensorRT that keeps errors, in `errors`, and drops everything else."""

    class Collecting(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Collecting()


def build_engine(
    flavour: str, content: bytes, sizes: SizeRange | None, options: BuildOptions | None = None
) -> tuple[bytes, bytes]:
    """Build an engine.

    Args:
        flavour: "tensorrt" or "tensorrt-rtx".
        content: a graph with the input `image` [1, 3, H, W], or as the options name it.
        sizes: the range of H and W; None where the graph's own are fixed.

    Returns:
        The engine, and what the build measured (empty for TensorRT-RTX).

    Raises:
        MissingCapabilityError: the flavour is not installed, or needs a GPU that is not there.
        BuildError: TensorRT cannot read the graph, or build it.
    """
    options = options or BuildOptions()
    trt = import_tensorrt(flavour)
    logger = collecting_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        reasons = "; ".join(str(parser.get_error(index).desc()).strip() for index in range(parser.num_errors))
        raise BuildError(f"{NAMES[flavour]} cannot read the graph: {reasons}")
    config = builder.create_builder_config()
    # TF32 has ten bits of mantissa, as float16 has: what is called float32 must be it.
    config.clear_flag(trt.BuilderFlag.TF32)
    config.progress_monitor = _progress_monitor(trt, options.on_line)
    if sizes:
        _add_profile(builder, config, options.image, sizes)
    _aim(trt, config, flavour, options.capabilities)
    measures = flavour == "tensorrt"  # TensorRT-RTX leaves that to the machine that the engine runs on
    if measures:
        config.set_timing_cache(config.create_timing_cache(options.timings), True)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BuildError(f"{NAMES[flavour]} cannot build the engine: {_reasons(logger.errors)}")
    return bytes(engine), bytes(config.get_timing_cache().serialize()) if measures else b""


def _add_profile(builder: Any, config: Any, image: str, sizes: SizeRange) -> None:
    profile = builder.create_optimization_profile()
    profile.set_shape(image, *((1, 3, *size) for size in (sizes.least, sizes.best, sizes.most)))
    if config.add_optimization_profile(profile) < 0:
        raise BuildError(f"TensorRT does not accept the sizes {sizes}")


def _aim(trt: Any, config: Any, flavour: str, capabilities: Sequence[str]) -> None:
    """Choose the GPUs that the engine is for."""
    if not capabilities:
        return
    if flavour == "tensorrt":
        raise UsageError("TensorRT builds for the GPU of this machine; only tensorrt-rtx builds for others")
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        wanted = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}", None)
        if wanted is None or not config.set_compute_capability(wanted, index):
            raise UsageError(f"TensorRT-RTX builds for compute capabilities {', '.join(CAPABILITIES)}")


def _reasons(errors: Sequence[str]) -> str:
    """The errors but those of looking for a GPU, unless there are no others."""
    telling = [line for line in errors if "catchCudaError" not in line] or list(errors)
    return "; ".join(telling) or "it gave no reason"


def _progress_monitor(trt: Any, on_line: OnLine) -> Any:
    """What TensorRT reports its steps to; a line for the user every other second."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._told = time.monotonic()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            now = time.monotonic()
            if now - self._told >= SECONDS_BETWEEN_LINES:
                self._told = now
                on_line(f"{phase}: {step + 1} of {self._steps.get(phase, step + 1)}")
            return True

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Monitor()
