"""Noise estimator, brightening and blending inside a graph: an image goes in, and what `nsp denoise` makes comes out.

A file is only given away after its picture was compared with that of the parts that nsp itself runs.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, shape_inference, version_converter

from nsp_export.agreement import BRIGHTENED_SIZE, CHECK_SIZE, LEAST_PSNR, ParityError, check_size, photo_like
from nsp_export.any_size import pad_and_crop
from nsp_export.brightening_operators import brightening, mend
from nsp_export.by_noise import every_node, inner_graphs
from nsp_export.noise_operators import blend, cut, tell, wary
from nsp_export.stated_noise import TAKES_NO_NOISE
from nsp_pipeline.core.blend import faded, local_weight, recentred
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.errors import UsageError
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.runtime import NETWORK_FILE

INSIDE = "inside"


def with_noise_inside(content: bytes) -> bytes:
    """Return a graph that estimates the noise of every image itself, brightens and blends as `nsp denoise` does.

    It has no other input, and takes images of any size. The result is that of a whole picture: tiles would each be told
    another noise.

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
    multiple = int(facts["multiple"])
    # The noise is that of the image as it is; all else is done with the rows and columns on top, as in nsp denoise.
    padded = _together(
        _part(model, opset, "network", ["estimated"]),
        _part(_model(mend), opset, "mend", ["centred", "clean"]),
        _part(_model(blend), opset, "blend", ["denoised"]),
    )
    pad_and_crop(padded, multiple, "image", "denoised")
    made_of = _together(
        _part(_model(cut), opset, "cut", ["windows"]),
        _part(_estimator(), opset, "estimator", ["said"], {"image": "windows"}),
        _part(_model(tell), opset, "tell", ["found", "share", "doubt", "off"]),
        _part(
            _model(brightening), opset, "brightening", ["estimated_noise", "brightening", "channel_brightening", "bent"]
        ),
        _part(_model(wary), opset, "wary", ["noise"], {"noise": "estimated_noise"}),
        padded,
    )
    graph = model.graph
    del graph.input[1:], graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(made_of.node)
    graph.initializer.extend(tensor for tensor in made_of.initializer if tensor.name != "noise")
    model.metadata_props.add(key="noise", value=INSIDE)
    for entry in model.metadata_props:
        entry.value = "1" if entry.key == "multiple" else entry.value
    onnx.checker.check_model(model, full_check=True)
    made = bytes(model.SerializeToString())
    _check(made, content, multiple)
    return made


def _check(made: bytes, content: bytes, multiple: int) -> None:
    """Raise ParityError unless a graph gives what `nsp denoise` makes of the network of `content`.

    Of two photos: of the larger one the noise shows that a tone curve has bent it.
    """
    runtime = import_onnxruntime()
    inside, told = (runtime.InferenceSession(part, providers=["CPUExecutionProvider"]) for part in (made, content))
    for size in (CHECK_SIZE, BRIGHTENED_SIZE):
        # Sides that are no multiples, with the rows and columns mirrored that the network needs on top.
        whole = photo_like(check_size(multiple, size))
        image = np.ascontiguousarray(whole[..., : 1 - multiple or None, : 1 - multiple or None])
        noise = estimate_noise(image[0].transpose(1, 2, 0))
        beyond = [(0, have - had) for have, had in zip(whole.shape, image.shape, strict=True)]
        padded = np.pad(image, beyond, mode="reflect")
        (estimated,) = told.run(["denoised"], {"image": padded, NOISE_INPUT: noise.as_told.table})
        estimate = recentred(padded[0], estimated[0]) if noise.own_means else estimated[0]
        weight = local_weight(padded[0], estimate, noise.as_told, blind=False)
        expected = padded[0] + faded(noise.brightened(estimate) - padded[0], weight, blind=False)
        expected = expected[:, : image.shape[2], : image.shape[3]]
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
    model = shape_inference.infer_shapes(inliner.inline_local_functions(function.to_model_proto()))
    types = _types(model.graph)
    for node in every_node(model.graph):
        if node.op_type == "CastLike":
            # ONNX Runtime warns of each one between constants when it loads a file; of Cast it makes a constant.
            node.op_type, like = "Cast", node.input.pop()
            node.attribute.append(helper.make_attribute("to", types[like]))
    return model


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """The element types of the values in a graph, and in those inside it."""
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)}
    for inner in inner_graphs(graph):
        found |= _types(inner)
    return found


def _part(
    model: onnx.ModelProto, opset: int, name: str, results: Sequence[str], inputs: Mapping[str, str] | None = None
) -> onnx.GraphProto:
    """A graph in one set of operators: its results and some inputs named anew, all inside in names of its own."""
    graph = version_converter.convert_version(model, opset).graph
    outputs = [value.name for value in graph.output]
    named = {value.name: value.name for value in graph.input} | dict(inputs or {})
    named |= {"": "", **dict(zip(outputs, results, strict=True))}
    _rename(graph, lambda value: named.get(value, f"{name}/{value}"))
    return graph


def _together(*parts: onnx.GraphProto) -> onnx.GraphProto:
    """The nodes and numbers of several graphs, one after the other."""
    whole = onnx.GraphProto()
    for part in parts:
        whole.node.extend(part.node)
        whole.initializer.extend(part.initializer)
    return whole


def _rename(graph: onnx.GraphProto, name: Callable[[str], str]) -> None:
    """Give all values of a graph new names, those of the graphs inside it too."""
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [name(value) for value in names]
    for inner in inner_graphs(graph):
        _rename(inner, name)
    for part in (*graph.initializer, *graph.output):
        part.name = name(part.name)
    del graph.value_info[:]
