"""How much a profile's network computes: counted in the graph itself, so that it holds for every backbone."""

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nsp_pipeline.engines.onnx.load import import_onnxruntime
from nsp_pipeline.profiles.bundle import Profile

SIDE = 256
"""Pixels; rounded up to the graph's multiple. Work grows with the area, so any will do."""

Shape = list[int]

MACS: Mapping[str, Callable[[list[Shape], Shape], int]] = {
    # An output value of a convolution takes one kernel over the channels of its group.
    "Conv": lambda inputs, output: math.prod(output) * math.prod(inputs[1][1:]),
    # A transposed one spreads every input value by its kernel.
    "ConvTranspose": lambda inputs, output: math.prod(inputs[0]) * math.prod(inputs[1][1:]),
    "MatMul": lambda inputs, output: math.prod(output) * inputs[0][-1],
    "Gemm": lambda inputs, output: math.prod(output) * (math.prod(inputs[0]) // output[0]),
}
"""Multiply-adds of the operators that matrix units compute, from the shapes of inputs and output."""


def macs_per_pixel(profile: Profile, mode: str = "denoise") -> float:
    """Multiply-adds of a profile's graph for one pixel of the photo; the rest (means, activations) is not counted.

    ONNX Runtime runs the graph once, as it stands, and says the shapes that every operator saw.

    Raises:
        MissingCapabilityError: ONNX Runtime is not installed.
        ProfileError: the profile has no graph for the mode.
    """
    model = profile.read(profile.graph_file(mode))
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Weights that were packed for the processor no longer show up among an operator's inputs.
    options.add_session_config_entry("session.disable_prepacking", "1")
    with tempfile.TemporaryDirectory(prefix="nsp-work-") as folder:
        options.profile_file_prefix = str(Path(folder) / "trace")
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        multiple = int(session.get_modelmeta().custom_metadata_map["multiple"])
        side = -(-SIDE // multiple) * multiple
        session.run(["denoised"], {"image": np.zeros((1, 3, side, side), np.float32)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return sum(_macs(event["args"]) for event in events if event.get("cat") == "Node") / side**2


def _macs(facts: Mapping[str, object]) -> int:
    count = MACS.get(str(facts.get("op_name")))
    if count is None or "output_type_shape" not in facts:
        return 0
    return count(_shapes(facts["input_type_shape"]), _shapes(facts["output_type_shape"])[0])


def _shapes(values: object) -> list[Shape]:
    """[{"float": [1, 3, 64, 64]}, ...] -> [[1, 3, 64, 64], ...]."""
    assert isinstance(values, list)
    return [shape for value in values for shape in value.values()]
