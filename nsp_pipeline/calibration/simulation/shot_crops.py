"""Crops of stored shots for students: turned, mirrored, exposed anew, with noise on top, and what is told of each."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.noise_tables import with_measurement_error
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.core.noise import TABLE_NODES
from nsp_pipeline.errors import UsageError

EXPOSED_SHARE, NOISIER_SHARE = 0.4, 0.25
GAINS, LIFTS = (0.4, 1.0), (0.0, 0.1)
MORE_NOISE = 0.3, 30.0
"""Standard deviation of white noise on top, in 8-bit steps, log-uniform."""

WHITE_ROWS = np.array([[1 / 3], [1 / 3], [2 / 3], [2 / 3]], np.float32)
"""What white noise, its variance in each channel 1, adds to the squares of a noise table's rows."""


@dataclass(frozen=True)
class ShotCrop:
    """`noisy` and `clean` (1, 3, side, side) in 0..1, and the noise table (1, 4, 8) that a student is told."""

    noisy: torch.Tensor
    clean: torch.Tensor
    table: torch.Tensor


class ShotCrops:
    """Draws from a store. A table is that of the whole shot, a larger piece of the photo than the crop."""

    def __init__(self, store: ShotStore, side: int, told: str) -> None:
        """Hold the store.

        Args:
            side: of the crops, in pixels.
            told: "estimate" tells what the estimator says of the shot, its errors included; "truth" the noise it has.

        Raises:
            UsageError: crops are larger than shots, or the estimator was not asked about these shots.
        """
        if side > store.recipe.side:
            raise UsageError(f"crops of {side} pixels do not fit into shots of {store.recipe.side}")
        if told == "estimate" and np.isnan(store.told).any():
            raise UsageError("the estimator was not asked about these shots: python -m nsp_pipeline.cli.estimator tell")
        self._store = store
        self._side = side
        self._estimated = told == "estimate"
        self._tables = store.told if self._estimated else store.tables

    def draw_batch(
        self, count: int, rng: np.random.Generator, *, within: float, unknown_share: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Crops of any of the shots: noisy and clean ones (count, 3, side, side), and what a student is told of each.

        True tables get a relative error of `within`; the estimator's have their errors already. `unknown_share` of all
        become UNKNOWN.
        """
        crops = [self.draw(rng) for _ in range(count)]
        noisy, clean, tables = (
            torch.cat([getattr(crop, part) for crop in crops]) for part in ("noisy", "clean", "table")
        )
        error = 0.0 if self._estimated else within
        return noisy, clean, with_measurement_error(tables, rng, within=error, unknown_share=unknown_share)

    def draw(self, rng: np.random.Generator) -> ShotCrop:
        """A crop of any of the shots."""
        number, room = int(rng.integers(len(self._store))), self._store.recipe.side - self._side
        top, left = (int(place) for place in rng.integers(room + 1, size=2))
        noisy, clean = (
            torch.from_numpy(np.array(shots[number, top : top + self._side, left : left + self._side]))
            for shots in (self._store.noisy, self._store.clean)
        )
        noisy, clean = (part.permute(2, 0, 1)[None].float() / 255 for part in (noisy, clean))
        table = np.array(self._tables[number])
        if rng.random() < EXPOSED_SHARE:
            gain, lift = float(rng.uniform(*GAINS)), float(rng.uniform(*LIFTS))
            noisy, clean, table = gain * noisy + lift, gain * clean + lift, exposed(table, gain, lift)
        if rng.random() < NOISIER_SHARE:
            sigma = float(np.exp(rng.uniform(*np.log(MORE_NOISE)))) / 255
            noise = torch.from_numpy(rng.standard_normal(tuple(noisy.shape), dtype=np.float32))
            noisy = (noisy + sigma * noise).clamp(0, 1)
            table = np.where(table < 0, table, np.sqrt(table**2 + WHITE_ROWS * np.float32(sigma**2)))
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        noisy, clean = (torch.rot90(part, turns, (2, 3)) for part in (noisy, clean))
        if mirrored:
            noisy, clean = noisy.flip(3), clean.flip(3)
        return ShotCrop(noisy, clean, torch.from_numpy(table)[None])


def exposed(table: NDArray[np.float32], gain: float, lift: float) -> NDArray[np.float32]:
    """The noise table (4, 8) of a picture p that became gain·p + lift; an unknown one stays unknown."""
    if table.min() < 0:
        return table
    places = np.linspace(0, 1, TABLE_NODES)
    before = (places - lift) / gain
    return np.stack([gain * np.interp(before, places, row) for row in table]).astype(np.float32)
