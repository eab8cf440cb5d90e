"""The rate at which this machine multiplies large matrices: the upper limit that a network's speed is compared with."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from nsp_pipeline.engines.openvino.engine import PRECISION_HINTS, import_openvino
from nsp_pipeline.errors import MissingCapabilityError

SIDE_ON_CPU, SIDE_ON_GPU = 2048, 8192
LEAST_SECONDS = 0.5
"""Of multiplying; the fastest counts, since whatever else the machine does only ever slows it."""


def matrix_rate(precision: str, *, gpu: bool, threads: int | None = None) -> float:
    """Measure the floating-point operations a second (two a multiply-add) of the best library that is installed.

    Args:
        precision: "fp32", "bf16" or "fp16".
        gpu: on the GPU instead of the CPU.
        threads: CPU threads; None leaves the choice to the libraries.

    Raises MissingCapabilityError where nothing that is installed multiplies in this precision.
    """
    side = SIDE_ON_GPU if gpu else SIDE_ON_CPU
    rates = [2 * side**3 / _fastest(multiply) for multiply in _multipliers(precision, side, gpu, threads)]
    if not rates:
        wanted = "PyTorch" if gpu or precision == "fp16" else "OpenVINO or PyTorch"
        raise MissingCapabilityError(f"the matrix rate in {precision} is not measured without {wanted}")
    return max(rates)


def _fastest(multiply: Callable[[], object]) -> float:
    multiply()
    spent: list[float] = []
    while sum(spent) < LEAST_SECONDS:
        begun = time.perf_counter()
        multiply()
        spent.append(time.perf_counter() - begun)
    return min(spent)


def _multipliers(precision: str, side: int, gpu: bool, threads: int | None) -> Iterator[Callable[[], object]]:
    """Functions that multiply two matrices of this side, each by another library."""
    if not gpu and precision == "fp32":
        matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
        yield lambda: matrix @ matrix
    elif not gpu and precision in PRECISION_HINTS:
        yield from _by_openvino(precision, side, threads)
    if gpu or precision != "fp32":
        yield from _by_torch(precision, side, gpu)


def _by_openvino(precision: str, side: int, threads: int | None) -> Iterator[Callable[[], object]]:
    try:
        openvino = import_openvino()
    except MissingCapabilityError:
        return
    core = openvino.Core()
    if precision.upper() not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return
    from openvino import opset13

    options = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    matrix = np.random.default_rng(0).random((side, side), dtype=np.float32)
    left = opset13.parameter([side, side], np.float32)
    product = opset13.matmul(left, opset13.constant(matrix), False, False)
    request = core.compile_model(openvino.Model([product], [left]), "CPU", options).create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(matrix, shared_memory=True))
    yield request.infer


def _by_torch(precision: str, side: int, gpu: bool) -> Iterator[Callable[[], object]]:
    try:
        import torch
    except ImportError:
        return
    if gpu and not torch.cuda.is_available():
        return
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    matrix = torch.rand(side, side, device="cuda" if gpu else "cpu").to(kind)

    def multiply() -> None:
        matrix @ matrix
        if gpu:
            torch.cuda.synchronize()

    yield multiply
