"""Several networks in one graph: the noise table that it is given says which of them computes (core/noise_kind.py)."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nsp_pipeline.core.noise import TABLE_NODES
from nsp_pipeline.core.noise_kind import (
    COARSEST,
    COARSEST_GREY,
    COARSEST_WHITE,
    HARDLY_COLOURED,
    MOST_COLOURED_WHITE,
    STRONGEST_SMOOTHED,
    WITNESS,
    NoiseKind,
)
from nsp_pipeline.engines.engine import NOISE_INPUT

FACTORS = {
    "hardly": HARDLY_COLOURED,
    "coarsest": COARSEST,
    "coarsest_grey": COARSEST_GREY,
    "coarsest_white": COARSEST_WHITE,
    "most_coloured_white": MOST_COLOURED_WHITE,
    "nothing": 0.0,
    "witness": WITNESS,
    "strongest": (STRONGEST_SMOOTHED * TABLE_NODES) ** 2,
}


def by_noise(contents: Mapping[NoiseKind, bytes]) -> bytes:
    """Join graphs of one mode that take a noise table, by the kind of noise: facts and inputs are those of SMOOTHED."""
    model = onnx.load_from_string(contents[NoiseKind.SMOOTHED])
    graph = model.graph
    output = graph.output[0].name
    chosen = _branch(onnx.load_from_string(contents[NoiseKind.SMOOTHED]).graph, NoiseKind.SMOOTHED)
    for kind in (NoiseKind.UNSMOOTHED, NoiseKind.WHITE):
        if kind in contents:
            branch = _branch(onnx.load_from_string(contents[kind]).graph, kind)
            chosen = _one_of(f"kind/{kind}", branch, chosen, f"{kind} or not/{output}")
    default = [tensor for tensor in graph.initializer if tensor.name == NOISE_INPUT]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(default)
    for name, value in FACTORS.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), f"kind/{name}"))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 2], np.int64), "kind/axes"))
    graph.initializer.append(numpy_helper.from_array(np.array([], np.int64), "kind/scalar"))
    graph.node.extend(_question())
    graph.node.extend(chosen.node)
    graph.node[-1].output[:] = [output]
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


def _one_of(question: str, then: onnx.GraphProto, otherwise: onnx.GraphProto, name: str) -> onnx.GraphProto:
    """A graph that is one of two, as a truth value says that is there by then."""
    node = helper.make_node("If", [question], [name], then_branch=then, else_branch=otherwise)
    return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)])


def _question() -> list[onnx.NodeProto]:
    """What `noise_kind` computes, of the input `noise`: a truth value for each kind but SMOOTHED."""
    rows = [f"kind/{name}" for name in ("grey", "coarse_grey", "colour", "coarse_colour")]
    grey, coarse_grey, colour, coarse_colour = rows

    def at_most(row: str, factor: str, of: str, name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Mul", [of, f"kind/{factor}"], [f"kind/most_{name}"]),
            helper.make_node("LessOrEqual", [row, f"kind/most_{name}"], [f"kind/{name}"]),
        ]

    def all_of(*names: str, name: str) -> list[onnx.NodeProto]:
        steps = [f"kind/{names[0]}", *(f"kind/{name}_{number}" for number in range(len(names) - 2)), f"kind/{name}"]
        return [
            helper.make_node("And", [before, f"kind/{other}"], [after])
            for before, other, after in zip(steps, names[1:], steps[1:], strict=False)
        ]

    return [
        helper.make_node("ReduceSum", [NOISE_INPUT, "kind/axes"], ["kind/sums"], keepdims=0),
        helper.make_node("Split", ["kind/sums"], rows, num_outputs=4),
        helper.make_node("Greater", [grey, "kind/nothing"], ["kind/there"]),
        helper.make_node("Mul", [grey, "kind/hardly"], ["kind/least"]),
        helper.make_node("Less", [colour, "kind/least"], ["kind/pale"]),
        helper.make_node("Not", ["kind/pale"], ["kind/coloured"]),
        *at_most(coarse_grey, "coarsest_grey", grey, "fine_grey"),
        *at_most(coarse_colour, "coarsest", colour, "fine_colour"),
        *at_most(coarse_grey, "coarsest_white", grey, "white_grey"),
        *at_most(coarse_colour, "coarsest_white", colour, "white_colour"),
        *at_most(colour, "most_coloured_white", grey, "balanced"),
        # ONNX Runtime has no Where for truth values.
        *all_of("pale", "fine_grey", name="pale_so"),
        *all_of("coloured", "fine_colour", name="coloured_so"),
        helper.make_node("Mul", [grey, grey], ["kind/grey_power"]),
        helper.make_node("Mul", [colour, colour], ["kind/colour_power"]),
        helper.make_node("Add", ["kind/grey_power", "kind/colour_power"], ["kind/power"]),
        helper.make_node("Greater", ["kind/power", "kind/strongest"], ["kind/powerful"]),
        helper.make_node("Mul", [grey, "kind/witness"], ["kind/least_colour"]),
        helper.make_node("GreaterOrEqual", [colour, "kind/least_colour"], ["kind/witnessed"]),
        *all_of("powerful", "witnessed", name="strong"),
        helper.make_node("Or", ["kind/pale_so", "kind/coloured_so"], ["kind/finely"]),
        helper.make_node("Or", ["kind/finely", "kind/strong"], ["kind/either"]),
        *all_of("either", "there", name="one"),
        *all_of("there", "coloured", "white_grey", "white_colour", "balanced", name="the_other"),
        helper.make_node("Reshape", ["kind/one", "kind/scalar"], [f"kind/{NoiseKind.UNSMOOTHED}"]),
        helper.make_node("Reshape", ["kind/the_other", "kind/scalar"], [f"kind/{NoiseKind.WHITE}"]),
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
