"""A store of shots is made once, goes on where it was interrupted, and says what is in it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.store import ShotStore, StoreRecipe, make_store, save_told
from nsp_pipeline.errors import UsageError

RECIPE = StoreRecipe(shots=5, side=64, seed=3)


@pytest.fixture
def scenes() -> Scenes:
    y, x = np.mgrid[0:200, 0:200]
    picture = np.stack([x, y, (x * y) % 200], -1).astype(np.uint8)
    return Scenes([picture, picture[:90, :150]], [1.0, 0.5])


class InterruptedStoreError(Exception):
    pass


def interrupt_at(number: int) -> Callable[[int, int], None]:
    def on_shot(done: int, total: int) -> None:
        if done == number:
            raise InterruptedStoreError

    return on_shot


def test_an_interrupted_store_ends_as_an_undisturbed_one(tmp_path: Path, scenes: Scenes) -> None:
    make_store(tmp_path / "whole", RECIPE, scenes)
    with pytest.raises(InterruptedStoreError):
        make_store(tmp_path / "broken", RECIPE, scenes, on_shot=interrupt_at(3))
    with pytest.raises(UsageError, match="of its shots are there"):
        ShotStore(tmp_path / "broken")
    make_store(tmp_path / "broken", RECIPE, scenes)
    whole, mended = ShotStore(tmp_path / "whole"), ShotStore(tmp_path / "broken")
    for name in RECIPE.arrays:
        assert np.array_equal(getattr(whole, name), getattr(mended, name), equal_nan=name == "told")


def test_shots_are_the_same_however_many_processes_and_threads_make_them(tmp_path: Path, scenes: Scenes) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        make_store(tmp_path / "one", RECIPE, scenes)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
    make_store(tmp_path / "three", RECIPE, scenes, workers=3)
    one, three = ShotStore(tmp_path / "one"), ShotStore(tmp_path / "three")
    for name in RECIPE.arrays:
        assert np.array_equal(getattr(one, name), getattr(three, name), equal_nan=name == "told")


def test_a_store_of_another_recipe_is_not_overwritten(tmp_path: Path, scenes: Scenes) -> None:
    make_store(tmp_path, RECIPE, scenes)
    with pytest.raises(UsageError, match="another recipe"):
        make_store(tmp_path, StoreRecipe(shots=5, side=64, seed=4), scenes)


def test_what_an_estimator_says_of_every_shot_is_kept(tmp_path: Path, scenes: Scenes) -> None:
    make_store(tmp_path, RECIPE, scenes)
    assert np.isnan(ShotStore(tmp_path).told).all()
    save_told(tmp_path, lambda pixels: np.full((1, 4, 8), pixels.mean(), np.float32))
    store = ShotStore(tmp_path)
    assert store.told[2] == pytest.approx(store.noisy[2].mean())


def test_tables_and_levels_tell_the_noise_that_shots_have(tmp_path: Path, scenes: Scenes) -> None:
    make_store(tmp_path, StoreRecipe(shots=12, side=64, seed=1), scenes)
    store = ShotStore(tmp_path)
    assert store.tables.min() >= 0
    assert np.all((store.levels.max((1, 2, 3)) == 0) == (store.tables.max((1, 2)) == 0))
