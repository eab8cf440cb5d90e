"""Painted pictures: the size asked for, the same from the same rng, with edges and colours to learn from."""

import numpy as np
from noisy_photos import clean_scene

from nsp_pipeline.calibration.student.dead_leaves import paint

PALETTE = [clean_scene(96, 96).astype(np.uint8)]


def test_pictures_are_as_large_as_asked_for_and_have_edges_and_calm_places() -> None:
    rng = np.random.default_rng(0)
    pictures = np.stack([paint(128, PALETTE, rng) for _ in range(2)]).astype(int)
    assert pictures.shape == (2, 128, 128, 3)
    steps = np.abs(np.diff(pictures, axis=1)).max(3)
    assert (steps > 12).mean() > 0.02
    assert (steps <= 3).mean() > 0.2


def test_the_same_seed_paints_the_same_picture() -> None:
    first, again, other = (paint(64, PALETTE, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
