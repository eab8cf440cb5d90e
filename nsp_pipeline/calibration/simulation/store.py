"""A store of simulated shots: made once, mapped from disk, and drawn from for as long as trainings go on.

A folder of NumPy arrays, the shots along their first axis, so that any program can read it:

    noisy.npy, clean.npy   (N, side, side, 3) uint8
    tables.npy             (N, 4, 8) float32: the noise table of the whole shot (see core/noise.py), the truth
    levels.npy             (N, 4, side/16, side/16) float16: the same four kinds of noise in each patch of 16 pixels
    kinds.npy              (N,) uint8: which of KINDS
    told.npy               (N, 4, 8) float32: what the estimator says of the shot; NaN where it was not asked
    store.json             the recipe: seed, side, number of shots, scenes; and how many shots are there

Shot number i depends on the recipe and i alone, so a store that was interrupted is continued where it stopped.
"""

import json
import multiprocessing as mp
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.cameras import KINDS, ShotRange, take_shot
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, patch_levels
from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.core.noise import PATCH, TABLE_NODES, TABLE_ROWS
from nsp_pipeline.errors import UsageError

STORE_FILE = "store.json"
DEFAULT_RANGE = ShotRange()
SAVED_EVERY = 50
AT_A_TIME = 4
"""Shots that a worker makes before it hands them over."""


@dataclass(frozen=True)
class StoreRecipe:
    """What decides the shots of a store, apart from the ranges that are in the code: a seed, their number and side."""

    shots: int
    side: int = 384
    seed: int = 0

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each file."""
        patches = self.side // PATCH
        return {
            "noisy": ((self.shots, self.side, self.side, 3), "uint8"),
            "clean": ((self.shots, self.side, self.side, 3), "uint8"),
            "tables": ((self.shots, TABLE_ROWS, TABLE_NODES), "float32"),
            "levels": ((self.shots, TABLE_ROWS, patches, patches), "float16"),
            "kinds": ((self.shots,), "uint8"),
            "told": ((self.shots, TABLE_ROWS, TABLE_NODES), "float32"),
        }


class ShotStore:
    """The shots of a folder, mapped; see the module for the arrays, which are its attributes."""

    def __init__(self, folder: Path) -> None:
        """Open a store that `make_store` has filled; raises UsageError where there is none or it is not complete."""
        recipe, done = _read(folder)
        if recipe is None or done < recipe.shots:
            raise UsageError(f"{folder}: {done} of its shots are there; make the store first")
        self.recipe = recipe
        self.noisy, self.clean, self.tables, self.levels, self.kinds, self.told = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in recipe.arrays
        )

    def __len__(self) -> int:
        return self.recipe.shots

    @property
    def identity(self) -> list[int]:
        """What tells this store from others, for a training that is resumed: number, side and seed of its shots."""
        return [self.recipe.shots, self.recipe.side, self.recipe.seed]


def make_store(
    folder: Path,
    recipe: StoreRecipe,
    scenes: Scenes,
    chosen: ShotRange = DEFAULT_RANGE,
    workers: int = 1,
    on_shot: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill a folder with shots, from where an earlier call was interrupted.

    Args:
        workers: processes that make them; the shots are the same however many there are.
        on_shot: called with (shots done, all of them).

    Raises:
        UsageError: the folder holds a store of another recipe.
    """
    found, done = _read(folder)
    if found is not None and found != recipe:
        raise UsageError(f"{folder} holds a store of another recipe: {found}")
    folder.mkdir(parents=True, exist_ok=True)
    mode = "r+" if found else "w+"
    files = {
        name: open_memmap(folder / f"{name}.npy", mode=mode, dtype=kind, shape=None if found else shape)
        for name, (shape, kind) in recipe.arrays.items()
    }
    if not found:
        files["told"][:] = np.nan
        _write(folder, recipe, 0)
    maker = _Maker(recipe, scenes, chosen)
    numbers = range(done, recipe.shots)
    # Forked, workers have the scenes without a copy.
    pool = mp.get_context("fork").Pool(workers, maker.stay) if workers > 1 else None
    threads = torch.get_num_threads()
    # Sums over several threads are rounded otherwise.
    torch.set_num_threads(1)
    try:
        made = pool.imap(_of_this_worker, numbers, AT_A_TIME) if pool else map(maker.make, numbers)
        for number, parts in zip(numbers, made, strict=True):
            for name, part in parts.items():
                files[name][number] = part
            if (number + 1) % SAVED_EVERY == 0 or number + 1 == recipe.shots:
                for file in files.values():
                    file.flush()
                _write(folder, recipe, number + 1)
            on_shot(number + 1, recipe.shots)
    finally:
        torch.set_num_threads(threads)
        if pool:
            pool.terminate()


@dataclass(frozen=True)
class _Maker:
    recipe: StoreRecipe
    scenes: Scenes
    chosen: ShotRange

    def stay(self) -> None:
        """Make this the maker of a worker, which computes on one processor: there is a worker for each."""
        torch.set_num_threads(1)
        _workers.append(self)

    def make(self, number: int) -> dict[str, Any]:
        """What a store holds of a shot, but for what is told of it."""
        rng = np.random.default_rng([self.recipe.seed, 7, number])
        shot, kind = take_shot(self.scenes.draw(2 * self.recipe.side, rng), self.chosen, rng)
        return {
            "noisy": _as_bytes(shot.noisy),
            "clean": _as_bytes(shot.clean),
            "tables": noise_tables(shot.clean + shot.flat, shot.clean, torch.ones(1, 1, 1, 1))[0].numpy(),
            "levels": patch_levels(shot.flat)[0].numpy(),
            "kinds": KINDS.index(kind),
        }


_workers: list[_Maker] = []


def _of_this_worker(number: int) -> dict[str, Any]:
    return _workers[-1].make(number)


def save_told(folder: Path, tell: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
    """Ask an estimator about every shot, (side, side, 3) -> (1, 4, 8), and keep what it says."""
    store = ShotStore(folder)
    told = np.load(folder / "told.npy", mmap_mode="r+")
    for number in range(len(store)):
        told[number] = tell(np.asarray(store.noisy[number]))[0]
    told.flush()


def _as_bytes(image: torch.Tensor) -> NDArray[np.uint8]:
    return (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _read(folder: Path) -> tuple[StoreRecipe | None, int]:
    """The recipe of a folder's store, None where there is none, and how many of its shots are there."""
    path = folder / STORE_FILE
    if not path.exists():
        return None, 0
    content = json.loads(path.read_text(encoding="utf-8"))
    return StoreRecipe(**content["recipe"]), int(content["done"])


def _write(folder: Path, recipe: StoreRecipe, done: int) -> None:
    partial = folder / f".{STORE_FILE}.nsp-part"
    partial.write_text(json.dumps({"recipe": asdict(recipe), "done": done}), encoding="utf-8")
    partial.replace(folder / STORE_FILE)
