"""The ways there are to run a network, and those that fit what was asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field

from nsp_pipeline.engines.onnx import session as onnx_session

ENGINES = ("onnx", "tensorrt", "tensorrt-rtx", "openvino", "torch")
PRECISIONS = ("fp32", "fp16", "bf16")
NAMES = {
    "onnx": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
    "openvino": "OpenVINO",
    "torch": "PyTorch",
}


@dataclass(frozen=True)
class Candidate:
    """One way to run a network."""

    engine: str
    precision: str
    device: str
    """"cpu" or "cuda"."""
    provider: str = ""
    """Of ONNX Runtime."""
    asked_only: bool = False
    """Not taken by the order of this list, but where its engine is asked for by name."""
    measured: bool = False
    """Taken by "auto" where a measurement found it the fastest (see measured/), whatever its place in the list."""

    def __str__(self) -> str:
        provider = f" with {self.provider}" if self.provider else ""
        return f"{NAMES[self.engine]}{provider} in {self.precision}"


CANDIDATES = (
    Candidate("tensorrt-rtx", "fp16", "cuda"),
    Candidate("tensorrt", "fp16", "cuda"),
    # What ONNX Runtime does with TensorRT, the two above do directly.
    Candidate("onnx", "fp16", "cuda", onnx_session.TENSORRT_RTX, asked_only=True),
    Candidate("onnx", "fp16", "cuda", onnx_session.TENSORRT, asked_only=True),
    Candidate("onnx", "fp16", "cuda", onnx_session.CUDA),
    Candidate("torch", "fp16", "cuda", asked_only=True),
    Candidate("torch", "bf16", "cuda", asked_only=True),
    Candidate("tensorrt-rtx", "fp32", "cuda"),
    Candidate("tensorrt", "fp32", "cuda"),
    Candidate("onnx", "fp32", "cuda", onnx_session.CUDA),
    Candidate("torch", "fp32", "cuda", asked_only=True),
    Candidate("openvino", "bf16", "cpu", measured=True),
    Candidate("openvino", "fp32", "cpu", asked_only=True, measured=True),
    Candidate("torch", "bf16", "cpu", asked_only=True),
    Candidate("torch", "fp32", "cpu", asked_only=True),
    Candidate("onnx", "fp32", "cpu", onnx_session.CPU, measured=True),
)
"""The fastest first, where nothing is measured. The last is the reference that all others must agree with."""


@dataclass(frozen=True)
class EngineRequest:
    """What was asked for; see `open_engine`."""

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    on_build: Callable[[str], None] = field(default=lambda line: None)
    megapixels: float | None = None

    @property
    def gpu(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2] or 0)

    def candidates(self) -> tuple[list[Candidate], list[Candidate]]:
        """What fits the request, and what stands in for it when nothing of it can be trusted; each the best first."""
        there = [one for one in CANDIDATES if self.device == "auto" or self.device.startswith(one.device)]
        named = [one for one in there if one.engine == self.engine or (self.engine == "auto" and not one.asked_only)]
        fitting = [one for one in named if self.precision in ("auto", one.precision)]
        onnx = [one for one in there if one.engine == "onnx" and not one.asked_only]
        instead = [one for one in dict.fromkeys([*named, *onnx]) if one.precision == "fp32" and one not in fitting]
        return fitting, sorted(instead, key=CANDIDATES.index)

    def contenders(self) -> list[Candidate]:
        """Of those on the CPU, what "auto" takes the fastest of by measurement; none where an engine was named."""
        if self.engine != "auto" or self.device.startswith("cuda"):
            return []
        return [one for one in CANDIDATES if one.measured and self.precision in ("auto", one.precision)]
