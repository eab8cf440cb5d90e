"""What a tone curve does to the mean and the lean of noise is foreseen as it comes out when noise is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from nsp_pipeline.core.bent_noise import NODES, brightening, lean
from nsp_pipeline.core.noise import NoiseLevel


def curve(light: np.ndarray) -> np.ndarray:
    """That of sRGB, below black as straight as it begins."""
    return np.asarray(np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize(("light", "noise"), [(0.02, 0.01), (0.05, 0.02), (0.05, 0.04), (0.2, 0.05), (0.6, 0.1)])
def test_the_mean_of_bent_noise_is_brought_back_to_what_was_photographed(light: float, noise: float) -> None:
    bent = curve(light + np.random.default_rng(0).normal(0, noise, 400_000))
    change = brightening(np.full(NODES, bent.std()))
    found = bent.mean() + np.interp(bent.mean(), np.linspace(0, 1, NODES), change)
    assert found == pytest.approx(float(curve(np.array(light))), abs=0.6 / 255)
    assert bent.mean() < found


def test_without_noise_nothing_becomes_brighter() -> None:
    assert brightening(np.zeros(NODES)) == pytest.approx(np.zeros(NODES), abs=1e-6)


@pytest.mark.parametrize(("light", "noise"), [(0.05, 0.005), (0.2, 0.02), (0.6, 0.03)])
def test_bent_noise_leans_as_foreseen(light: float, noise: float) -> None:
    bent = curve(light + np.random.default_rng(1).normal(0, noise, 2_000_000))
    skewness = float(((bent - bent.mean()) ** 3).mean() / bent.std() ** 3)
    assert float(lean(bent.mean(), bent.std())) == pytest.approx(skewness, rel=0.15)


def test_an_estimate_is_brightened_by_its_values_alone() -> None:
    level = NoiseLevel(
        np.array([0.5], np.float32), np.full((1, 3), 1e-3, np.float32), brightening=np.linspace(0.02, 0, 65, dtype="f4")
    )
    estimate = np.random.default_rng(2).random((3, 8, 9), np.float32)
    assert level.brightened(estimate) == pytest.approx(estimate + 0.02 * (1 - estimate), abs=1e-6)
    assert level.most_brightened == pytest.approx(0.02)
    assert NoiseLevel.unknown().brightened(estimate) is estimate


def test_values_are_brightened_as_interpolation_says_to_the_last_bit() -> None:
    rng = np.random.default_rng(1)
    curve = (0.03 * rng.random(NODES)).astype(np.float32)
    level = replace(NoiseLevel.unknown(), brightening=curve)
    nodes = np.linspace(0, 1, NODES)
    estimate = np.concatenate([nodes, np.nextafter(nodes, 0), np.nextafter(nodes, 1), rng.normal(0.5, 0.4, 9999)])
    estimate = estimate.astype(np.float32)
    expected = (estimate + np.interp(estimate, nodes, curve)).astype(np.float32)
    assert np.array_equal(level.brightened(estimate), expected)


def test_each_channel_goes_by_its_own_curve() -> None:
    curves = np.stack([np.full(NODES, share, np.float32) for share in (0.01, 0.02, 0.03)])
    level = replace(NoiseLevel.unknown(), brightening=curves[0], channel_brightening=curves)
    estimate = np.random.default_rng(3).random((3, 4, 5), np.float32)
    assert level.brightened(estimate) - estimate == pytest.approx(
        curves[:, :1, None].repeat(4, 1).repeat(5, 2), abs=1e-6
    )
    assert level.most_brightened == pytest.approx(0.03)
