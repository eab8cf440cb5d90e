"""Two networks in one file: the noise table that it is told, or finds itself, says which of them computes."""

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
from nsp_pipeline.core.noise_kind import is_unsmoothed
from nsp_pipeline.noise.estimate import estimate_noise

TABLES: dict[str, NDArray[np.float32]] = {
    **noise_tables(),
    "nothing": np.zeros((1, 4, 8), np.float32),
    "unknown": np.full((1, 4, 8), UNKNOWN, np.float32),
    "grey": np.repeat(np.array([[3], [3.2], [0.1], [0.3]], np.float32)[None] / 255, 8, axis=2),
    "grey, smoothed": np.repeat(np.array([[3], [4], [0.1], [0.1]], np.float32)[None] / 255, 8, axis=2),
}
IMAGE = np.random.default_rng(3).random((1, 3, 64, 96), dtype=np.float32)


def run(content: bytes, image: NDArray[Any] = IMAGE, noise: NDArray[np.float32] | None = None) -> NDArray[Any]:
    given = {"image": image} if noise is None else {"image": image, "noise": noise}
    return np.asarray(onnxruntime.InferenceSession(content).run(["denoised"], given)[0])


@cache
def both() -> bytes:
    return by_noise(student_model(), student_model(4))


@pytest.mark.parametrize("name", TABLES)
def test_it_is_the_network_that_nsp_would_take(name: str) -> None:
    table = TABLES[name]
    alone = student_model(4 if is_unsmoothed(table) else 3)
    np.testing.assert_allclose(run(both(), noise=table), run(alone, noise=table), atol=1e-6)


def test_without_a_table_it_is_the_first() -> None:
    np.testing.assert_allclose(run(both()), run(student_model()), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_noise_it_finds_in_a_picture_chooses(precision: str) -> None:
    content, _ = variant(student_model(), Variant(precision, noise_inside=True), student_model(4))
    for seed, smooth in ((1, False), (2, True)):
        noise = np.random.default_rng(seed).normal(0, 12, (128, 160, 3))
        if smooth:  # as a camera leaves it: grey, and what colour there is coarse
            coarse = np.random.default_rng(seed).normal(0, 6, (16, 20, 3)).repeat(8, 0).repeat(8, 1)
            noise = noise.mean(2, keepdims=True) + coarse * [1, -1, 1]
        photo = ((clean_scene(128, 160) + noise) / 255).clip(0, 1).astype(np.float32)
        assert is_unsmoothed(estimate_noise(photo).table) is not smooth
        alone, _ = variant(student_model(3 if smooth else 4), Variant(precision, noise_inside=True))
        image = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])
        np.testing.assert_allclose(run(content, image), run(alone, image), atol=1e-4)


def test_integer_pixels_reach_both_networks() -> None:
    content, _ = variant(student_model(), Variant(pixels="uint8"), student_model(4))
    pixels = (IMAGE * 255).round().astype(np.uint8)
    for name, seed in (("smoothed", 3), ("unsmoothed", 4)):
        alone, _ = variant(student_model(seed), Variant(pixels="uint8"))
        np.testing.assert_array_equal(run(content, pixels, TABLES[name]), run(alone, pixels, TABLES[name]))
