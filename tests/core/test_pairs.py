"""Pair construction keeps its promises for every s, t, n and strategy that is possible."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nsp_pipeline.core.pairs import PairGeometry, Strategy, construct_pairs, largest_num_targets
from nsp_pipeline.errors import UsageError


@st.composite
def geometries(draw: st.DrawFn) -> PairGeometry:
    s = draw(st.integers(3, 6))
    t = draw(st.integers(2, min(3, s - 1)))
    strategy = draw(st.sampled_from(list(Strategy)))
    return PairGeometry(s, t, draw(st.integers(1, largest_num_targets(s, t, strategy))), strategy)


def numbered_pixels(batch: int, rows: int, cols: int, s: int) -> torch.Tensor:
    """An image (B, 2, H, W) whose every pixel has a number of its own in channel 0, and minus it in channel 1."""
    numbers = torch.arange(batch * rows * s * cols * s).reshape(batch, 1, rows * s, cols * s)
    return torch.cat([numbers, -numbers], 1)


def split_cells(targets: torch.Tensor, t: int) -> torch.Tensor:
    """(B, n, H·t, W·t) -> (B, n, H, W, t²): each patch's cell in row-major order."""
    batch, n, height, width = targets.shape
    cells = targets.reshape(batch, n, height // t, t, width // t, t).permute(0, 1, 2, 4, 3, 5)
    return cells.reshape(batch, n, height // t, width // t, t * t)


@settings(max_examples=60, deadline=None)
@given(geometries(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 1000))
def test_every_pixel_of_a_patch_is_used_exactly_once(
    geometry: PairGeometry, batch: int, rows: int, cols: int, seed: int
) -> None:
    s, t, n = geometry.s, geometry.t, geometry.n
    image = numbered_pixels(batch, rows, cols, s)

    inputs, targets = construct_pairs(image, geometry, torch.Generator().manual_seed(seed))

    assert inputs.shape == (batch, s * s - n * t * t, 2, rows, cols)
    assert targets.shape == (batch, n, 2, rows * t, cols * t)
    cells = split_cells(targets[:, :, 0], t)
    used = torch.cat([inputs[:, :, 0].permute(0, 2, 3, 1), cells.permute(0, 2, 3, 1, 4).flatten(3)], 3)
    patches = image[:, 0].reshape(batch, rows, s, cols, s).permute(0, 1, 3, 2, 4).flatten(3)
    assert torch.equal(used.sort(3).values, patches.sort(3).values)


@settings(max_examples=30, deadline=None)
@given(geometries(), st.integers(0, 1000))
def test_input_pixel_never_reaches_its_own_target(geometry: PairGeometry, seed: int) -> None:
    inputs, targets = construct_pairs(
        numbered_pixels(1, 3, 4, geometry.s), geometry, torch.Generator().manual_seed(seed)
    )

    assert not set(inputs[:, :, 0].flatten().tolist()) & set(targets[:, :, 0].flatten().tolist())


@settings(max_examples=30, deadline=None)
@given(geometries(), st.integers(0, 1000))
def test_channels_of_a_pixel_travel_together(geometry: PairGeometry, seed: int) -> None:
    inputs, targets = construct_pairs(
        numbered_pixels(2, 2, 2, geometry.s), geometry, torch.Generator().manual_seed(seed)
    )

    assert torch.equal(inputs[:, :, 0], -inputs[:, :, 1])
    assert torch.equal(targets[:, :, 0], -targets[:, :, 1])


def drawn_cells(strategy: Strategy, n: int) -> torch.Tensor:
    """Places in their 5×5 patch, (many, 4), of the pixels of each drawn 2×2 cell, in the cell's row-major order."""
    side = 40
    image = torch.arange(25).reshape(5, 5).repeat(side, side)[None, None]
    _, targets = construct_pairs(image, PairGeometry(5, 2, n, strategy), torch.Generator().manual_seed(0))
    return split_cells(targets[:, :, 0], 2).reshape(-1, 4)


@pytest.mark.parametrize("n", [1, 4])
def test_consecutive_cells_are_solid_blocks_at_every_position(n: int) -> None:
    cells = drawn_cells(Strategy.CONSECUTIVE, n)

    assert torch.equal(cells - cells[:, :1], torch.tensor([0, 1, 5, 6]).expand_as(cells))
    assert len(cells[:, 0].unique()) == 16


@pytest.mark.parametrize("n", [1, 4, 5])
def test_intersected_cells_are_crossings_of_rows_and_columns(n: int) -> None:
    cells = drawn_cells(Strategy.INTERSECTED, n)
    rows, cols = cells // 5, cells % 5

    assert torch.equal(rows[:, [0, 2]], rows[:, [1, 3]])
    assert torch.equal(cols[:, [0, 1]], cols[:, [2, 3]])
    assert (rows[:, 0] < rows[:, 2]).all()
    assert (cols[:, 0] < cols[:, 1]).all()
    assert ((rows[:, 2] - rows[:, 0]) > 1).any()


def test_sorted_cells_are_in_row_major_order_and_random_ones_are_not() -> None:
    assert (drawn_cells(Strategy.SORTED, 6).diff() > 0).all()
    assert (drawn_cells(Strategy.RANDOM, 6).diff() < 0).any()


@pytest.mark.parametrize(
    ("strategy", "largest"),
    [(Strategy.RANDOM, 6), (Strategy.SORTED, 6), (Strategy.INTERSECTED, 5), (Strategy.CONSECUTIVE, 4)],
)
def test_impossible_number_of_targets_names_the_largest_possible(strategy: Strategy, largest: int) -> None:
    PairGeometry(5, 2, largest, strategy)
    with pytest.raises(UsageError, match=f"n must be 1 to {largest}"):
        PairGeometry(5, 2, largest + 1, strategy)


@pytest.mark.parametrize(("s", "t"), [(5, 1), (5, 5), (2, 3)])
def test_scale_must_lie_between_one_and_the_patch_side(s: int, t: int) -> None:
    with pytest.raises(UsageError, match="1 < t < s"):
        PairGeometry(s, t)


def test_image_sides_must_be_multiples_of_the_patch_side() -> None:
    with pytest.raises(UsageError, match=r"multiples of 5, got \(1, 3, 12, 10\)"):
        construct_pairs(torch.zeros(1, 3, 12, 10), PairGeometry())


def test_the_same_seed_gives_the_same_pairs() -> None:
    image = torch.rand(2, 3, 20, 20)
    draws = [construct_pairs(image, PairGeometry(n=2), torch.Generator().manual_seed(7)) for _ in range(2)]

    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pairs_are_built_on_the_images_own_device() -> None:
    inputs, targets = construct_pairs(torch.rand(1, 3, 10, 10, device="cuda"), PairGeometry())

    assert inputs.is_cuda
    assert targets.is_cuda
