"""The estimator's network on whatever runtime this machine has: ONNX Runtime, or OpenVINO."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.engines.onnx.load import SILENT, import_onnxruntime
from nsp_pipeline.engines.openvino.engine import import_openvino
from nsp_pipeline.errors import MissingCapabilityError

NETWORK_FILE = "estimator.onnx"

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, 3, h, w) in 0..1, sides multiples of 32 -> (N, 8, h/32, w/32): see models/noise_net.py."""


@dataclass(frozen=True)
class Estimator:
    """The network, and the name of what runs it."""

    runtime: str
    network: Network


@cache
def load_estimator() -> Estimator | None:
    """Open the network that ships; None where neither runtime is installed."""
    content = files("nsp_pipeline.noise").joinpath(NETWORK_FILE).read_bytes()
    for name, opened in (("ONNX Runtime", on_onnx_runtime), ("OpenVINO", on_openvino)):
        try:
            return Estimator(name, opened(content))
        except MissingCapabilityError:
            continue
    return None


def on_onnx_runtime(content: bytes) -> Network:
    """The network on ONNX Runtime's CPU provider; raises MissingCapabilityError where it is not installed."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    # A window is too small to be shared: threads that wait for their part of it take twice the processor time, and take
    # it from the photo that is being denoised meanwhile.
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        (said,) = session.run(["noise"], {"image": image})
        return np.asarray(said, dtype=np.float32)

    return run


def on_openvino(content: bytes) -> Network:
    """The network on OpenVINO's CPU plugin, in float32; raises MissingCapabilityError where it is not installed."""
    runtime = import_openvino()
    core = runtime.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(core.read_model(content), "CPU", hints).create_infer_request()
    # A request is one thread's at a time, and photos are read by several.
    alone = Lock()

    def run(image: NDArray[np.float32]) -> NDArray[np.float32]:
        with alone:
            found = request.infer({"image": np.ascontiguousarray(image)})
            return np.array(next(iter(found.values())), dtype=np.float32)

    return run
