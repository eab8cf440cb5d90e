"""Noise that a camera has smoothed on its way to a JPEG, and noise that nobody has."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN, NoiseLevel
from nsp_pipeline.core.noise_kind import ALIKE, NoiseKind, as_white, is_unsmoothed, noise_kind
from nsp_pipeline.core.noise_table import camera_table, table_from_variance


def table(grey: float, coarse_grey: float, colour: float, coarse_colour: float) -> NDArray[np.float32]:
    rows = np.array([grey, coarse_grey, colour, coarse_colour], np.float32) / 255
    return np.repeat(rows[None, :, None], TABLE_NODES, axis=2)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ((5, 5, 7, 7), "white"),
        ((5, 6, 3, 3.6), "white"),
        ((5, 6.5, 7, 7), "unsmoothed"),
        ((5, 5, 7, 9), "unsmoothed"),
        ((5, 5, 9, 9), "unsmoothed"),
        ((5, 7, 5, 10), "unsmoothed"),
        ((2, 3.5, 1, 3), "smoothed"),
        ((5, 5, 0, 0), "unsmoothed"),
        ((5, 8, 0.1, 0.15), "smoothed"),
    ],
    ids=[
        "white",
        "white, with less colour",
        "coarse in grey",
        "coarse in colour",
        "brought to a balance",
        "demosaiced",
        "of a JPEG",
        "white, of a grey photo",
        "of a grey photo's JPEG",
    ],
)
def test_how_coarse_colour_and_grey_are_says_it(rows: tuple[float, float, float, float], kind: str) -> None:
    assert noise_kind(table(*rows)) == kind
    assert is_unsmoothed(table(*rows)) is (kind != "smoothed")


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ({NoiseKind.SMOOTHED}, "smoothed"),
        ({NoiseKind.SMOOTHED, NoiseKind.UNSMOOTHED}, "unsmoothed"),
        ({NoiseKind.SMOOTHED, NoiseKind.WHITE}, "white"),
    ],
)
def test_where_a_kind_is_not_known_it_is_the_nearest_that_is(known: set[NoiseKind], kind: str) -> None:
    assert noise_kind(table(5, 5, 7, 7), known) == kind
    assert noise_kind(table(2, 3.5, 1, 3), known) == "smoothed"


@pytest.mark.parametrize(
    ("rows", "grey"),
    [((6, 6.3, 7.07, 7.07), 5), ((4.9, 5, 7.07, 7.07), 4.9), ((6, 6.3, 5, 5), 6), ((5, 7, 5, 10), 5)],
    ids=["overrated", "not overrated", "weaker in colour", "not white"],
)
def test_white_noise_is_as_strong_in_grey_as_its_colour_says(
    rows: tuple[float, float, float, float], grey: float
) -> None:
    kinds = (table(*rows)[0].T ** 2).astype(np.float32)
    even = np.sqrt(as_white(kinds)) * 255
    np.testing.assert_allclose(even[:, 0], grey, rtol=1e-3)
    np.testing.assert_allclose(even[:, 2:], np.sqrt(kinds[:, 2:]) * 255, rtol=1e-5)


def test_grey_that_the_estimator_doubts_counts_less_the_more_it_does() -> None:
    kinds = (table(10, 10.5, 7.07, 7.5)[0].T ** 2).astype(np.float32)
    told = [float(np.sqrt(as_white(kinds, doubt)[0, 0])) * 255 for doubt in (0.0, 0.13, 0.3, 0.6, 1e6)]
    assert told[0] == pytest.approx(10, rel=1e-3)
    assert 10 > told[1] > told[2] > told[3] > told[4]
    assert told[1] > 9, "as sure as it mostly is"
    assert told[4] == pytest.approx(5, rel=1e-3)
    smoothed = (table(10, 23, 4, 12)[0].T ** 2).astype(np.float32)
    assert as_white(smoothed, 0.6) is smoothed


@pytest.mark.parametrize(
    ("rows", "texture"),
    [
        ((10, 15, 5, 5.5), True),
        ((10, 25, 5, 7), True),
        ((10, 18, 5, 7.5), False),
        ((10, 30, 5, 9), False),
        ((10, 15, 2.4, 2.6), False),
        ((10, 12, 5, 7.5), False),
    ],
    ids=["white colour", "coarser than its colour", "hardly", "colour of a camera's", "of too little colour", "finer"],
)
def test_grey_coarser_than_colour_is_texture(rows: tuple[float, float, float, float], texture: bool) -> None:
    kinds = (table(*rows)[0].T ** 2).astype(np.float32)
    told = np.sqrt(as_white(kinds)) * 255
    expected = (rows[2] / 2**0.5, rows[3] / 2**0.5, *rows[2:]) if texture else rows
    np.testing.assert_allclose(told[0], expected, rtol=1e-3)


@pytest.mark.parametrize("rows", [(10, 22, 5, 7.5), (10, 15, 3, 3.3)], ids=["a little coarser", "of little colour"])
def test_what_may_be_texture_or_not_is_told_between_both(rows: tuple[float, float, float, float]) -> None:
    told = as_told(*rows, doubt=0.0)
    assert 1.15 * rows[2] / 2**0.5 < told < 0.85 * rows[0]


def as_told(*rows: float, doubt: float = 0.3) -> float:
    kinds = (table(*rows)[0].T ** 2).astype(np.float32)
    return float(np.sqrt(as_white(kinds, doubt)[0, 0])) * 255


@pytest.mark.parametrize("row", [0, 1, 2, 3])
@pytest.mark.parametrize("doubt", [0.05, 0.3])
def test_what_is_told_of_texture_changes_little_where_the_table_does(row: int, doubt: float) -> None:
    """Pieces of a photo whose noise looks nearly the same must not come out smooth here and noisy there."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        grey, colour = 10, float(rng.uniform(1, 20))
        rows = np.array([grey, grey * rng.uniform(0.9, 2.6), colour, colour * rng.uniform(0.9, 1.9)])
        told, alike = [], []
        for way in np.linspace(0.7, 1.4, 281):
            changed = rows.copy()
            changed[row] *= way
            told.append(as_told(*changed, doubt=doubt))
            alike.append(changed[2] >= ALIKE * changed[0])
        # Colour as strong as grey, of what is white, is taken for alike in all channels at once.
        steps = np.abs(np.diff(np.log(told)))[np.diff(alike) == 0]
        assert steps.max() < 0.08


@pytest.mark.parametrize("rows", [(10, 15, 5, 5.5), (10, 12, 11, 11.5)], ids=["texture", "white"])
def test_what_is_known_of_a_camera_is_as_it_is(rows: tuple[float, ...]) -> None:
    kinds = (table(*rows)[0].T ** 2).astype(np.float32)
    told = [float(np.sqrt(as_white(kinds, 0.05, known)[0, 0])) * 255 for known in (0, 0.5, 1)]
    assert told[0] == pytest.approx(rows[2] / 2**0.5, rel=1e-3)
    assert told[1] == pytest.approx((10 * rows[2] / 2**0.5) ** 0.5, rel=1e-3)
    assert told[2] == pytest.approx(10, rel=1e-6)


def test_what_is_stated_in_numbers_is_told_apart_too() -> None:
    assert noise_kind(table_from_variance(np.full(TABLE_NODES, (10 / 255) ** 2), 1.0)) == "white"
    assert not is_unsmoothed(camera_table(5))
    assert is_unsmoothed(camera_table(20)), "no camera leaves so much of what it has smoothed"


@pytest.mark.parametrize("rows", [(6, 9, 4, 12), (0.5, 1, 7, 25)], ids=["mostly grey", "mostly colour"])
def test_noise_stronger_than_cameras_leave_it_is_unsmoothed_however_coarse(rows: tuple[float, ...]) -> None:
    strength = float(np.hypot(rows[0], rows[2]))
    for factor, kind in ((7.9, "smoothed"), (8.1, "unsmoothed")):
        told = table(*(factor / strength * row for row in rows))
        assert noise_kind(told) == kind
        assert noise_kind(told, {NoiseKind.SMOOTHED}) == "smoothed", "where there is no other network"
        assert noise_kind(told, {NoiseKind.SMOOTHED, NoiseKind.WHITE}) == "smoothed"


def test_no_noise_and_unknown_noise_are_none_of_it() -> None:
    assert not is_unsmoothed(np.zeros((1, TABLE_ROWS, TABLE_NODES), np.float32))
    assert not is_unsmoothed(np.full((1, TABLE_ROWS, TABLE_NODES), UNKNOWN, np.float32))
    assert not is_unsmoothed(NoiseLevel.unknown().table)
