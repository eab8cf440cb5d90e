"""bfloat16 where a training gains by it: on GPUs, and on processors with instructions for it."""

import torch

from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.engines.torch.engine import computes_in_bf16


def autocast(device: str, settings: TrainingSettings) -> torch.autocast:
    """The context to run a network in."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=settings.bf16 and has_bf16(kind))


def has_bf16(kind: str) -> bool:
    """Whether a kind of device has instructions for bfloat16; those without would emulate them, many times as slow."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind != "cpu" or computes_in_bf16()


def half_precision(device: str) -> torch.autocast:
    """float16 on a GPU; bfloat16 on processors that have instructions for it, where it takes half of the time."""
    kind = torch.device(device).type
    if kind == "cpu":
        return torch.autocast(kind, torch.bfloat16, enabled=computes_in_bf16())
    return torch.autocast(kind, torch.float16, cache_enabled=False)
