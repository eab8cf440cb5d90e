"""Opening the engine that was asked for, or the best one this machine has."""

from collections.abc import Sequence
from dataclasses import replace

from nsp_pipeline.engines import openvino_cpu
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.onnx_runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.openvino_cpu import OpenVinoEngine
from nsp_pipeline.engines.parity import disagreement
from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import Profile

ENGINES = ("onnx", "openvino")
CPU_PRECISIONS = ("fp32", "bf16")


def open_engine(
    profile: Profile,
    *,
    mode: str,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Open a profile on an engine. Whatever is not the float32 reference must agree with it on a probe first.

    Args:
        mode: "denoise", "sr" or "sr-direct".
        engine: one of ENGINES, or "auto": OpenVINO where it is installed and the CPU computes in bfloat16, else ONNX
            Runtime.
        device: "auto" or "cpu".
        precision: "fp32", "bf16" (OpenVINO only), or "auto", the fastest that passes.
        threads: CPU threads to compute with; None for all.

    Raises:
        MissingCapabilityError: this version or this machine cannot do what was asked.
        ProfileError: the profile has no graph for the mode.
    """
    if engine not in ("auto", *ENGINES):
        raise MissingCapabilityError(f"engine '{engine}' is not built into this version; it has: {', '.join(ENGINES)}")
    if device not in ("auto", "cpu"):
        raise MissingCapabilityError(f"device '{device}': this version runs on the CPU only; use --device cpu")
    if precision not in ("auto", *CPU_PRECISIONS):
        has = ", ".join(CPU_PRECISIONS)
        raise MissingCapabilityError(f"precision '{precision}' is not built into this version; it has: {has}")
    if engine == "onnx":
        if precision == "bf16":
            raise MissingCapabilityError("ONNX Runtime computes in fp32 on the CPU; bf16 wants --engine openvino")
        return OnnxRuntimeEngine(profile, mode=mode, threads=threads)
    if engine == "openvino" or precision == "bf16":
        openvino_cpu.import_openvino()
    in_bf16 = precision != "fp32" and openvino_cpu.computes_in_bf16()
    if precision == "bf16" and not in_bf16:
        raise MissingCapabilityError("this CPU has no instructions for bfloat16; use --precision fp32")
    reference = OnnxRuntimeEngine(profile, mode=mode, threads=threads)
    if engine == "auto":
        return _first_trusted(profile, reference, ("bf16",) if in_bf16 else (), threads)
    in_turn = ("bf16",) if precision == "bf16" else ("bf16", "fp32") if in_bf16 else ("fp32",)
    found = _first_trusted(profile, reference, in_turn, threads)
    if found is reference:
        reference.close()
        raise MissingCapabilityError(found.info.fallback)
    return found


def _first_trusted(
    profile: Profile, reference: OnnxRuntimeEngine, precisions: Sequence[str], threads: int | None
) -> Engine:
    """OpenVINO in the first precision that agrees with the reference, which is closed then; else the reference."""
    reasons: list[str] = []
    for precision in precisions:
        try:
            candidate = OpenVinoEngine(profile, reference.info, precision=precision, threads=threads)
        except ProfileError as error:
            reasons.append(str(error))
            continue
        trouble = disagreement(candidate, reference)
        if trouble is None:
            candidate.info = replace(candidate.info, fallback="; ".join(reasons))
            reference.close()
            return candidate
        reasons.append(f"OpenVINO in {precision} is not trusted: {trouble}")
        candidate.close()
    reference.info = replace(reference.info, fallback="; ".join(reasons))
    return reference
