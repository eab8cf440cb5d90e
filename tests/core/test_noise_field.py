"""Level and correlation of noise that is known, and the s and PD factor that follow."""

from typing import Any

import numpy as np
import pytest
from known_noise import photo

from nsp_pipeline.core.correlation import LAGS
from nsp_pipeline.core.noise_curve import BrokenLine, NoiseCurve
from nsp_pipeline.core.noise_field import NoiseField, measure_field
from nsp_pipeline.core.pair_choice import NoiseError, choose_pd, choose_s
from nsp_pipeline.core.patches import cut_patches

MOST = 2000
SCENES = 5


def measured(seed: int, a: float, b: float, reach: int, *, channels: int = 1, dtype: str = "uint8") -> NoiseField:
    """What is measured on some photos with that noise."""
    photos = [photo(SCENES * seed + n, a, b, reach, channels=channels, dtype=dtype) for n in range(SCENES)]
    field = measure_field([cut_patches(pixels, MOST) for pixels in photos])
    assert field is not None
    return field


def field_of(correlation: dict[int, float], sigma: float = 10.0) -> NoiseField:
    """Noise of one level whose correlation at each lag, in all directions, is given."""
    distance = np.abs(np.arange(-LAGS, LAGS + 1))
    ring = np.maximum.outer(distance, distance)
    known = np.vectorize(lambda lag: 1.0 if lag == 0 else correlation.get(int(lag), 0.0))(ring)
    variance = (sigma / 255) ** 2
    curve = NoiseCurve(0.0, variance, BrokenLine(np.array([0.0, 1.0]), np.full(2, variance)), straight=True)
    return NoiseField((curve,), known[None], 100, np.eye(1))


@pytest.mark.parametrize(("reach", "s"), [(0, 2), (1, 2), (2, 3), (4, 5)])
@pytest.mark.parametrize("seed", range(20))
def test_known_noise_is_found_within_a_tenth_and_gives_the_right_s(reach: int, s: int, seed: int) -> None:
    rng = np.random.default_rng([seed, reach])
    a = 10 ** rng.uniform(-3.2, -2.2)
    b = a * 10 ** rng.uniform(-1.3, -0.5)

    field = measured(seed, a, b, reach)

    (curve,) = field.curves
    assert curve.straight
    assert curve.a == pytest.approx(a, rel=0.1)
    assert curve.b == pytest.approx(b, rel=0.1)
    assert choose_s(field) == s


def test_channels_and_depths_are_measured_alike() -> None:
    colour = measured(3, 2e-3, 3e-4, 1, channels=3, dtype="uint16")

    assert len(colour.curves) == 3
    for curve in colour.curves:
        assert curve.at(np.array([0.5]))[0] == pytest.approx(1.3e-3, rel=0.1)
    np.testing.assert_allclose(colour.correlation[:, LAGS, LAGS], 1.0)
    np.testing.assert_allclose(colour.correlation[:, LAGS, LAGS + 1], 0.5, atol=0.05)


def s_curve(linear: Any) -> Any:
    return linear**2 * (3 - 2 * linear)


def test_a_tone_curve_bends_the_level() -> None:
    photos = [photo(n, 2e-3, 3e-4, dtype="uint16") for n in range(3 * SCENES)]
    toned = [np.rint(s_curve(pixels / 65535) * 65535).astype(np.uint16) for pixels in photos]

    field = measure_field([cut_patches(pixels, MOST) for pixels in toned])

    assert field is not None
    (curve,) = field.curves
    assert not curve.straight
    for linear in (0.25, 0.5, 0.75):
        slope = 6 * linear * (1 - linear)
        expected = slope**2 * (2e-3 * linear + 3e-4)
        assert curve.at(np.array([s_curve(linear)]))[0] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "pixels", [np.full((256, 256, 3), 255, np.uint8), np.zeros((16, 300, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
)
def test_clipped_and_tiny_photos_are_not_measured(pixels: np.ndarray) -> None:
    assert measure_field([cut_patches(pixels, MOST)]) is None


def test_noise_correlated_everywhere_has_no_s() -> None:
    with pytest.raises(NoiseError, match="no s up to 10 makes the noise independent"):
        choose_s(field_of(dict.fromkeys(range(1, LAGS + 1), 0.4)))


@pytest.mark.parametrize(
    ("correlation", "sigma", "factor"), [({}, 25, 1), ({1: 0.4}, 4, 1), ({1: 0.4}, 20, 2), ({1: 0.4, 2: 0.4}, 20, 1)]
)
def test_pd_is_chosen_where_it_parts_strong_noise(correlation: dict[int, float], sigma: float, factor: int) -> None:
    assert choose_pd(field_of(correlation, sigma)) == factor
