"""A small store of simulated shots of an even scene."""

from pathlib import Path

import numpy as np

from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.store import ShotStore, StoreRecipe, make_store, save_told

TOLD = 9.0


def stored_shots(folder: Path) -> ShotStore:
    """Three shots of 64×64; the estimator is made to say TOLD everywhere, which is no noise that a shot has."""
    make_store(folder, StoreRecipe(shots=3, side=64, seed=0), Scenes([np.full((150, 150, 3), 120, np.uint8)], [1.0]))
    save_told(folder, lambda pixels: np.full((1, 4, 8), TOLD, np.float32))
    return ShotStore(folder)
