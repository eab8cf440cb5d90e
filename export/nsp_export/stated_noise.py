"""A noise level that is baked into a graph, so that a program which knows nothing of tables needs no other input."""

import json

import numpy as np
import onnx
from onnx import numpy_helper

from nsp_pipeline.core.noise_table import StatedNoise
from nsp_pipeline.engines.engine import NOISE_INPUT
from nsp_pipeline.errors import UsageError

BAKED = "stated_noise"
"""Name of the constant that takes the input's place."""

TAKES_NO_NOISE = "--noise: this network is not told the noise, it judges by what it sees; leave --noise out"


def with_noise(content: bytes, noise: StatedNoise) -> bytes:
    """Return a graph that is told this noise of every image, and has no input for it.

    `noise` of the metadata says where it comes from, `noise_table` is the table as JSON.

    Raises UsageError for a graph that takes no noise table.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    told = [value for value in graph.input if value.name == NOISE_INPUT]
    if not told:
        raise UsageError(TAKES_NO_NOISE)
    graph.input.remove(told[0])
    for default in [tensor for tensor in graph.initializer if tensor.name == NOISE_INPUT]:
        graph.initializer.remove(default)
    graph.initializer.append(numpy_helper.from_array(noise.table, BAKED))
    for node in graph.node:
        node.input[:] = [BAKED if name == NOISE_INPUT else name for name in node.input]
    model.metadata_props.add(key="noise", value=noise.source)
    model.metadata_props.add(key="noise_table", value=json.dumps(_rounded(noise)))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _rounded(noise: StatedNoise) -> list[list[float]]:
    """The table in numbers that are short to read and give the same float32."""
    return [[float(np.format_float_positional(value)) for value in row] for row in noise.table[0]]
