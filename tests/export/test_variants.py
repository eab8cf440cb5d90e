"""float16 inside, one size, integer pixels: the float32 graph's picture, or no file."""

import collections
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from small_graphs import BACKBONES, small_graph

from nsp_export import variants
from nsp_export.agreement import CHECK_SIZE, LEAST_PSNR, ParityError
from nsp_export.variants import Variant, variant, with_integers, with_size
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.engines.onnx.half_precision import DENSE, STATISTICS, to_half
from nsp_pipeline.errors import UsageError
from nsp_pipeline.profiles.choose import find_profile

IMAGE = np.random.default_rng(3).random((1, 3, 64, 96), dtype=np.float32)


def run(content: bytes, image: np.ndarray = IMAGE) -> np.ndarray:
    (result,) = onnxruntime.InferenceSession(content).run(None, {"image": image})
    return np.asarray(result)


def types(content: bytes) -> dict[str, int]:
    """Element type of every value, as onnx infers it."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_float16_is_the_float32_picture_and_every_value_has_its_type(backbone: str) -> None:
    content, psnr = variant(small_graph(backbone), Variant("fp16"))
    assert LEAST_PSNR <= psnr < np.inf
    kinds = types(content)
    assert (kinds["image"], kinds["denoised"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    by_kind = collections.defaultdict(set)
    for node in onnx.load_from_string(content).graph.node:
        by_kind[node.op_type].add(kinds[node.output[0]])
    for name in STATISTICS & by_kind.keys():
        assert by_kind[name] == {TensorProto.FLOAT}, name
    assert TensorProto.FLOAT16 in by_kind["Conv"]
    for name in (DENSE - {"Conv"}) & by_kind.keys():
        assert by_kind[name] == {TensorProto.FLOAT16}, name
    assert len(content) < 0.8 * len(small_graph(backbone)) or backbone == "dbsn"


def test_between_two_float32_nodes_nothing_is_rounded() -> None:
    graph = onnx.load_from_string(to_half(small_graph("tbsn"))).graph
    makers = {name: node for node in graph.node for name in node.output}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    assert casts
    assert not [name for name, node in casts.items() if makers.get(node.input[0]) in casts.values()]


def test_the_same_graph_gives_the_same_float16_file() -> None:
    assert to_half(small_graph("tbsn")) == to_half(small_graph("tbsn"))


@pytest.mark.parametrize("mode_file", ["model.onnx", "model-sr-direct.onnx"])
@pytest.mark.parametrize("name", ["fast", "dbsn"])
def test_float16_of_what_ships(name: str, mode_file: str) -> None:
    _, psnr = variant(find_profile(name).read(mode_file), Variant("fp16"))
    assert psnr >= LEAST_PSNR


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_size_is_stated_and_no_other_is_taken(backbone: str) -> None:
    content, psnr = variant(small_graph(backbone), Variant(size=(64, 96)))
    assert psnr > 120
    session = onnxruntime.InferenceSession(content)
    assert [value.shape for value in (*session.get_inputs(), *session.get_outputs())] == [[1, 3, 64, 96]] * 2
    np.testing.assert_allclose(run(content), run(small_graph(backbone)), atol=1e-6)
    with pytest.raises(Exception, match=r"(?i)invalid.*dimensions"):
        run(content, IMAGE[..., :64])


def test_a_large_size_is_made_without_running_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    right = variants._run

    def noting(content: bytes, image: np.ndarray) -> np.ndarray:
        sizes.append(image.shape)
        return right(content, image)

    monkeypatch.setattr(variants, "_run", noting)
    content, _ = variant(small_graph("student"), Variant(size=(4000, 6000)))
    assert variants._input_size(content) == (4000, 6000)
    assert sizes == [(1, 3, *CHECK_SIZE)] * 2


@pytest.mark.parametrize("size", [(64, 90), (0, 64), (3, 3)])
def test_a_size_that_the_network_cannot_take_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        with_size(small_graph("tbsn"), size)


@pytest.mark.parametrize("pixels", ["uint8", "uint16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_integer_pixels_are_clipped_and_rounded_as_nsp_does(backbone: str, pixels: str) -> None:
    content = with_integers(small_graph(backbone), pixels)
    stored: NDArray[Any] = from_unit(IMAGE, np.dtype(pixels))
    got = run(content, stored)
    expected = from_unit(run(small_graph(backbone), stored / np.float32(np.iinfo(pixels).max)), np.dtype(pixels))
    assert got.dtype == expected.dtype
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= 1


def test_all_options_go_together() -> None:
    content, psnr = variant(small_graph("dbsn"), Variant("fp16", (64, 96), "uint8"))
    assert psnr >= LEAST_PSNR
    facts = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert (facts["mode"], facts["multiple"], facts["profile"]) == ("denoise", "2", "tiny")
    assert run(content, from_unit(IMAGE, np.dtype(np.uint8))).dtype == np.uint8


def test_float16_that_differs_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(content: bytes) -> bytes:
        model = onnx.load_from_string(content)
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(tensor) * np.float32(1.02)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return bytes(model.SerializeToString())

    monkeypatch.setattr(variants, "to_half", coarse)
    with pytest.raises(ParityError, match=r"differs from the float32 one by .* dB .*--precision fp32"):
        variant(small_graph("student"), Variant("fp16"))


def test_values_that_are_no_numbers_are_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: bytes, image: np.ndarray) -> np.ndarray:
        return np.full(image.shape, np.nan, np.float32)

    monkeypatch.setattr(variants, "_run", broken)
    with pytest.raises(ParityError):
        variant(small_graph("student"), Variant("fp16"))
    with pytest.raises(ParityError):
        variant(small_graph("student"), Variant("fp32", (64, 64)))
