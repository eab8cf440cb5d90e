"""Graphs for programs that give images of any size: padded to the network's multiple, and cropped again, inside."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nsp_export.by_noise import every_node

INPUT, OUTPUT = "input", "output"
SIDES = ("height", "width")
"""Names of the dimensions, as darktable looks for them to fix the size of its tiles."""

BATCH = "batch"
PADDED, WHOLE = "padded_image", "whole_result"


def with_any_size(content: bytes, multiple: int) -> bytes:
    """Return a graph from `input` [N, 3, H, W] to `output` of the same shape, of any H and W from 1 up.

    Rows and columns that the network needs on top are mirrored at the lower and the right border, as `nsp denoise`
    does it, and cut off again. Mirrored indices, not the operator Pad: that refuses images smaller than what is added.

    Args:
        content: a graph from `image` to `denoised`, N of any number, that does not change the size.
        multiple: what H and W of `image` must be multiples of.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    pad_and_crop(graph, multiple, INPUT, OUTPUT)
    for values, name in ((graph.input, INPUT), (graph.output, OUTPUT)):
        values[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, 3, *SIDES]))
    for entry in model.metadata_props:
        entry.value = "1" if entry.key == "multiple" else entry.value
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def pad_and_crop(graph: onnx.GraphProto, multiple: int, image: str, denoised: str) -> None:
    """Let a graph from `image` to `denoised` take images of any size, under these names; see `with_any_size`."""
    inner = {"image": PADDED, "denoised": WHOLE} if multiple > 1 else {"image": image, "denoised": denoised}
    for node in every_node(graph):
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    if multiple > 1:
        nodes = [*_padded(graph, multiple, image), *graph.node, *_cropped(graph, image, denoised)]
        del graph.node[:]
        graph.node.extend(nodes)
    del graph.value_info[:]


def _padded(graph: onnx.GraphProto, multiple: int, whole: str) -> list[onnx.NodeProto]:
    """Nodes that mirror the image `whole` at its lower and right border until its sides are multiples."""
    for name, number in (("zero", 0), ("one", 1), ("two", 2), ("multiple", multiple), ("more", multiple - 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(number, np.int64), f"size_{name}"))
    nodes, image = [], whole
    for axis, side in enumerate(SIDES, 2):
        out = PADDED if side == SIDES[-1] else f"{side}_padded"
        nodes += [
            helper.make_node("Shape", [whole], [f"{side}_shape"], start=axis, end=axis + 1),
            helper.make_node("Squeeze", [f"{side}_shape"], [f"{side}_here"]),
            helper.make_node("Add", [f"{side}_here", "size_more"], [f"{side}_more"]),
            helper.make_node("Div", [f"{side}_more", "size_multiple"], [f"{side}_cells"]),
            helper.make_node("Mul", [f"{side}_cells", "size_multiple"], [f"{side}_needed"]),
            helper.make_node("Range", ["size_zero", f"{side}_needed", "size_one"], [f"{side}_places"]),
            # There and back again takes 2·(side - 1) steps; an image of one pixel stays where it is.
            helper.make_node("Sub", [f"{side}_here", "size_one"], [f"{side}_last"]),
            helper.make_node("Mul", [f"{side}_last", "size_two"], [f"{side}_way"]),
            helper.make_node("Max", [f"{side}_way", "size_one"], [f"{side}_period"]),
            helper.make_node("Mod", [f"{side}_places", f"{side}_period"], [f"{side}_there"]),
            helper.make_node("Sub", [f"{side}_period", f"{side}_there"], [f"{side}_back"]),
            helper.make_node("Min", [f"{side}_there", f"{side}_back"], [f"{side}_mirrored"]),
            helper.make_node("Gather", [image, f"{side}_mirrored"], [out], axis=axis),
        ]
        image = out
    return nodes


def _cropped(graph: onnx.GraphProto, image: str, denoised: str) -> list[onnx.NodeProto]:
    """Nodes that cut the result to the size of the image."""
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0], np.int64), "size_start"))
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "size_axes"))
    return [
        helper.make_node("Shape", [image], ["size_here"], start=2, end=4),
        helper.make_node("Slice", [WHOLE, "size_start", "size_here", "size_axes"], [denoised]),
    ]
