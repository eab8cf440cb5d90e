"""float32 graphs to float16 ones, in which what needs float32 stays float32.

The result is strongly typed: every value has the type that the graph says, so that TensorRT 11, which decides nothing
by itself, and any other engine compute the same. ONNX Runtime's converter does the typing; here is what it must leave
alone, and the clearing up of the casts that it puts between two nodes that are both left alone.
"""

from collections import defaultdict
from typing import Any

from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.engines.onnx.model_file import import_onnx
from nsp_pipeline.errors import MissingCapabilityError

DENSE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Where the time goes: always float16. Of convolutions only those that mix channels; the others take means."""

STATISTICS = frozenset({"AveragePool", "ReduceL2", "ReduceMean", "ReduceSum", "Softmax", "Sqrt"})
"""Sums over many values, which overflow float16 or lose what is small: float32 always."""

POINTWISE = frozenset({"Add", "Clip", "Div", "Max", "Mul", "Pow", "Sub"})
FLOAT, HALF = 1, 10
"""TensorProto's numbers of the two types."""


def to_half(content: bytes) -> bytes:
    """Convert a graph of nsp, float32 throughout, to float16 inside; `image` and `denoised` stay float32.

    float32 stay the way of the image to the first dense layer (local means and differences from them), all that comes
    behind the last one (the average, PU, what is added to the input), softmax, and the statistics of norms and
    attentions.

    Raises MissingCapabilityError when onnx or ONNX Runtime is not installed.
    """
    onnx = import_onnx()
    import_onnxruntime()
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise MissingCapabilityError(f"this ONNX Runtime comes without its float16 converter ({error})") from None
    model = onnx.load_from_string(content)
    # What an input stands for when it is left out has the type of the input, which stays float32.
    defaults = [tensor for tensor in model.graph.initializer if tensor.name == NOISE_INPUT]
    for tensor in defaults:
        model.graph.initializer.remove(tensor)
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    exact = sorted(_exact_nodes(model.graph))
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=[], node_block_list=exact)
    _drop_there_and_back(half.graph)
    _in_order(half.graph)
    half.graph.initializer.extend(defaults)
    del half.graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)
    return bytes(half.SerializeToString())


def _exact_nodes(graph: Any) -> set[str]:
    """Names of the nodes that stay float32."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    users = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)

    def is_dense(node: Any) -> bool:
        kernel = stored.get(node.input[1]) if node.op_type == "Conv" else None
        return node.op_type in DENSE and not (kernel is not None and kernel.dims[1] == 1)

    exact: set[str] = set()
    values = {value.name for value in graph.input}
    for node in graph.node:
        if not is_dense(node) and all(name in values or name in stored for name in node.input if name):
            exact.add(node.name)
            values.update(node.output)
    behind: set[str] = set()
    for node in reversed(graph.node):
        last = node.output[0] == graph.output[0].name or users[node.output[0]]
        if node.op_type not in DENSE and last and all(user.name in behind for user in users[node.output[0]]):
            behind.add(node.name)
    return exact | behind | _around_statistics(graph, users)


def _around_statistics(graph: Any, users: dict[str, list[Any]]) -> set[str]:
    """Statistics, what is computed with them at once, and what lies between two of them (squares in a variance)."""
    exact: set[str] = set()
    values: set[str] = set()
    for node in graph.node:
        if node.op_type in STATISTICS:
            exact.add(node.name)
            values.update(node.output)
    near = {
        node.name for node in graph.node if node.op_type in POINTWISE and any(name in values for name in node.input)
    }
    for node in graph.node:
        if node.name in near:
            values.update(node.output)
    exact |= near
    for node in graph.node:
        between = any(name in values for name in node.input) and all(
            user.op_type in STATISTICS for name in node.output for user in users[name]
        )
        if node.op_type in POINTWISE and between:
            exact.add(node.name)
    return exact


def _drop_there_and_back(graph: Any) -> None:
    """Connect float32 nodes directly where the converter casts to float16 and back between them."""
    makers = {name: node for node in graph.node for name in node.output}
    direct = {
        node.output[0]: maker.input[0]
        for node in graph.node
        if _casts_to(node, FLOAT) and (maker := makers.get(node.input[0])) is not None and _casts_to(maker, HALF)
    }
    result = graph.output[0].name
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in direct:
                node.input[place] = direct[name]
        if node.output[0] == result and result in direct:
            node.op_type = "Identity"
            node.input[0] = direct[result]
            del node.attribute[:]
    while dead := _unused(graph, result):
        for node in dead:
            graph.node.remove(node)


def _casts_to(node: Any, kind: int) -> bool:
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i == kind for entry in node.attribute)


def _unused(graph: Any, result: str) -> list[Any]:
    used = {name for node in graph.node for name in node.input} | {result}
    return [node for node in graph.node if not used.intersection(node.output)]


def _in_order(graph: Any) -> None:
    """Sort nodes so that each comes behind what it needs: the converter appends its casts."""
    made = {name for node in graph.node for name in node.output}
    ready = {name for node in graph.node for name in node.input if name not in made}
    waiting, ordered = list(graph.node), []
    while waiting:
        later = []
        for node in waiting:
            if ready.issuperset(node.input):
                ordered.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        assert len(later) < len(waiting), "the graph has a circle"
        waiting = later
    del graph.node[:]
    graph.node.extend(ordered)
