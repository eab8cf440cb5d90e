"""Trainings compute in bfloat16 where that is fast, and nowhere else."""

import pytest
import torch
from small_training import small_settings

from nsp_pipeline.calibration.training import precision


@pytest.mark.parametrize(("has_it", "wanted", "used"), [(True, True, True), (False, True, False), (True, False, False)])
def test_a_processor_without_bfloat16_computes_in_float32(
    has_it: bool, wanted: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "computes_in_bf16", lambda: has_it)
    convolution = torch.nn.Conv2d(3, 4, 3)
    with precision.autocast("cpu", small_settings(bf16=wanted)):
        result = convolution(torch.rand(1, 3, 8, 8))
    assert (result.dtype == torch.bfloat16) == used


@pytest.mark.parametrize("has_it", [True, False])
def test_a_gpu_that_would_emulate_bfloat16_computes_in_float32(has_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return has_it or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert precision.has_bf16("cuda") == has_it
