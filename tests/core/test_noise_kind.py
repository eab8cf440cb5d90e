"""Noise that a camera has smoothed on its way to a JPEG, and noise that nobody has."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN, NoiseLevel
from nsp_pipeline.core.noise_kind import is_unsmoothed
from nsp_pipeline.core.noise_table import camera_table, table_from_variance


def table(grey: float, coarse_grey: float, colour: float, coarse_colour: float) -> NDArray[np.float32]:
    rows = np.array([grey, coarse_grey, colour, coarse_colour], np.float32) / 255
    return np.repeat(rows[None, :, None], TABLE_NODES, axis=2)


@pytest.mark.parametrize(
    ("rows", "unsmoothed"),
    [
        ((5, 5, 7, 7), True),
        ((5, 7, 5, 10), True),
        ((2, 3.5, 1, 3), False),
        ((5, 5, 0, 0), True),
        ((5, 8, 0.1, 0.15), False),
    ],
    ids=["white", "demosaiced", "of a JPEG", "white, of a grey photo", "of a grey photo's JPEG"],
)
def test_colour_noise_says_it_and_grey_noise_where_there_is_no_colour(
    rows: tuple[float, float, float, float], unsmoothed: bool
) -> None:
    assert is_unsmoothed(table(*rows)) is unsmoothed


def test_what_is_stated_in_numbers_is_told_apart_too() -> None:
    assert is_unsmoothed(table_from_variance(np.full(TABLE_NODES, (10 / 255) ** 2), 1.0))
    assert not is_unsmoothed(camera_table(10))


def test_no_noise_and_unknown_noise_are_none_of_it() -> None:
    assert not is_unsmoothed(np.zeros((1, TABLE_ROWS, TABLE_NODES), np.float32))
    assert not is_unsmoothed(np.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, np.float32))
    assert not is_unsmoothed(NoiseLevel.unknown().table)
