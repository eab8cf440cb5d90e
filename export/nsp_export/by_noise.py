"""Two networks in one graph: the noise table that it is given says which of them computes (core/noise_kind.py)."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nsp_pipeline.core.noise_kind import COARSEST, COARSEST_GREY, HARDLY_COLOURED
from nsp_pipeline.engines.engine import NOISE_INPUT

FACTORS = {"hardly": HARDLY_COLOURED, "coarsest": COARSEST, "coarsest_grey": COARSEST_GREY, "nothing": 0.0}


def by_noise(smoothed: bytes, unsmoothed: bytes) -> bytes:
    """Join two graphs of one mode that take a noise table: facts and inputs are those of the first."""
    model = onnx.load_from_string(smoothed)
    then, otherwise = (
        _branch(onnx.load_from_string(content).graph, name)
        for name, content in (("unsmoothed", unsmoothed), ("smoothed", smoothed))
    )
    graph = model.graph
    default = [tensor for tensor in graph.initializer if tensor.name == NOISE_INPUT]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(default)
    for name, value in FACTORS.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), f"kind/{name}"))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 2], np.int64), "kind/axes"))
    graph.initializer.append(numpy_helper.from_array(np.array([], np.int64), "kind/scalar"))
    graph.node.extend(_question())
    output = graph.output[0].name
    graph.node.append(helper.make_node("If", ["kind/unsmoothed"], [output], then_branch=then, else_branch=otherwise))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def inner_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The branches of a graph, which see its values."""
    return (attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g"))


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph and of the graphs inside it."""
    yield from graph.node
    for inner in inner_graphs(graph):
        yield from every_node(inner)


def _question() -> list[onnx.NodeProto]:
    """What `is_unsmoothed` computes, of the input `noise`."""
    rows = [f"kind/{name}" for name in ("grey", "coarse_grey", "colour", "coarse_colour")]
    grey, coarse_grey, colour, coarse_colour = rows
    return [
        helper.make_node("ReduceSum", [NOISE_INPUT, "kind/axes"], ["kind/sums"], keepdims=0),
        helper.make_node("Split", ["kind/sums"], rows, num_outputs=4),
        helper.make_node("Mul", [grey, "kind/hardly"], ["kind/least"]),
        helper.make_node("Less", [colour, "kind/least"], ["kind/pale"]),
        helper.make_node("Mul", [grey, "kind/coarsest_grey"], ["kind/most_grey"]),
        helper.make_node("LessOrEqual", [coarse_grey, "kind/most_grey"], ["kind/by_grey"]),
        helper.make_node("Mul", [colour, "kind/coarsest"], ["kind/most_colour"]),
        helper.make_node("LessOrEqual", [coarse_colour, "kind/most_colour"], ["kind/by_colour"]),
        # ONNX Runtime has no Where for truth values.
        helper.make_node("And", ["kind/pale", "kind/by_grey"], ["kind/pale_so"]),
        helper.make_node("Not", ["kind/pale"], ["kind/coloured"]),
        helper.make_node("And", ["kind/coloured", "kind/by_colour"], ["kind/coloured_so"]),
        helper.make_node("Or", ["kind/pale_so", "kind/coloured_so"], ["kind/by_either"]),
        helper.make_node("Greater", [grey, "kind/nothing"], ["kind/there"]),
        helper.make_node("And", ["kind/by_either", "kind/there"], ["kind/one"]),
        helper.make_node("Reshape", ["kind/one", "kind/scalar"], ["kind/unsmoothed"]),
    ]


def _branch(graph: onnx.GraphProto, name: str) -> onnx.GraphProto:
    """A graph that sees `image` and `noise` of the one around it, all else in names of its own."""
    seen = {value.name for value in graph.input} | {""}

    def own(value: str) -> str:
        return value if value in seen else f"{name}/{value}"

    nodes = []
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [own(value) for value in names]
        nodes.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name not in seen]
    for tensor in tensors:
        tensor.name = own(tensor.name)
    (output,) = graph.output
    # A branch's result has a type; its sides are those of the image.
    result = helper.make_tensor_value_info(own(output.name), TensorProto.FLOAT, [None] * 4)
    return helper.make_graph(nodes, name, [], [result], tensors)
