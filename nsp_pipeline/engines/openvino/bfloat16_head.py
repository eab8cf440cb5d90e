"""What bfloat16 drops of the image and of the first weights, given back to a network in OpenVINO.

bfloat16 has eight bits, so the image that a network sees would carry a rounding noise as large as that of 8-bit
photos, and the network takes that noise for the camera's: photos came out up to 0.03 dB farther from the truth. The
CPU plugin has no switch that keeps one layer in float32. But x = bf16(x) + rest, the rest fits bfloat16 as well, and
so do the weights' rests: a first convolution over x, rest and x, with weights W, W and the rest of W, is nearly exact.
The rest of the image is an input of its own.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REST = "rest"
"""Name of that input."""

MOVES = frozenset(
    (
        *("Concat", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split"),
        *("Squeeze", "StridedSlice", "Transpose", "Unsqueeze", "VariadicSplit"),
    )
)
"""Operations that move pixels and compute nothing."""

DENSE = "Convolution"
LINEAR = frozenset((DENSE, "GroupConvolution", "Interpolate"))
"""Operations that the CPU plugin computes in bfloat16, and of which that of a sum is the sum of those of its parts."""


def take_the_rest(runtime: Any, model: Any) -> Any:
    """Return the model with one more input, `rest`: what bfloat16 drops of `image`, of the same shape.

    The convolutions and enlargements that see the image itself see both. Everything else goes on as it was: an image
    that is merely added to the result is float32 already.
    """
    twin = model.clone()
    of_the_rest = {node.get_friendly_name(): node for node in twin.get_ops()}
    first = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in LINEAR and _is_the_image(node.input_value(0).get_node())
    ]
    if not first:
        return model
    for node in first:
        users = list(node.output(0).get_target_inputs())
        whole = _in_full(node, of_the_rest[node.get_friendly_name()])
        for user in users:
            user.replace_source_output(whole.output(0))
    (rest,) = [part for part in twin.get_parameters() if "image" in part.output(0).get_names()]
    rest.set_friendly_name(REST)
    rest.output(0).get_tensor().set_names({REST})
    return runtime.Model(model.get_results(), [*model.get_parameters(), rest])


def _in_full(node: Any, twin: Any) -> Any:
    """A convolution of the image and its rest, from that of the image and that of the rest."""
    from openvino import opset13 as ops

    weights = node.input_value(1).get_node()
    if node.get_type_name() != DENSE or weights.get_type_name() != "Constant":
        return ops.add(node.output(0), twin.output(0))
    values = np.asarray(weights.get_data(), np.float32)
    image, rest = node.input_value(0), twin.input_value(0)
    how = node.get_attributes()
    return ops.convolution(
        ops.concat([image, rest, image], 1),
        ops.constant(np.concatenate([values, values, rest_of(values)], 1)),
        *(how[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")),
    )


def rest_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What rounding to bfloat16 (to the nearest, ties to even) takes away; any shape."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return values - rounded.astype(np.uint32).view(np.float32)


def _is_the_image(node: Any) -> bool:
    """Whether a node is the model's input, or moves its pixels about."""
    kind = node.get_type_name()
    if kind == "Parameter":
        return "image" in node.output(0).get_names()
    inputs = node.get_input_size() if kind == "Concat" else 1
    return kind in MOVES and all(_is_the_image(node.input_value(index).get_node()) for index in range(inputs))
