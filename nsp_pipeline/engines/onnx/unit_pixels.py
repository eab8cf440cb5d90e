"""A graph that makes 0..1 of stored pixels, so that a quarter or half of the bytes of float32 are copied to a GPU."""

from typing import Any

import numpy as np

from nsp_pipeline.engines.onnx.model_file import import_onnx


def unit_graph(kind: np.dtype[Any]) -> bytes:
    """An ONNX file that computes core/depth.py's `to_unit`, to the bit: `pixels` [1, 3, H, W] to `image` float32.

    Raises MissingCapabilityError where onnx is not installed.

    Args:
        kind: uint8 or uint16.
    """
    onnx = import_onnx()
    helper = onnx.helper
    stored = helper.np_dtype_to_tensor_dtype(kind)
    sides = [1, 3, "H", "W"]
    step = onnx.numpy_helper.from_array(np.array(1.0 / np.iinfo(kind).max, np.float32), "step")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["floats"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "step"], ["image"]),
        ],
        "unit",
        [helper.make_tensor_value_info("pixels", stored, sides)],
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, sides)],
        [step],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
