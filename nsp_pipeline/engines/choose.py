"""Opening the engine that was asked for, or the best one this machine has."""

from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.onnx_runtime import OnnxRuntimeEngine
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import Profile

ENGINES = ("onnx",)


def open_engine(
    profile: Profile,
    *,
    mode: str,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Open a profile on an engine.

    Args:
        mode: "denoise", "sr" or "sr-direct".
        engine: "auto" or one of ENGINES.
        device: "auto" or "cpu".
        precision: "auto" or "fp32".
        threads: CPU threads to compute with; None for all.

    Raises:
        MissingCapabilityError: this version or this machine cannot do what was asked.
        ProfileError: the profile has no graph for the mode.
    """
    if engine not in ("auto", *ENGINES):
        raise MissingCapabilityError(f"engine '{engine}' is not built into this version; it has: {', '.join(ENGINES)}")
    if device not in ("auto", "cpu"):
        raise MissingCapabilityError(f"device '{device}': this version runs on the CPU only; use --device cpu")
    if precision not in ("auto", "fp32"):
        raise MissingCapabilityError(f"precision '{precision}': the CPU engine of this version computes in fp32 only")
    return OnnxRuntimeEngine(profile, mode=mode, threads=threads)
