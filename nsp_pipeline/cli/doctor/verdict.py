"""What `nsp doctor` says in the end: whether photos can be denoised here, on what, and how fast."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nsp_pipeline.cli.doctor.gpu_findings import Finding
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.engines.words import engine_in_words

WARM_SIDE, SIDE = 128, 512
WHAT = "verdict"
GPU_PARTS = ("NVIDIA GPU", "onnxruntime CUDA", "TensorRT-RTX", "TensorRT")
"""Findings that may say why a GPU is not used, the nearest to the cause first."""


@dataclass(frozen=True)
class Speed:
    """What computes, and seconds a megapixel."""

    info: EngineInfo
    seconds: float


def measure_speed(engine: Engine) -> Speed:
    """Denoise a small picture of noise; raises as `denoise_frame` does."""
    noisy = np.random.default_rng(0).normal(0.5, 0.05, (SIDE, SIDE, 3)).clip(0, 1).astype(np.float32)
    denoise_pixels(noisy[:WARM_SIDE, :WARM_SIDE], engine, InferenceSettings())
    began = time.monotonic()
    denoise_pixels(noisy, engine, InferenceSettings())
    return Speed(engine.info, (time.monotonic() - began) * 1e6 / SIDE**2)


def verdict(findings: Sequence[Finding], speed: Speed | None) -> Finding:
    """The whole in a sentence."""
    broken = [finding for finding in findings if finding.ok is False]
    if speed is None:
        cause = next((finding for finding in broken if finding.what == "engine"), broken[0])
        return Finding(WHAT, False, f"Not ready: {cause.what}: {cause.detail}")
    info = speed.info
    computing = engine_in_words(info.name, info.provider, info.precision)
    ready = f"Ready: {computing}, about {speed.seconds:.2g} s a megapixel with profile {info.profile}"
    if "CPU" in info.provider and (reason := _why_no_gpu(findings)):
        ready += f"; a GPU is there, and not used: {reason}"
    others = [finding.what for finding in broken if finding.what not in GPU_PARTS]
    if others:
        return Finding(WHAT, False, f"{ready}; but broken: {', '.join(others)}")
    return Finding(WHAT, True, f"{ready}.")


def _why_no_gpu(findings: Sequence[Finding]) -> str | None:
    """What keeps a GPU from being used; None where there is none."""
    by_name = {finding.what: finding for finding in findings}
    gpu = by_name.get("NVIDIA GPU")
    if gpu is None or gpu.ok is None:
        return None
    if gpu.ok is False:
        return gpu.detail
    parts = [by_name[name] for name in GPU_PARTS[1:] if name in by_name and by_name[name].ok is not True]
    return parts[0].detail if parts else None
