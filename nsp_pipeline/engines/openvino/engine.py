"""OpenVINO on CPUs: where they compute in bfloat16, several times as fast as float32."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo, memory_watched
from nsp_pipeline.engines.openvino.bfloat16_head import REST, rest_of, take_the_rest
from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.machine.cpus import cpu_features
from nsp_pipeline.profiles.bundle import Profile

INSTALL_HINT = "pip install 'nsp-pipeline[cpu,openvino]'"
NOT_WANTED = ("openvino_telemetry", "openvino.tools.ovc")
"""What writes an id into the user's home and reports to its maker, and the converter that brings it along."""

BFLOAT16_FEATURES = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
"""Without any of these, no x86 processor computes in bfloat16."""

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


def import_openvino() -> ModuleType:
    """Import OpenVINO, its telemetry off; raises MissingCapabilityError with the command that installs it."""
    for name in NOT_WANTED:
        # A module that is None cannot be imported.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingCapabilityError(f"OpenVINO is not installed ({error}): {INSTALL_HINT}") from None
    return openvino  # type: ignore[no-any-return]


def require_openvino() -> None:
    """Raise MissingCapabilityError as import_openvino does, without importing it where it is there."""
    if find_spec("openvino") is None:
        import_openvino()


def computes_in_bf16() -> bool:
    """Whether OpenVINO is installed, and this CPU has instructions for bfloat16."""
    # Importing it takes as long as a small photo, and Linux has said so already.
    if cpu_features() and not BFLOAT16_FEATURES & set(cpu_features()):
        return False
    try:
        runtime = import_openvino()
        return "BF16" in runtime.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (MissingCapabilityError, RuntimeError):
        return False


class OpenVinoEngine:
    """A profile's graph on OpenVINO's CPU plugin."""

    def __init__(
        self, profile: Profile, checked: EngineInfo, *, precision: str = "fp32", threads: int | None = None
    ) -> None:
        """Compile the graph: in a quarter of a second, so that nothing is kept for the next start.

        Args:
            checked: what another engine, which has looked at the graph and its metadata, says of it.
            precision: "fp32" or "bf16".
            threads: CPU threads; None leaves the choice to OpenVINO.

        Raises:
            MissingCapabilityError: OpenVINO is not installed.
            ProfileError: OpenVINO cannot compile the graph.
        """
        runtime = import_openvino()
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        file = profile.graph_file(checked.mode)
        try:
            core = runtime.Core()
            model = core.read_model(profile.read(file))
            if checked.noise_conditioned:
                _take_noise(runtime, model)
            if precision == "bf16":
                model = take_the_rest(runtime, model)
            compiled = core.compile_model(model, "CPU", options)
            self._takes_rest = any(REST in part.get_names() for part in compiled.inputs)
            self._output = compiled.output(0)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ProfileError(f"{profile.path}: OpenVINO cannot compile {file}: {str(error).strip()}") from error
        self.info = replace(checked, name="openvino", provider="OpenVINO CPU", precision=precision)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine.run."""
        with memory_watched("the CPU"):
            inputs = {"image": np.ascontiguousarray(image)}
            if self._takes_rest:
                inputs[REST] = rest_of(inputs["image"])
            if self.info.noise_conditioned:
                inputs[NOISE_INPUT] = NoiseLevel.unknown().table if noise is None else noise
            # Shared: it would copy both, and the result is copied below, over which the request writes its next one.
            result = self._request.infer(inputs, share_inputs=True, share_outputs=True)[self._output]
            return np.array(result, dtype=np.float32)

    def close(self) -> None:
        """Free the compiled graph."""
        del self._request, self._output


def _take_noise(runtime: ModuleType, model: Any) -> None:
    """Make the noise table an input: OpenVINO reads an input that has a default as a constant."""
    (constant,) = [part for part in model.get_ops() if part.get_friendly_name() == NOISE_INPUT]
    parameter = runtime.opset13.parameter(constant.output(0).get_shape(), runtime.Type.f32, name=NOISE_INPUT)
    parameter.output(0).get_tensor().set_names({NOISE_INPUT})
    constant.output(0).replace(parameter.output(0))
    model.add_parameters([parameter])
    model.validate_nodes_and_infer_types()
