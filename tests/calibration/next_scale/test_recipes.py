"""The recipes that ship say what they promise."""

import pytest

from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.core.pairs import Strategy
from nsp_pipeline.recipe import load_recipe

WORDS = [*NextScaleSettings.model_fields, "base"]


def stated(name: str) -> dict[str, object]:
    return load_recipe(name, "calibrate", WORDS)


@pytest.mark.parametrize("name", ["paper-sidd-dbsn", "paper-sidd-tbsn"])
def test_the_papers_recipes_have_every_setting_of_the_paper(name: str) -> None:
    """Sec. 4.1: s 5, t 2, patches of 160, batch 16, 750 epochs of 400 steps, a fixed 1e-4, Adam; PD by t after it."""
    settings = NextScaleSettings.model_validate(stated(name))
    assert (settings.s, settings.t, settings.n, settings.strategy) == (5, 2, 1, Strategy.CONSECUTIVE)
    assert (settings.crop, settings.batch, settings.steps) == (160, 16, 750 * 400)
    assert (settings.learning_rate, settings.schedule, settings.clip) == (1e-4, "constant", None)
    assert (settings.inputs_per_step, settings.pd_factor) == (None, 2)
    # Of ours nothing but the speed of bfloat16: the last weights themselves, of the paper's network.
    assert (settings.ema_decay, settings.bf16) == (0.0, True)
    if settings.backbone == "dbsn":
        assert (settings.base_channels, settings.modules, settings.local_mean_skip) == (128, 9, False)


@pytest.mark.parametrize("name", ["camera", "camera-scratch"])
def test_the_cameras_recipes_leave_pd_to_the_noise(name: str) -> None:
    assert stated(name)["pd_factor"] == "auto"


def test_cameras_start_from_what_ships_unless_they_start_from_scratch() -> None:
    assert stated("camera")["base"] == "dbsn"
    assert "base" not in stated("camera-scratch")


def test_super_resolution_takes_crops_of_180() -> None:
    assert NextScaleSettings.model_validate(stated("super-resolution")).crop == 180
