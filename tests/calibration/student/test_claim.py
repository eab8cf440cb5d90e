"""What photos are said to gain: what the most modest measure allows, with an error that knows its own limits."""

from dataclasses import replace

import numpy as np
import pytest

from nsp_pipeline.calibration.student.claim import Measures, claimed


def measures(simulated: float, real: float, *, photos: int = 4, apart: float = 0.0, scatter: float = 0.02) -> Measures:
    """Of a network that takes off so many dB of what simulated noise leaves, and of what photos hold."""
    rng = np.random.default_rng(0)
    crops = 24
    photo = np.arange(crops) % photos
    first = np.full(crops, 1e-4)

    def left(gain: float) -> np.ndarray:
        return first * 10 ** (-gain / 10) + scatter * first * rng.normal(size=crops)

    nothing = np.zeros(crops)
    return Measures(
        photo, first, left(simulated), photo, left(real) - first, nothing, apart * first, nothing, first, photo == 0
    )


def test_a_network_that_changes_nothing_is_said_to_gain_nothing() -> None:
    claim = claimed(measures(0, 0, scatter=0))
    assert claim.gain == 0
    assert not claim.sure


def test_photos_are_said_to_gain_less_than_any_measure_promises() -> None:
    claim = claimed(measures(1.0, 1.0))
    assert 0 < claim.gain < 0.7
    assert claim.sure
    assert claim.gain + claim.error < 1.1


def test_the_most_modest_measure_says_how_little_it_may_be_and_the_boldest_how_much() -> None:
    both, one, other = (claimed(measures(*gains)) for gains in ((0.5, 0.5), (3.0, 0.5), (0.5, 3.0)))
    for bold in (one, other):
        assert bold.low == pytest.approx(both.low, abs=0.05)
        assert bold.gain + bold.error > both.gain + both.error + 0.5
    assert not claimed(measures(3.0, -0.2)).sure


def test_what_no_network_mends_on_the_photos_makes_the_gain_smaller() -> None:
    """Error that the first network leaves beyond its noise is as much error after as before."""
    plain, textured = claimed(measures(1.0, 1.0)), claimed(measures(1.0, 1.0, apart=8.0))
    assert textured.low < 0 < plain.low
    assert textured.gain < 0.7 * plain.gain


def test_photos_that_disagree_make_the_error_larger_however_many_crops_agree() -> None:
    alike = measures(0.5, 0.5, photos=4)
    apart = replace(alike, rest=alike.rest * np.array([1.0, 0.1, 1.9, 1.0])[alike.real_photo])
    assert claimed(apart).error > 1.3 * claimed(alike).error
    assert claimed(apart).gain == pytest.approx(claimed(alike).gain, rel=0.15)
    assert not claimed(apart).sure


def test_one_photo_alone_says_nothing_of_others() -> None:
    assert claimed(measures(1.0, 1.0, photos=4)).sure
    assert not claimed(measures(1.0, 1.0, photos=1)).sure


def test_faint_gains_are_never_sure() -> None:
    assert not claimed(measures(0.05, 0.05, scatter=0.001)).sure
