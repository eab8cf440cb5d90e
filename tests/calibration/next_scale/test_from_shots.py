"""A base for calibrations learns from simulated shots: inputs see their noise, targets do not."""

import sys
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nsp_pipeline.calibration.next_scale.from_shots import ShotsObjective
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.store import ShotStore, StoreRecipe, make_store
from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE
from nsp_pipeline.cli import estimator, together
from nsp_pipeline.cli.estimator import BASE_TRAINING, HELD, SHOTS, main
from nsp_pipeline.cli.main import run_command
from nsp_pipeline.profiles.bundle import load_profile

RECIPE = """[calibrate]
base_channels = 4
modules = 1
crop = 60
batch = 2
steps = 2
inputs_per_step = 2
pd_factor = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    scene = np.tile(np.linspace(40, 200, 150, dtype=np.uint8)[:, None, None], (1, 150, 3))
    for name, seed in ((SHOTS, 0), (HELD, 1)):
        make_store(path / name, StoreRecipe(shots=3, side=64, seed=seed), Scenes([scene], [1.0]))
    (path / "small.toml").write_text(RECIPE)
    return path


def objective(folder: Path) -> ShotsObjective:
    settings = NextScaleSettings(base_channels=4, modules=1, crop=60, inputs_per_step=2)
    return ShotsObjective(ShotStore(folder / SHOTS), ShotStore(folder / HELD), settings)


class Foreseer(torch.nn.Module):
    """Says of every cell what the clean pictures have there, which are even across."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(3, keepdim=True).expand_as(image).repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_targets_are_clean_and_inputs_noisy(folder: Path) -> None:
    crops = torch.cat([torch.zeros(1, 3, 10, 10), torch.ones(1, 3, 10, 10)], 1)
    inputs, targets = objective(folder)._pairs(crops, 2)
    assert inputs.shape == (1, 2, 3, 2, 2)
    assert not inputs.any()
    assert targets.shape == (1, 1, 3, 4, 4)
    assert bool((targets == 1).all())


def test_the_nearer_to_the_clean_shot_the_better(folder: Path) -> None:
    told, blind = Foreseer(), torch.nn.Upsample(scale_factor=2)
    measure = objective(folder)
    assert measure.judge(told).mean < measure.judge(blind).mean  # type: ignore[arg-type]


def test_the_same_step_sees_the_same_crops(folder: Path) -> None:
    measure = objective(folder)
    first, again, other = (float(measure.loss(Foreseer(), 2, step, 0)) for step in (1, 1, 2))
    assert first == again != other


def test_the_command_writes_a_profile_for_any_camera_and_resumes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Words where the graphs belong: six exports take far longer than both trainings, and test_calibrate.py has them.
    monkeypatch.setattr(estimator, "make_onnx", lambda network, mode, *_: mode.encode())
    recipe, target = str(folder / "small.toml"), tmp_path / "dbsn.nsp"
    asked = ["base", str(folder), str(target), "--recipe", recipe, "--licence", "CC0-1.0"]
    assert CliRunner().invoke(main, asked, catch_exceptions=False).exit_code == 0
    profile = load_profile(target)
    spec, card = profile.spec, profile.read("CARD.md").decode()
    assert spec.pairs
    assert spec.pairs.clean_targets
    assert "simulated shots of clean pictures" in card
    assert "noisy photos alone" not in card
    assert "No clean photo was seen" not in card
    assert (spec.camera_make, spec.backbone.name, spec.data.licence) == (None, "dbsn", "CC0-1.0")
    assert spec.inference.pd_factor == 1
    assert (folder / BASE_TRAINING / CHECKPOINT_FILE).exists()
    asked[2] = str(tmp_path / "again.nsp")
    assert CliRunner().invoke(main, asked, catch_exceptions=False).exit_code == 0
    assert load_profile(tmp_path / "again.nsp").read("weights.safetensors") == load_profile(target).read(
        "weights.safetensors"
    )


@pytest.mark.parametrize(("program", "arguments"), [(main, ("tell", "x")), (together.main, ("join", __file__, "x"))])
def test_without_pytorch_the_command_that_brings_it_is_named(
    program: click.Group,
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in ("torch", "onnxscript", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    assert run_command(program, arguments) == 3
    said = capsys.readouterr().err
    assert "needs PyTorch" in said
    assert "pip install 'nsp-pipeline[cpu,train]'" in said
