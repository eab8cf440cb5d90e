"""What other programs may want of an exported file: a stated noise, float16 inside, one size only, integer pixels.

Each step takes a graph and gives a graph; `variant` takes them together, and what comes out must give the picture of
the float32 graph before anybody gets it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nsp_export.agreement import EXAMPLE_SIGMA, LEAST_PSNR, TOLERANCE, ParityError, check_size, photo_like
from nsp_export.by_noise import by_noise, every_node
from nsp_export.noise_inside import with_noise_inside
from nsp_export.stated_noise import with_noise
from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.core.noise_kind import NoiseKind
from nsp_pipeline.core.noise_table import StatedNoise
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.engines.onnx.half_precision import to_half
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.tensorrt.size_range import Size, as_text
from nsp_pipeline.errors import UsageError

PIXELS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16}
"""Types of `image` and `denoised`: 0..1 as float32, or 0 to the largest integer."""

MOST_CHECKED = 512 * 768
"""Pixels. A graph of one larger size is checked through its twin of CHECK_SIZE."""


@dataclass(frozen=True)
class Variant:
    """What to make of a float32 graph of any size: precision, one size or any (None), and type of the pixels.

    `noise` is what it is told of every image; None leaves it an input where it is one. With `noise_inside` it estimates
    the noise of every image itself.
    """

    precision: str = "fp32"
    size: Size | None = None
    pixels: str = "float32"
    noise: StatedNoise | None = None
    noise_inside: bool = False


def variant(
    content: bytes, request: Variant, others: Mapping[NoiseKind, bytes] = MappingProxyType({})
) -> tuple[bytes, float]:
    """Return the graph that was wished for, and its PSNR in dB against the float32 graph (inf where they agree).

    With `others`, the graphs of the profile's networks for other noise, all are in it, unless one noise is stated.

    Raises:
        ParityError: it does not give the float32 graph's picture: to 1e-4 in fp32, to 55 dB in fp16.
        UsageError: the size does not suit the network, or it takes no noise; or see `with_noise_inside`.
    """
    if request.noise:
        return variant(with_noise(content, request.noise), replace(request, noise=None))
    contents = {NoiseKind.SMOOTHED: content, **others}
    expected = _made(contents, Variant(noise_inside=request.noise_inside))
    if request == Variant(noise_inside=request.noise_inside):
        return expected, float("inf")
    made = _made(contents, request)
    checked = made
    if request.size and request.size[0] * request.size[1] > MOST_CHECKED:
        checked = _made(contents, replace(request, size=_check_size(content)))
    return made, _check(checked, expected, request)


def with_size(content: bytes, size: Size) -> bytes:
    """A graph for images of one size; raises UsageError where a side is no multiple of the network's."""
    model = onnx.load_from_string(content)
    multiple, scale = (int(_fact(model, name)) for name in ("multiple", "scale"))
    if any(side < 1 or side % multiple for side in size):
        raise UsageError(f"size {as_text(size)}: both sides must be multiples of {multiple} for this network")
    for value, factor in ((model.graph.input[0], 1), (model.graph.output[0], scale)):
        for dimension, side in zip(value.type.tensor_type.shape.dim[2:], size, strict=True):
            dimension.dim_value = factor * side
    del model.graph.value_info[:]
    return _whole(model)


def with_integers(content: bytes, pixels: str) -> bytes:
    """A graph that takes and gives uint8 or uint16 pixels, clipped and rounded as nsp writes them."""
    model = onnx.load_from_string(content)
    graph = model.graph
    for node in every_node(graph):
        node.input[:] = ["image_unit" if name == "image" else name for name in node.input]
        node.output[:] = ["denoised_unit" if name == "denoised" else name for name in node.output]
    largest = np.float32(np.iinfo(pixels).max)
    for name, number in (("largest", largest), ("unit", 1 / largest), ("zero", np.float32(0)), ("one", np.float32(1))):
        graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), f"pixel_{name}"))
    before = [
        helper.make_node("Cast", ["image"], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image_float", "pixel_unit"], ["image_unit"]),
    ]
    after = [
        helper.make_node("Clip", ["denoised_unit", "pixel_zero", "pixel_one"], ["denoised_clipped"]),
        helper.make_node("Mul", ["denoised_clipped", "pixel_largest"], ["denoised_scaled"]),
        helper.make_node("Round", ["denoised_scaled"], ["denoised_rounded"]),
        helper.make_node("Cast", ["denoised_rounded"], ["denoised"], to=PIXELS[pixels]),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.elem_type = PIXELS[pixels]
    return _whole(model)


def _made(contents: Mapping[NoiseKind, bytes], request: Variant) -> bytes:
    if request.precision == "fp16":
        contents = {kind: to_half(content) for kind, content in contents.items()}
    content = by_noise(contents) if len(contents) > 1 else contents[NoiseKind.SMOOTHED]
    if request.noise_inside:
        content = with_noise_inside(content)
    if request.pixels != "float32":
        content = with_integers(content, request.pixels)
    return with_size(content, request.size) if request.size else content


def _check(made: bytes, content: bytes, request: Variant) -> float:
    """PSNR of a graph against the float32 one; raises ParityError."""
    kind = np.dtype(request.pixels)
    stored = from_unit(photo_like(_input_size(made) or _check_size(content)), kind)
    reference = _run(content, to_unit(stored))
    expected = from_unit(reference.astype(np.float32), kind) if kind.kind == "u" else reference
    got = _run(made, stored)
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ParityError(
            f"the {request.precision} graph gives {got.dtype} {got.shape} where the float32 one gives "
            f"{expected.dtype} {expected.shape}"
        )
    difference = np.abs(to_unit(got).astype(np.float64) - to_unit(expected))
    # NaN survives the maximum and fails both comparisons.
    worst, error = float(difference.max()), float((difference**2).mean())
    if request.precision == "fp32":
        step = 0.0 if request.pixels == "float32" else 1 / np.iinfo(request.pixels).max
        if not worst <= TOLERANCE + step:
            raise ParityError(f"the fp32 graph differs from the float32 one by {worst:.2g}")
    psnr = psnr_of(error)
    if request.precision == "fp16" and not psnr >= LEAST_PSNR:
        raise ParityError(
            f"the fp16 graph differs from the float32 one by {psnr:.1f} dB on a photo (least: {LEAST_PSNR:.0f}); "
            "use --precision fp32"
        )
    return psnr


def _run(content: bytes, image: NDArray[np.generic]) -> NDArray[np.generic]:
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = {"image": image}
    if any(value.name == NOISE_INPUT for value in session.get_overridable_initializers()):
        # With a noise table, as nsp runs it: without one, the look-up would give the same constant everywhere.
        given[NOISE_INPUT] = np.full((1, TABLE_ROWS, TABLE_NODES), EXAMPLE_SIGMA, np.float32)
    (result,) = session.run(["denoised"], given)
    return result  # type: ignore[no-any-return]


def _check_size(content: bytes) -> Size:
    """The size that a network is tried on."""
    return check_size(int(_fact(onnx.load_from_string(content), "multiple")))


def _input_size(content: bytes) -> Size | None:
    """The one size that a graph takes; None where it takes any."""
    height, width = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim[2:]
    return (height.dim_value, width.dim_value) if height.dim_value else None


def _fact(model: onnx.ModelProto, name: str) -> str:
    return next(str(entry.value) for entry in model.metadata_props if entry.key == name)


def _whole(model: onnx.ModelProto) -> bytes:
    """The file's content, after onnx's own check with shapes."""
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
