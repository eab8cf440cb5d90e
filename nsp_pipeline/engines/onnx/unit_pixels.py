"""A graph that makes 0..1 of stored pixels, so that a quarter or half of the bytes of float32 are copied to a GPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.onnx.model_file import import_onnx


def unit_graph(kind: np.dtype[Any]) -> bytes:
    """An ONNX file that computes core/depth.py's `to_unit`, to the bit: `pixels` [1, 3, H, W] to `image` float32.

    Raises MissingCapabilityError where onnx is not installed.

    Args:
        kind: uint8 or uint16.
    """
    onnx = import_onnx()
    cast = onnx.helper.make_node("Cast", ["pixels"], ["numbers"], to=onnx.TensorProto.FLOAT)
    return _graph(onnx, np.dtype(kind), "W", [cast], {"step": _step(kind)})


def unit_graph_of_bytes(kind: np.dtype[Any]) -> bytes:
    """The same from pixels as the bytes that they lie in memory in, low ones first: TensorRT knows no wider ones.

    `pixels` is uint8 [1, 3, H, W] for uint8, and [1, 3, H, 2W] for uint16.
    """
    if kind.itemsize == 1:
        return unit_graph(kind)
    onnx = import_onnx()
    helper = onnx.helper
    to_the_end = np.array([np.iinfo(np.int64).max])
    nodes = [
        helper.make_node("Cast", ["pixels"], ["bytes"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Slice", ["bytes", "first", "end", "across", "two"], ["low"]),
        helper.make_node("Slice", ["bytes", "second", "end", "across", "two"], ["high"]),
        helper.make_node("Mul", ["high", "256"], ["above"]),
        helper.make_node("Add", ["low", "above"], ["numbers"]),
    ]
    constants = {"first": np.array([0]), "second": np.array([1]), "end": to_the_end, "across": np.array([3])}
    constants |= {"two": np.array([2]), "256": np.array(256, np.float32), "step": _step(kind)}
    return _graph(onnx, np.dtype(np.uint8), "twice W", nodes, constants)


def _step(kind: np.dtype[Any]) -> NDArray[np.float32]:
    return np.array(1.0 / np.iinfo(kind).max, np.float32)


def _graph(onnx: Any, taken: np.dtype[Any], across: str, nodes: list[Any], constants: dict[str, NDArray[Any]]) -> bytes:
    """A file in which nodes make `numbers` of `pixels`, and these times a step are the image."""
    helper = onnx.helper
    graph = helper.make_graph(
        [*nodes, helper.make_node("Mul", ["numbers", "step"], ["image"])],
        "unit",
        [helper.make_tensor_value_info("pixels", helper.np_dtype_to_tensor_dtype(taken), [1, 3, "H", across])],
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, "H", "W"])],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
