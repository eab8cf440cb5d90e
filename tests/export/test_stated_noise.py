"""A noise level inside the file: one input, the picture of a network that is told it, and the same in any tiling."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from small_student import student_graph, student_model
from tiny import tiny_model

from nsp_export.agreement import LEAST_PSNR
from nsp_export.stated_noise import with_noise
from nsp_export.variants import Variant, variant
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.core.noise import UNKNOWN
from nsp_pipeline.core.noise_table import StatedNoise, camera_table
from nsp_pipeline.core.tiling import Span, plan_tiles
from nsp_pipeline.errors import UsageError

NOISE = StatedNoise("sigma 20", camera_table(20))
IMAGE = np.random.default_rng(3).random((1, 3, 96, 128), dtype=np.float32)


def run(content: bytes, image: np.ndarray = IMAGE, **more: np.ndarray) -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(content).run(None, {"image": image, **more})[0]
    return result


def test_the_image_is_the_one_input_and_the_picture_that_of_a_network_that_is_told() -> None:
    content = with_noise(student_model(), NOISE)
    session = onnxruntime.InferenceSession(content)
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert not session.get_overridable_initializers()
    np.testing.assert_allclose(run(content), run(student_model(), noise=NOISE.table), atol=1e-6)
    assert np.abs(run(content) - run(student_model())).max() > 0.01


def test_nothing_known_is_what_the_input_s_default_says() -> None:
    unknown = StatedNoise.unknown()
    assert (unknown.table == np.float32(UNKNOWN)).all()
    np.testing.assert_allclose(run(with_noise(student_model(), unknown)), run(student_model()), atol=1e-6)


def test_the_level_stands_in_the_metadata_to_the_last_digit() -> None:
    model = onnx.load_from_string(with_noise(student_model(), NOISE))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["noise"] == "sigma 20"
    np.testing.assert_array_equal(np.array(json.loads(facts["noise_table"]), np.float32), NOISE.table[0])


@pytest.mark.parametrize("side", [24, 40, 64])
def test_tiles_with_a_halo_give_the_whole_picture(side: int) -> None:
    content = with_noise(student_model(), NOISE)
    # Brightness differs from tile to tile: what is told must not.
    image = (IMAGE * np.linspace(0, 1, 128, dtype=np.float32)).astype(np.float32)
    whole = run(content, image)
    graph = student_graph()
    joined = np.zeros_like(whole)
    tiles = list(plan_tiles(96, 128, tile=side, halo=graph.halo, multiple=graph.multiple))
    assert len(tiles) > 1
    for tile in tiles:
        part = run(content, np.ascontiguousarray(image[..., slice_(tile.rows), slice_(tile.cols)]))
        kept = slice(tile.rows.keep_start, tile.rows.keep_stop), slice(tile.cols.keep_start, tile.cols.keep_stop)
        joined[..., kept[0], kept[1]] = part[..., tile.rows.inner, tile.cols.inner]
    assert np.abs(joined - whole).max() < 1e-5


def slice_(span: Span) -> slice:
    return slice(span.start, span.stop)


def test_float16_one_size_and_integer_pixels_take_it_too() -> None:
    content, psnr = variant(student_model(), Variant("fp16", (96, 128), "uint8", NOISE))
    assert LEAST_PSNR <= psnr < np.inf
    session = onnxruntime.InferenceSession(content)
    assert [(value.name, value.shape) for value in session.get_inputs()] == [("image", [1, 3, 96, 128])]
    stored: np.ndarray = from_unit(IMAGE, np.dtype(np.uint8))
    told = from_unit(run(student_model(), stored / np.float32(255), noise=NOISE.table), np.dtype(np.uint8))
    assert np.abs(run(content, stored).astype(int) - told).max() <= 1


def test_a_network_that_is_not_told_refuses_a_level() -> None:
    with pytest.raises(UsageError, match=r"--noise: this network is not told the noise.*leave --noise out"):
        variant(tiny_model("denoise"), Variant(noise=NOISE))
