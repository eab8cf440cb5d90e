"""The recipes that students are trained with say what is possible, and belong together."""

import pytest

from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.recipe import load_recipe


def stated(name: str) -> StudentSettings:
    return StudentSettings.model_validate(load_recipe(name, "distill", list(StudentSettings.model_fields)))


@pytest.mark.parametrize("name", ["standard", "fast", "quality", "base", "base-gpu"])
def test_every_recipe_is_valid(name: str) -> None:
    assert stated(name).crop >= 64


def test_bases_on_a_gpu_and_on_a_cpu_are_one_network_with_the_noise_of_any_kind() -> None:
    on_cpu, on_gpu = stated("base"), stated("base-gpu")
    assert on_cpu.backbone_sizes == on_gpu.backbone_sizes
    assert {on_cpu.noise_kinds, on_gpu.noise_kinds} == {"any"}
    assert {on_cpu.schedule, on_gpu.schedule} == {"trapezoid"}
    assert on_gpu.pixels_a_step >= 8 * on_cpu.pixels_a_step
