"""Training pairs from one noisy image: Next-Scale Prediction's cross-scale pair construction (paper, Sec. 3.2).

An image is cut into s×s patches. In every patch n disjoint groups of t×t pixels become one cell each of n target
images; the other s² - n·t² pixels are shuffled and dealt one to each input image. No pixel is in its own target,
so the noise of an input is independent of its target's wherever it is uncorrelated across the chosen pixels.

Arrays are torch tensors by duck typing only: this module computes on whatever device the image is on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations, product
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UsageError

if TYPE_CHECKING:
    import torch

# Bounds of the search for a disjoint layout: cells of a patch that it is tried for, and steps until it gives up.
MAX_SEARCHED_CELLS = 1_000
SEARCH_BUDGET = 100_000
REDRAW_ROUNDS = 200


class Strategy(StrEnum):
    """How the t×t pixels of a target cell are chosen in their patch."""

    RANDOM = "random"
    """Any t² pixels, in random order."""
    SORTED = "sorted"
    """Any t² pixels, in row-major order."""
    INTERSECTED = "intersected"
    """The crossings of t random rows with t random columns, in row-major order."""
    CONSECUTIVE = "consecutive"
    """A solid t×t block: (s - t + 1)² positions."""


@dataclass(frozen=True)
class PairGeometry:
    """What a pair construction needs to know: the paper's s, t and n, and the strategy.

    Raises UsageError when 1 < t < s does not hold or n targets can never fit; the message names the largest n.
    """

    s: int = 5
    t: int = 2
    n: int = 1
    strategy: Strategy = Strategy.CONSECUTIVE

    def __post_init__(self) -> None:
        if not 1 < self.t < self.s:
            raise UsageError(f"pair construction needs 1 < t < s, got s = {self.s}, t = {self.t}")
        largest = largest_num_targets(self.s, self.t, self.strategy)
        if not 1 <= self.n <= largest:
            raise UsageError(
                f"n = {self.n} targets cannot be cut from every {self.s}×{self.s} patch with t = {self.t} and "
                f"strategy '{self.strategy}': n must be 1 to {largest}"
            )

    @property
    def num_inputs(self) -> int:
        """Input images a patch yields: s² - n·t²."""
        return self.s**2 - self.n * self.t**2


def largest_num_targets(s: int, t: int, strategy: Strategy) -> int:
    """Return the largest n that the strategy can place in an s×s patch.

    `random` and `sorted` use any pixels, so floor(s²/t²), less one where nothing would be left as input;
    `consecutive` places a grid of floor(s/t)² blocks, which no packing of blocks beats; `intersected` reaches at
    least the grid, and more where the search finds disjoint crossings.
    """
    if strategy in (Strategy.RANDOM, Strategy.SORTED):
        return (s * s - 1) // (t * t)
    grid = (s // t) ** 2
    if strategy is Strategy.CONSECUTIVE:
        return grid if grid * t * t < s * s else grid - 1
    n = grid if grid * t * t < s * s else grid - 1
    if comb(s, t) ** 2 <= MAX_SEARCHED_CELLS:
        table = _cell_table(s, t, strategy)
        while (n + 1) * t * t < s * s and _find_disjoint(table, n + 1):
            n += 1
    return n


@lru_cache(maxsize=16)
def _cell_table(s: int, t: int, strategy: Strategy) -> NDArray[np.int64]:
    """Return all (M, t²) target cells of a patch as row-major pixel indices: blocks, or crossings."""
    if strategy is Strategy.CONSECUTIVE:
        spans = [tuple(range(start, start + t)) for start in range(s - t + 1)]
    else:
        spans = list(combinations(range(s), t))
    return np.array([[y * s + x for y in ys for x in xs] for ys, xs in product(spans, spans)], dtype=np.int64)


def construct_pairs(
    image: torch.Tensor, geometry: PairGeometry, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut one batch of noisy images into inputs and targets (paper, Eq. 4 to 6).

    Args:
        image: (B, C, H, W), any dtype; H and W multiples of s.
        geometry: s, t, n and the strategy.
        generator: source of randomness, on the image's device; the device's default one when None.

    Returns:
        inputs (B, s²-n·t², C, H/s, W/s) and targets (B, n, C, H/s·t, W/s·t), on the image's device, same dtype.
        The training pairs are their Cartesian product.

    Raises:
        UsageError: H or W is not a multiple of s.
    """
    import torch

    s, t, n = geometry.s, geometry.t, geometry.n
    if image.ndim != 4 or image.shape[2] % s or image.shape[3] % s or 0 in image.shape:
        raise UsageError(
            f"pair construction needs (B, C, H, W) with H and W multiples of {s}, got {tuple(image.shape)}"
        )
    batch, channels, height, width = image.shape
    rows, cols = height // s, width // s
    cells = _draw_cells(batch * rows * cols, geometry, image.device, generator)
    order = _deal_the_rest(cells, s * s, generator)

    # (B, C, s², rows, cols): pixel k of every patch as an image; gathering along s² is then the whole construction.
    patches = image.reshape(batch, channels, rows, s, cols, s).permute(0, 1, 3, 5, 2, 4)
    patches = patches.reshape(batch, channels, s * s, rows, cols)
    index = torch.cat([cells.flatten(1), order], 1).to(torch.int64)
    index = index.reshape(batch, rows, cols, s * s).permute(0, 3, 1, 2)[:, None].expand(-1, channels, -1, -1, -1)
    dealt = patches.gather(2, index)

    targets = dealt[:, :, : n * t * t].reshape(batch, channels, n, t, t, rows, cols)
    targets = targets.permute(0, 2, 1, 5, 3, 6, 4).reshape(batch, n, channels, rows * t, cols * t)
    inputs = dealt[:, :, n * t * t :].transpose(1, 2).contiguous()
    return inputs, targets


def _draw_cells(
    count: int, geometry: PairGeometry, device: torch.device, generator: torch.Generator | None
) -> torch.Tensor:
    """Draw n disjoint target cells for each of `count` patches: (count, n, t²) pixel indices of the patch."""
    import torch

    s, t, n, strategy = geometry.s, geometry.t, geometry.n, geometry.strategy
    if strategy in (Strategy.RANDOM, Strategy.SORTED):
        keys = torch.rand(count, s * s, device=device, generator=generator)
        cells = keys.argsort(1)[:, : n * t * t].reshape(count, n, t * t)
        return cells.sort(2).values if strategy is Strategy.SORTED else cells

    table = torch.from_numpy(_cell_table(s, t, strategy)).to(device)
    if n == 1:
        return table[torch.randint(len(table), (count, 1), device=device, generator=generator)]
    return _draw_disjoint(table, count, geometry, generator)


def _draw_disjoint(
    table: torch.Tensor, count: int, geometry: PairGeometry, generator: torch.Generator | None
) -> torch.Tensor:
    """Draw the n cells of every patch one after the other, each uniformly among those that still fit.

    A patch in which the next cell no longer fits starts again (with `intersected`, s = 5, t = 2, n = 5 about four
    draws in five do). One that is still unlucky after many rounds gets a fixed layout, so that the loop ends.
    """
    import torch

    n, device = geometry.n, table.device
    overlaps = (table[:, None, :, None] == table[None, :, None, :]).flatten(2).any(2)
    picks = torch.empty(count, n, dtype=torch.int64, device=device)
    pending = torch.arange(count, device=device)
    for _ in range(REDRAW_ROUNDS):
        fits = torch.ones(len(pending), len(table), dtype=torch.bool, device=device)
        for target in range(n):
            keys = torch.rand(fits.shape, device=device, generator=generator).masked_fill_(~fits, -1.0)
            best = keys.max(1)
            picks[pending, target] = best.indices
            if target == n - 1:
                pending = pending[best.values < 0]
            else:
                fits &= ~overlaps[best.indices]
        if not len(pending):
            break
    else:
        picks[pending] = torch.tensor(_packed_cells(geometry), device=device)
    return table[picks]


@lru_cache(maxsize=16)
def _packed_cells(geometry: PairGeometry) -> list[int]:
    """Return table rows of one disjoint layout of n cells."""
    layout = _find_disjoint(_cell_table(geometry.s, geometry.t, geometry.strategy), geometry.n)
    assert layout is not None, geometry
    return layout


def _find_disjoint(table: NDArray[np.int64], n: int) -> list[int] | None:
    """Find n disjoint rows of a cell table by depth-first search; None when there are none or the search gives up."""
    cells = [frozenset(row) for row in table.tolist()]
    budget = SEARCH_BUDGET

    def place(chosen: list[int], free: list[int]) -> list[int] | None:
        nonlocal budget
        if len(chosen) == n:
            return chosen
        for position, index in enumerate(free):
            budget -= 1
            if budget < 0:
                return None
            rest = [other for other in free[position + 1 :] if not cells[other] & cells[index]]
            if found := place([*chosen, index], rest):
                return found
        return None

    return place([], list(range(len(cells))))


def _deal_the_rest(cells: torch.Tensor, pixels: int, generator: torch.Generator | None) -> torch.Tensor:
    """Shuffle the pixels that no target uses: (patches, s² - n·t²) indices, each patch on its own."""
    import torch

    keys = torch.rand(len(cells), pixels, device=cells.device, generator=generator)
    # Target pixels sort behind every other key, so the front of the order is a fair shuffle of the rest.
    keys.scatter_(1, cells.flatten(1), 2.0)
    return keys.argsort(1)[:, : pixels - cells[0].numel()]
