"""The first layers of a student, written so that engines compute them sooner; what they compute stays the same.

A student cuts a photo into cells first, convolves these, and looks the noise table up at their brightness
(models/unet.py). A convolution of cells is one of the photo, with larger steps, which engines read without cutting
anything. The places in the table follow from the photo by one more such convolution with as many channels as places,
which engines take the means of together, where the brightness alone would be one channel, and slow.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nsp_pipeline.core.noise import TABLE_NODES

FOLD, COLOURS = 2, 3
MEANS = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}
LOOKED_UP = ("ReduceMean", "AveragePool", "AveragePool", "Clip", "Mul", "Sub")
"""From cells to how far their brightness is from the places in the table, as PyTorch's exporter writes it."""


def with_sooner_layers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its first layers rewritten in place; one that does not begin like a student as it is.

    Of a self-ensemble, those of each copy.
    """
    for number, cut in enumerate([node for node in model.graph.node if node.op_type == "SpaceToDepth"]):
        _rewrite(model.graph, cut, number)
    return model


def _rewrite(graph: onnx.GraphProto, cut: onnx.NodeProto, number: int) -> None:
    """The first layers of one copy, whose cells `cut` makes; others than a student's stay."""
    folded = _users(graph, cut.output[0])
    if len(folded) != 1:
        return
    single, cells = _maker(graph, cut.input[0]), folded[0].output[0]
    by_kind = {node.op_type: node for node in _users(graph, cells)}
    looked_up = _chain(graph, cells)
    if single is None or set(by_kind) != {"Conv", LOOKED_UP[0]} or not looked_up:
        return
    photo = single.input[0]
    convolution = _convolution(graph, by_kind["Conv"], photo)
    new = [convolution, *_distances(graph, photo, looked_up[-1].output[0], number)]
    _replace(graph, [single, cut, *folded, by_kind["Conv"], *looked_up], new)


def _convolution(graph: onnx.GraphProto, node: onnx.NodeProto, photo: str) -> onnx.NodeProto:
    """The convolution of cells as one of the photo: a pixel of a cell is a channel there, and a place here."""
    kernel = _stored(graph, node.input[1])
    outputs, _, height, width = kernel.shape
    apart = kernel.reshape(outputs, COLOURS, FOLD, FOLD, height, width).transpose(0, 1, 4, 2, 5, 3)
    name = _store(graph, "cells_kernel", apart.reshape(outputs, COLOURS, FOLD * height, FOLD * width))
    pads = [FOLD * side for entry in node.attribute if entry.name == "pads" for side in entry.ints]
    how = {"kernel_shape": [FOLD * height, FOLD * width], "strides": [FOLD, FOLD], "pads": pads}
    return helper.make_node("Conv", [photo, name, *node.input[2:]], list(node.output), **how)


def _distances(graph: onnx.GraphProto, photo: str, result: str, number: int) -> list[onnx.NodeProto]:
    """Nodes from the photo to `result`, (N, TABLE_NODES, h, w): the brightness of cells less each place in the table.

    Brightness is clipped to 0..1, the ends of the table, where it was before; a place is TABLE_NODES - 1 times that.
    """
    places = np.arange(TABLE_NODES, dtype=np.float32)
    share = np.float32((TABLE_NODES - 1) / (COLOURS * FOLD**2))
    kernel = np.full((TABLE_NODES, COLOURS, FOLD, FOLD), share, np.float32)
    ends = {"nearest": -places, "farthest": TABLE_NODES - 1 - places}
    stored = {name: _store(graph, f"places_{name}", values.reshape(1, -1, 1, 1)) for name, values in ends.items()}
    inputs = [photo, _store(graph, "places_kernel", kernel), _store(graph, "places_bias", -places)]
    steps = {"kernel_shape": [FOLD, FOLD], "strides": [FOLD, FOLD]}
    copy = f"_{number}" if number else ""
    return [
        helper.make_node("Conv", inputs, [f"places{copy}"], **steps),
        helper.make_node("AveragePool", [f"places{copy}"], [f"places_means{copy}"], **MEANS),
        helper.make_node("AveragePool", [f"places_means{copy}"], [f"places_smooth{copy}"], **MEANS),
        helper.make_node("Max", [f"places_smooth{copy}", stored["nearest"]], [f"places_above{copy}"]),
        helper.make_node("Min", [f"places_above{copy}", stored["farthest"]], [result]),
    ]


def _chain(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    """The nodes of LOOKED_UP, one after the other, from a value on; nothing where they are not there."""
    found: list[onnx.NodeProto] = []
    for kind in LOOKED_UP:
        users = [node for node in _users(graph, value) if node.op_type == kind]
        if len(users) != 1 or (found and len(_users(graph, value)) != 1):
            return []
        found.append(users[0])
        value = users[0].output[0]
    return found


def _replace(graph: onnx.GraphProto, old: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
    """Put nodes in the place of others, and drop what nothing takes any more."""
    # The new ones need the photo and what is stored, and no other node.
    first = next(index for index, node in enumerate(graph.node) if old[0].output[0] in node.output)
    gone = {name for node in old for name in node.output}
    kept = [node for node in graph.node if not gone & set(node.output)]
    nodes = [*kept[:first], *new, *kept[first:]]
    result = {value.name for value in graph.output}
    while len(used := [node for node in nodes if {*_inputs(nodes), *result} & set(node.output)]) < len(nodes):
        nodes = used
    inputs, offered = set(_inputs(nodes)), {value.name for value in graph.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in inputs | offered]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)


def _inputs(nodes: Iterable[onnx.NodeProto]) -> Iterable[str]:
    return (name for node in nodes for name in node.input)


def _users(graph: onnx.GraphProto, value: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if value in node.input]


def _maker(graph: onnx.GraphProto, value: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if value in node.output), None)


def _stored(graph: onnx.GraphProto, name: str) -> NDArray[Any]:
    (tensor,) = [tensor for tensor in graph.initializer if tensor.name == name]
    values: NDArray[Any] = numpy_helper.to_array(tensor)
    return values


def _store(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> str:
    """Keep values under a name, once for all copies."""
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name
