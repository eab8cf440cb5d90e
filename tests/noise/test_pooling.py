"""Blocks of a photo are heard by how sure they are, and what no block has is filled in from its neighbours."""

import numpy as np
import pytest

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.noise.pooling import PIECE, Blocks, likely_error, pooled


def blocks(*said: tuple[float, float, float]) -> Blocks:
    """Blocks of (brightness, level, unsure), the same in all rows."""
    brightness, level, unsure = (np.array(part, np.float32) for part in zip(*said, strict=True))
    return Blocks(brightness, level[:, None].repeat(TABLE_ROWS, 1), unsure[:, None].repeat(TABLE_ROWS, 1))


def test_a_sure_block_outweighs_many_unsure_ones() -> None:
    level, _ = pooled(blocks((3 / 7, -4.0, 0.05), *[(3 / 7, -2.0, 1.0)] * 20))
    assert level[:, 3] == pytest.approx(-4.0, abs=0.15)


def test_noise_that_changes_with_brightness_is_told_so() -> None:
    level, _ = pooled(blocks(*[(node / 7, -5.0 + 0.2 * node, 0.1) for node in range(TABLE_NODES) for _ in range(20)]))
    assert level[0] == pytest.approx(-5.0 + 0.2 * np.arange(TABLE_NODES), abs=0.08)


def test_what_no_block_has_is_filled_from_its_neighbours_and_less_sure_the_further_away() -> None:
    level, unsure = pooled(blocks(*[(2 / 7, -4.0, 0.1)] * 9))
    assert level == pytest.approx(-4.0, abs=1e-5)
    assert np.all(np.diff(unsure[0, 2:]) > 0)
    assert np.all(np.diff(unsure[0, :3]) < 0)


def test_many_blocks_of_one_photo_are_not_surer_than_what_they_share() -> None:
    _, unsure = pooled(blocks(*[(0.5, -4.0, 0.05)] * 5000))
    assert unsure.min() > 0.03


def test_what_is_hard_about_a_photo_is_so_in_all_of_its_blocks() -> None:
    few, many = (likely_error(blocks(*[(3 / 7, -4.0, 0.4)] * count)) for count in (10, 5000))
    assert many[:, 3] == pytest.approx(few[:, 3], rel=0.05)
    assert many[:, 3] == pytest.approx(0.41, abs=0.02)
    assert np.all(np.diff(many[0, 3:]) > 0)
    assert likely_error(blocks(*[(3 / 7, -4.0, 0.05)] * 100))[0, 3] < 0.12


def test_of_a_larger_picture_blocks_are_not_as_hard_all_over() -> None:
    hard = blocks(*[(3 / 7, -4.0, 0.4)] * 100)
    off = [float(likely_error(hard, pixels)[0, 3]) for pixels in (64 * 64, PIECE, 4 * PIECE, 30 * PIECE, 3000 * PIECE)]
    assert off[0] == off[1]
    assert off[1] > off[2] > off[3] > off[4] - 1e-6
    assert off[4] > 0.5 * off[0]
