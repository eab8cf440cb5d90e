"""What bfloat16 drops of the image itself, given back to the first convolutions of a network in OpenVINO.

bfloat16 has eight bits, so the image that a network sees would carry a rounding noise as large as that of 8-bit
photos, and the network takes that noise for the camera's: photos came out up to 0.03 dB farther from the truth. The
CPU plugin has no switch that keeps one layer in float32. But x = bf16(x) + rest, the rest fits bfloat16 as well, and a
convolution of a sum is the sum of the convolutions: so the network gets the rest as an input of its own.
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

CONVOLUTIONS = ("Convolution", "GroupConvolution")


def take_the_rest(runtime: Any, model: Any) -> Any:
    """Return the model with one more input, `rest`: what bfloat16 drops of `image`, of the same shape.

    The convolutions that see the image itself see both. Everything else goes on as it was: what is added to the
    result, such as the image, is float32 already.
    """
    from openvino import opset13

    twin = model.clone()
    of_the_rest = {node.get_friendly_name(): node for node in twin.get_ops()}
    first = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in CONVOLUTIONS and _is_the_image(node.input_value(0).get_node())
    ]
    for node in first:
        users = list(node.output(0).get_target_inputs())
        whole = opset13.add(node.output(0), of_the_rest[node.get_friendly_name()].output(0))
        for user in users:
            user.replace_source_output(whole.output(0))
    if not first:
        return model
    (rest,) = [part for part in twin.get_parameters() if "image" in part.output(0).get_names()]
    rest.set_friendly_name(REST)
    rest.output(0).get_tensor().set_names({REST})
    return runtime.Model(model.get_results(), [*model.get_parameters(), rest])


def rest_of(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What rounding to bfloat16 (to the nearest, ties to even) takes away; any shape."""
    bits = np.ascontiguousarray(image).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return image - rounded.astype(np.uint32).view(np.float32)


def _is_the_image(node: Any) -> bool:
    """Whether a node is the model's input, or moves its pixels about."""
    kind = node.get_type_name()
    if kind == "Parameter":
        return "image" in node.output(0).get_names()
    inputs = node.get_input_size() if kind == "Concat" else 1
    return kind in MOVES and all(_is_the_image(node.input_value(index).get_node()) for index in range(inputs))
