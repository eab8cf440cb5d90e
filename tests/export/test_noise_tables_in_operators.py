"""What operators make of noise tables is what core/noise_kind.py makes of them."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from nsp_export.brightening_operators import as_white, too_strong
from nsp_export.noise_operators import as_usual, pooled
from nsp_pipeline.core.noise import UNKNOWN
from nsp_pipeline.core.noise_kind import as_white as as_white_here
from nsp_pipeline.core.noise_kind import is_too_strong
from nsp_pipeline.core.noise_prior import sigma_of
from nsp_pipeline.core.usual_noise import as_usual as as_usual_here
from nsp_pipeline.noise.estimate import WARY
from nsp_pipeline.noise.pooling import Blocks, likely_error, nearness
from nsp_pipeline.noise.pooling import pooled as pooled_here


def opened(function: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(function.to_model_proto().SerializeToString())


def tables() -> list[NDArray[np.float32]]:
    """Noise of any kind: strengths of rows, and how they change with the brightness."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(900):
        grey = np.exp(rng.uniform(np.log(0.5), np.log(25)))
        coarse, colour, coarse_colour = np.exp(rng.uniform(np.log([0.8, 0.05, 0.8]), np.log([2.5, 2.0, 3.5])))
        rows = grey * np.array([1, coarse, colour, colour * coarse_colour])
        change = np.exp(rng.normal(0, 0.1, (4, 8)))
        found.append((rows[:, None] * change / 255)[None].astype(np.float32))
    return [*found, np.zeros((1, 4, 8), np.float32)]


@pytest.mark.parametrize("doubt", [0.0, 0.3])
def test_white_noise_and_texture_are_told_by_their_colour(doubt: float) -> None:
    session = opened(as_white)
    names = [value.name for value in session.get_inputs()]
    changed = []
    for table in tables():
        kinds = (table[0].T ** 2).astype(np.float32)
        expected = as_white_here(kinds, doubt)
        given = dict(zip(names, (table, np.array(doubt, np.float32), np.array(True)), strict=True))
        told, new = session.run(None, given)
        np.testing.assert_allclose(told[0].T, np.sqrt(expected), rtol=1e-4, atol=1e-7)
        assert bool(new) == (expected is not kinds)
        changed.append(bool(new))
    assert 40 < sum(changed) < 800


def test_what_a_curve_has_bent_what_is_grey_and_what_is_unknown_stay_as_they_are() -> None:
    session = opened(as_white)
    names = [value.name for value in session.get_inputs()]
    grey = np.zeros((1, 4, 8), np.float32)
    grey[0, 0], grey[0, 1] = 6 / 255, 9 / 255
    of_texture = np.repeat(np.array([10, 15, 5, 5.5], np.float32)[None, :, None] / 255, 8, 2)
    kinds = (grey[0].T ** 2).astype(np.float32)
    assert as_white_here(kinds, 0.3) is kinds
    for table, upright in ((of_texture, False), (grey, True), (np.full((1, 4, 8), UNKNOWN, np.float32), True)):
        told, new = session.run(
            None, dict(zip(names, (table, np.array(0.3, np.float32), np.array(upright)), strict=True))
        )
        np.testing.assert_array_equal(told, table)
        assert not new


def test_noise_too_strong_for_a_camera_is_told_by_its_table() -> None:
    session = opened(too_strong)
    (name,) = (value.name for value in session.get_inputs())
    told = [bool(session.run(None, {name: table})[0]) for table in tables()]
    assert told == [is_too_strong(table) for table in tables()]
    assert 30 < sum(told) < 370


def test_what_a_camera_has_smoothed_is_told_by_what_is_usual() -> None:
    session = opened(as_usual)
    names = [value.name for value in session.get_inputs()]
    rng = np.random.default_rng(2)
    changed = 0
    for table in tables():
        share = rng.dirichlet(np.ones(8)).astype(np.float32)
        unsure = rng.uniform(0.1, 0.8, (4, 8)).astype(np.float32)
        kinds = (table[0].T ** 2).astype(np.float32)
        expected = as_usual_here(kinds, unsure.T, share)
        (told,) = session.run(None, dict(zip(names, (table[0], unsure, 5 * share[None]), strict=True)))
        np.testing.assert_allclose(told.T, np.sqrt(expected), rtol=1e-4, atol=1e-7)
        changed += expected is not kinds
    assert 100 < changed < 800


@pytest.mark.parametrize("sides", [(96, 128), (512, 512), (1400, 1100), (40, 70000)])
def test_blocks_are_taken_together_and_doubted_as_here(sides: tuple[int, int]) -> None:
    session = opened(pooled)
    names = [value.name for value in session.get_inputs()]
    rng = np.random.default_rng(3)
    said = Blocks(
        rng.uniform(0.1, 0.6, 50).astype(np.float32),
        rng.normal(-4.5, 0.3, (50, 4)).astype(np.float32),
        rng.uniform(0.1, 0.9, (50, 4)).astype(np.float32),
    )
    near = nearness(said.brightness).astype(np.float32)
    image = np.broadcast_to(np.zeros(1, np.float32), (1, 3, *sides))
    given = (said.level, said.unsure, np.ones((50, 1), np.float32), near, np.ascontiguousarray(image))
    sigma, off = session.run(None, dict(zip(names, given, strict=True)))
    level, unsure = pooled_here(said)
    np.testing.assert_allclose(sigma, sigma_of(level - WARY * unsure), rtol=1e-4)
    np.testing.assert_allclose(off, likely_error(said, sides[0] * sides[1]), rtol=1e-4)
