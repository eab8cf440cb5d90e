"""Of a camera's noise less is told where the estimate may be off; of other noise what was found."""

from dataclasses import replace

import numpy as np
import pytest

from nsp_pipeline.core.noise import TABLE_NODES, NoiseLevel
from nsp_pipeline.core.wary_noise import with_told


def level(coarse_colour: float, off: float = 0.2) -> NoiseLevel:
    """Noise of 3 / 255 in grey, its colour so many times as coarse as white noise's."""
    sigma = np.array([3.0, 5.0, 1.0, coarse_colour]) / 255
    kinds = np.tile(sigma**2, (TABLE_NODES, 1)).astype(np.float32)
    variance = np.repeat(kinds[:, :1] + kinds[:, 2:3], 3, axis=1)
    unsure = np.full_like(kinds, off)
    return NoiseLevel(np.linspace(0, 1, TABLE_NODES, dtype=np.float32), variance, kinds, unsure)


@pytest.mark.parametrize("off", [0.0, 0.1, 0.5])
def test_a_cameras_noise_is_told_weaker_by_its_likely_error_and_stays_what_was_found(off: float) -> None:
    found = level(3.0, off)
    wary = with_told(found)
    assert np.array_equal(wary.table, found.table)
    assert wary.sigma == found.sigma
    assert wary.as_told.table == pytest.approx(found.table * np.exp(-off), rel=1e-5)
    assert wary.as_told.sigma == pytest.approx(found.sigma * np.exp(-off), rel=1e-5)


def test_each_brightness_is_told_by_its_own_error_and_all_kinds_alike() -> None:
    found = level(3.0)
    unsure = np.full_like(found.kinds, 9.0)
    unsure[:, 0] = np.linspace(0, 0.7, TABLE_NODES)
    told = with_told(replace(found, unsure=unsure)).as_told
    assert told.table[0] == pytest.approx(found.table[0] * np.exp(-unsure[:, 0]), rel=1e-5)


def test_other_noise_is_told_as_it_was_found() -> None:
    white, unknown = level(1.0), NoiseLevel.unknown()
    none = replace(level(3.0), kinds=np.zeros((TABLE_NODES, 4), np.float32))
    for noise in (white, unknown, none, replace(level(3.0), unsure=None), replace(level(3.0), own_means=True)):
        assert with_told(noise).as_told is with_told(noise)
