"""The recipes that students are trained with say what is possible, and belong together."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from nsp_pipeline.calibration.publish import base_network  # noqa: E402
from nsp_pipeline.calibration.student.settings import StudentSettings  # noqa: E402
from nsp_pipeline.models.registry import load_backbone  # noqa: E402
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE  # noqa: E402
from nsp_pipeline.profiles.choose import find_profile  # noqa: E402
from nsp_pipeline.recipe import load_recipe  # noqa: E402

RECIPES = Path(__file__).parents[3] / "recipes"


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


@pytest.mark.parametrize("name", ["standard", "fast", "quality"])
def test_recipes_make_networks_of_the_size_of_what_ships_by_their_name(name: str) -> None:
    spec, settings = find_profile(name).spec, stated(name)
    assert settings.backbone_sizes == spec.backbone.sizes
    assert settings.self_ensemble == spec.inference.self_ensemble


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("standard", "standard"),
        ("fast", "fast"),
        ("quality", "standard"),
        ("base", "standard"),
        ("base-gpu", "standard"),
    ],
)
def test_the_recipes_start_from_what_ships_as_their_comments_say(name: str, base: str) -> None:
    assert f"--base {base}" in (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    profile = find_profile(base)
    weights = base_network(profile, stated(name)).state_dict()
    shipped = load_backbone("unet", profile.spec.backbone.sizes, profile.read(WEIGHTS_FILE)).state_dict()
    assert all(torch.equal(part, shipped[key]) for key, part in weights.items())
