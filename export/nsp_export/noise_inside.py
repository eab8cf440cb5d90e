"""The noise estimator and the blending inside a graph: a picture goes in, and what `nsp denoise` makes of it comes out.

A file is only given away after its picture was compared with that of the parts that nsp itself runs.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import onnx
from onnx import inliner, version_converter

from nsp_export.agreement import LEAST_PSNR, ParityError, check_size, photo_like
from nsp_export.noise_operators import blend, cut, tell
from nsp_export.stated_noise import TAKES_NO_NOISE
from nsp_pipeline.core.blend import local_weight
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.errors import UsageError
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.runtime import NETWORK_FILE

INSIDE = "inside"


def with_noise_inside(content: bytes) -> bytes:
    """Return a graph that estimates the noise of every image itself and blends as `nsp denoise` does; no other input.

    The result is that of a whole picture: tiles would each be told another noise.

    Raises:
        ParityError: it does not give the picture of `nsp denoise`, to 55 dB.
        UsageError: the graph takes no noise table, or changes the size.
    """
    model = onnx.load_from_string(content)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    if all(value.name != NOISE_INPUT for value in model.graph.input):
        raise UsageError(TAKES_NO_NOISE)
    if facts["mode"] != "denoise":
        raise UsageError(f"--noise {INSIDE} works with --mode denoise only: no other program blends what is enlarged")
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    picture, table = {"image": "image"}, {NOISE_INPUT: "noise"}
    parts = [
        _part(_model(cut), opset, "cut", picture, "windows"),
        _part(_estimator(), opset, "estimator", {"image": "windows"}, "said"),
        _part(_model(tell), opset, "tell", {**picture, "windows": "windows", "said": "said"}, "noise"),
        _part(model, opset, "network", {**picture, **table}, "estimated"),
        _part(_model(blend), opset, "blend", {**picture, **table, "estimated": "estimated"}, "denoised"),
    ]
    graph = model.graph
    del graph.input[1:], graph.node[:], graph.initializer[:], graph.value_info[:]
    for part in parts:
        graph.node.extend(part.node)
        graph.initializer.extend(tensor for tensor in part.initializer if tensor.name != "noise")
    model.metadata_props.add(key="noise", value=INSIDE)
    onnx.checker.check_model(model, full_check=True)
    made = bytes(model.SerializeToString())
    _check(made, content, int(facts["multiple"]))
    return made


def _check(made: bytes, content: bytes, multiple: int) -> None:
    """Raise ParityError unless a graph gives what `content` gives that is told the photo's noise, and blended."""
    runtime = import_onnxruntime()
    inside, told = (runtime.InferenceSession(part, providers=["CPUExecutionProvider"]) for part in (made, content))
    image = photo_like(check_size(multiple))
    noise = estimate_noise(image[0].transpose(1, 2, 0))
    (estimated,) = told.run(["denoised"], {"image": image, NOISE_INPUT: noise.table})
    expected = image[0] + local_weight(image[0], estimated[0], noise, blind=False) * (estimated[0] - image[0])
    (got,) = inside.run(["denoised"], {"image": image})
    psnr = psnr_of(float(((got[0] - expected.clip(0, 1)) ** 2).mean()))
    # NaN fails the comparison.
    if not psnr >= LEAST_PSNR:
        raise ParityError(f"the graph with the noise estimator inside is {psnr:.1f} dB away from nsp denoise")


def _estimator() -> onnx.ModelProto:
    """The estimator's network for any number of windows at once."""
    return onnx.load_from_string(files("nsp_pipeline.noise").joinpath(NETWORK_FILE).read_bytes())


def _model(function: Any) -> onnx.ModelProto:
    """What ONNX Script makes of a function, all that it calls written out."""
    return inliner.inline_local_functions(function.to_model_proto())


def _part(model: onnx.ModelProto, opset: int, name: str, inputs: Mapping[str, str], result: str) -> onnx.GraphProto:
    """A graph in one set of operators: its inputs and its result renamed, all else in names of its own."""
    graph = version_converter.convert_version(model, opset).graph
    (output,) = (value.name for value in graph.output)
    named = {**inputs, output: result, "": ""}
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [named.get(value, f"{name}/{value}") for value in names]
    for tensor in graph.initializer:
        tensor.name = named.get(tensor.name, f"{name}/{tensor.name}")
    return graph
