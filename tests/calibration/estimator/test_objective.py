"""The estimator learns the noise of each block, and is judged by that of photos."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.estimator.drawings import draw_picture
from nsp_pipeline.calibration.estimator.objective import EstimatorObjective, table_error, told_table
from nsp_pipeline.calibration.estimator.settings import EstimatorSettings
from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.store import ShotStore, StoreRecipe, make_store
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.models.noise_net import FAINTEST, NoiseNet

SETTINGS = EstimatorSettings(channels=(8, 8, 8, 8, 8), sides=(64, 128), batch=2, steps=12, judge_every=6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ShotStore:
    folder: Path = tmp_path_factory.mktemp("shots")
    y, x = np.mgrid[0:300, 0:300]
    picture = (128 + 60 * np.stack([np.sin(x / 40), np.cos(y / 30), np.sin((x + y) / 25)], -1)).astype(np.uint8)
    make_store(folder, StoreRecipe(shots=6, side=128, seed=0), Scenes([picture], [1.0]))
    return ShotStore(folder)


def test_it_trains_in_the_loop_of_all_trainings_and_gets_better(store: ShotStore) -> None:
    trained = train(EstimatorObjective(store, store, SETTINGS), SETTINGS, run=RunOptions())
    assert trained.judgement is not None
    assert np.isfinite(trained.judgement.mse).all()
    objective = EstimatorObjective(store, None, SETTINGS)
    with torch.no_grad():
        before, after = (float(objective.loss(network, 2, 99, 0)) for network in (SETTINGS.build(), trained.network))
    assert after < before


def test_a_step_draws_the_same_crops_whenever_it_is_taken(store: ShotStore) -> None:
    network = SETTINGS.build()
    first, second = (EstimatorObjective(store, None, SETTINGS).loss(network, 2, 5, 0).item() for _ in range(2))
    assert first == second


def test_a_network_that_says_one_number_tells_it_at_every_brightness() -> None:
    class Says(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            said = torch.full((1, 8, image.shape[2] // 32, image.shape[3] // 32), -2.0)
            said[:, :4] = 0.5 * np.log((6 / 255) ** 2 + FAINTEST**2)
            return said

    table = told_table(Says(), np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    assert 255 * table == pytest.approx(6.0, rel=1e-3)


def test_errors_count_only_where_a_picture_has_brightnesses_and_noise() -> None:
    true = np.full((4, 8), 5 / 255, np.float32)
    told = true.copy()
    told[0, 3], told[0, 7] = 10 / 255, 50 / 255
    error = table_error(told, true, np.full((32, 32, 3), 109, np.uint8))
    assert error is not None
    assert error.ravel() == pytest.approx([np.log(2), 0], abs=1e-5)
    assert table_error(told, np.zeros_like(true), np.full((32, 32, 3), 109, np.uint8)) is None


def test_drawings_are_pictures_of_few_colours_side_by_side() -> None:
    pictures = [draw_picture(64, np.random.default_rng(seed)) for seed in range(6)]
    assert all(picture.shape == (1, 3, 64, 64) for picture in pictures)
    same = [float((picture[..., 1:] == picture[..., :-1]).float().mean()) for picture in pictures]
    assert np.median(same) > 0.5


def test_blocks_want_a_level_for_each_halving() -> None:
    with pytest.raises(TypeError, match="blocks of 32"):
        NoiseNet((8, 8, 8))
