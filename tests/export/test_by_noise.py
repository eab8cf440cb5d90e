"""Several networks in one file: the noise table that it is told, or finds itself, says which of them computes."""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest
from noisy_photos import clean_scene
from numpy.typing import NDArray
from small_student import noise_tables, student_model

from nsp_export.by_noise import by_noise
from nsp_export.variants import Variant, variant
from nsp_pipeline.core.noise import UNKNOWN
from nsp_pipeline.core.noise_kind import NoiseKind, noise_kind
from nsp_pipeline.noise.estimate import estimate_noise

TABLES: dict[str, NDArray[np.float32]] = {
    **noise_tables(),
    "nothing": np.zeros((1, 4, 8), np.float32),
    "unknown": np.full((1, 4, 8), UNKNOWN, np.float32),
    "grey": np.repeat(np.array([[3], [3.2], [0.1], [0.3]], np.float32)[None] / 255, 8, axis=2),
    "strong, smoothed": np.repeat(np.array([[7], [9], [5], [15]], np.float32)[None] / 255, 8, axis=2),
    "grey, smoothed": np.repeat(np.array([[3], [4], [0.1], [0.1]], np.float32)[None] / 255, 8, axis=2),
}
IMAGE = np.random.default_rng(3).random((1, 3, 64, 96), dtype=np.float32)


def run(content: bytes, image: NDArray[Any] = IMAGE, noise: NDArray[np.float32] | None = None) -> NDArray[Any]:
    given = {"image": image} if noise is None else {"image": image, "noise": noise}
    return np.asarray(onnxruntime.InferenceSession(content).run(["denoised"], given)[0])


SEEDS = {NoiseKind.SMOOTHED: 3, NoiseKind.UNSMOOTHED: 4, NoiseKind.WHITE: 5}
SOME = [tuple(SEEDS), (NoiseKind.SMOOTHED, NoiseKind.UNSMOOTHED), (NoiseKind.SMOOTHED, NoiseKind.WHITE)]


OTHERS = {kind: student_model(seed) for kind, seed in list(SEEDS.items())[1:]}


@cache
def joined(*kinds: NoiseKind) -> bytes:
    return by_noise({kind: student_model(SEEDS[kind]) for kind in kinds})


@pytest.mark.parametrize("kinds", SOME, ids=len)
@pytest.mark.parametrize("name", TABLES)
def test_it_is_the_network_that_nsp_would_take(name: str, kinds: tuple[NoiseKind, ...]) -> None:
    table = TABLES[name]
    alone = student_model(SEEDS[noise_kind(table, kinds)])
    np.testing.assert_allclose(run(joined(*kinds), noise=table), run(alone, noise=table), atol=1e-6)


def test_without_a_table_it_is_the_first() -> None:
    np.testing.assert_allclose(run(joined(*SEEDS)), run(student_model()), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_noise_it_finds_in_a_picture_chooses(precision: str) -> None:
    content, _ = variant(student_model(), Variant(precision, noise_inside=True), OTHERS)
    for seed, smooth in ((1, False), (2, True)):
        noise = np.random.default_rng(seed).normal(0, 12, (128, 160, 3))
        if smooth:  # as a camera leaves it: grey, and what colour there is coarse
            coarse = np.random.default_rng(seed).normal(0, 6, (16, 20, 3)).repeat(8, 0).repeat(8, 1)
            noise = 0.6 * noise.mean(2, keepdims=True) + 0.6 * coarse * [1, -1, 1]
        photo = ((clean_scene(128, 160) + noise) / 255).clip(0, 1).astype(np.float32)
        kind = noise_kind(estimate_noise(photo).table)
        assert kind is (NoiseKind.SMOOTHED if smooth else NoiseKind.WHITE)
        alone, _ = variant(student_model(SEEDS[kind]), Variant(precision, noise_inside=True))
        image = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])
        np.testing.assert_allclose(run(content, image), run(alone, image), atol=1e-4)


def test_integer_pixels_reach_all_networks() -> None:
    content, _ = variant(student_model(), Variant(pixels="uint8"), OTHERS)
    pixels = (IMAGE * 255).round().astype(np.uint8)
    for name, seed in SEEDS.items():
        alone, _ = variant(student_model(seed), Variant(pixels="uint8"))
        np.testing.assert_array_equal(run(content, pixels, TABLES[name]), run(alone, pixels, TABLES[name]))
