"""Crops of stored shots come with the noise that they have, whatever was done to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.shot_crops import ShotCrops, exposed
from nsp_pipeline.calibration.simulation.store import ShotStore, StoreRecipe, make_store, save_told
from nsp_pipeline.errors import UsageError

SIDE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Shots of a grey wall."""
    make_store(tmp_path, StoreRecipe(shots=8, side=128, seed=2), Scenes([np.full((300, 300, 3), 120, np.uint8)], [1.0]))
    return tmp_path


def test_the_estimators_word_is_taken_only_where_it_was_asked(folder: Path) -> None:
    with pytest.raises(UsageError, match="was not asked"):
        ShotCrops(ShotStore(folder), SIDE, "estimate")
    save_told(folder, lambda pixels: np.full((1, 4, 8), 7 / 255, np.float32))
    crop = ShotCrops(ShotStore(folder), SIDE, "estimate").draw(np.random.default_rng(3))
    assert float(crop.table.min()) > 0


def test_crops_do_not_exceed_their_shots(folder: Path) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        ShotCrops(ShotStore(folder), 256, "truth")


def test_what_is_told_is_the_noise_that_the_crop_has(folder: Path) -> None:
    crops = ShotCrops(ShotStore(folder), SIDE, "truth")
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        crop = crops.draw(rng)
        assert crop.noisy.shape == crop.clean.shape == (1, 3, SIDE, SIDE)
        grey = (crop.noisy - crop.clean).mean(1)
        place = int(torch.round(crop.clean.mean() * 7))
        told, found = float(crop.table[0, 0, place]), float(grey.std())
        if told > 1.5 / 255:
            ratios.append(found / told)
    assert len(ratios) > 20
    assert np.median(ratios) == pytest.approx(1, abs=0.15)


def test_a_picture_half_as_bright_has_half_the_noise_at_half_the_brightness() -> None:
    table = np.tile(np.linspace(0.01, 0.08, 8, dtype=np.float32), (4, 1))
    assert exposed(table, 0.5, 0.0)[0, :4] == pytest.approx(0.5 * np.array([0.01, 0.03, 0.05, 0.07]), rel=1e-3)


def test_of_an_unknown_table_nothing_is_known_after_exposure() -> None:
    unknown = np.full((4, 8), -0.05, np.float32)
    assert np.array_equal(exposed(unknown, 0.5, 0.1), unknown)
