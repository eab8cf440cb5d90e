"""What an unsure estimate becomes beside what cameras usually leave."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.core.usual_noise import USUAL, as_usual

SHARE = np.full(8, 1 / 8, np.float32)


def kinds(times: float, rows: tuple[float, float, float, float] = (1, 1, 1, 1)) -> NDArray[np.float32]:
    """So many times the usual noise, (K, TABLE_ROWS), in 0..1 squared."""
    return np.asarray((times * np.array(rows)[:, None] * USUAL / 255).T ** 2, dtype=np.float32)


def doubt(of: float) -> NDArray[np.float32]:
    return np.full((8, 4), of, np.float32)


def moved(times: float, of: float) -> float:
    """How far on the way to the usual noise the grey comes that was so many times as strong, 0..1."""
    told = np.sqrt(as_usual(kinds(times), doubt(of), SHARE)[:, 0] / kinds(1)[:, 0]).mean()
    return float(1 - np.log(told) / np.log(times))


def test_the_less_sure_the_nearer_to_what_is_usual() -> None:
    shares = [moved(2.0, of) for of in (0.05, 0.2, 0.4, 0.8)]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    assert 0.2 < shares[2] < 0.35


@pytest.mark.parametrize("times", [0.4, 0.7, 1.5, 2.5])
def test_what_is_weaker_rises_and_what_is_stronger_falls_but_none_goes_beyond(times: float) -> None:
    assert 0 < moved(times, 0.4) < 0.5


def test_what_is_far_from_anything_usual_is_believed() -> None:
    assert moved(0.1, 0.3) < moved(0.5, 0.3) / 3


def test_noise_that_is_told_for_sure_stays_to_a_hundredth() -> None:
    np.testing.assert_allclose(as_usual(kinds(2), doubt(0.02), SHARE), kinds(2), rtol=0.01)


@pytest.mark.parametrize(
    ("what", "rows"),
    [("white", (1, 0.55, 3, 1.05)), ("unsmoothed", (1, 1, 3, 2)), ("stronger than any camera's", (6, 6, 6, 6))],
)
def test_other_noise_stays_as_it_is(what: str, rows: tuple[float, float, float, float]) -> None:
    found = kinds(1, rows)
    assert as_usual(found, doubt(0.5), SHARE) is found, what


def test_no_noise_stays_none_and_noise_of_grey_alone_stays_as_it_is() -> None:
    nothing = np.zeros((8, 4), np.float32)
    assert as_usual(nothing, doubt(0.5), SHARE) is nothing
    grey = kinds(2, (1, 1, 0, 0))
    np.testing.assert_allclose(as_usual(grey, doubt(0.5), SHARE), grey, rtol=1e-5)


def test_the_less_colour_the_less_it_is_like_a_cameras() -> None:
    colours = (0.1, 0.14, 0.18, 0.22)
    told = [as_usual(kinds(2, (1, 1, share, share)), doubt(0.5), SHARE)[:, 0].sum() for share in colours]
    assert told == sorted(told, reverse=True)
    assert told[1] > told[2] > told[-1]
