"""The oldest set of operators that a graph can be written in: the older, the more programs read it."""

import onnx
from onnx import helper, version_converter

OLDEST = 17
"""What programs with an ONNX Runtime of 2022 and later read; below it operators changed that every graph here has."""


def oldest_operators(content: bytes) -> bytes:
    """Return the same graph in the oldest operator set, from OLDEST on, that has all of its operators."""
    model = onnx.load_from_string(content)
    present = next(entry.version for entry in model.opset_import if not entry.domain)
    for version in range(OLDEST, present):
        older = _converted(model, version)
        if older is not None:
            return bytes(older.SerializeToString())
    return content


def _converted(model: onnx.ModelProto, version: int) -> onnx.ModelProto | None:
    """The model in another operator set; None where that lacks an operator."""
    try:
        older = version_converter.convert_version(_without_new_defaults(model), version)
        older.ir_version = helper.find_min_ir_version_for(older.opset_import)
        onnx.checker.check_model(older, full_check=True)
    except (RuntimeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return None
    # The converter names nodes and values anew where it has to; their types it leaves behind.
    del older.graph.value_info[:]
    return older


def _without_new_defaults(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without attributes that are as they are by default, and that older operators have no word for."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        for entry in [entry for entry in node.attribute if entry.name == "noop_with_empty_axes" and not entry.i]:
            node.attribute.remove(entry)
    return copy
