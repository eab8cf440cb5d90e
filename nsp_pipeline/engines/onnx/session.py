"""Sessions of ONNX Runtime: a profile's graph on one of its providers, and on no other."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nsp_pipeline.engines.engine import NOISE_INPUT, EngineInfo, memory_watched
from nsp_pipeline.engines.onnx.load import SILENT, import_onnxruntime, preload_cuda
from nsp_pipeline.engines.onnx.model_file import graph_facts
from nsp_pipeline.errors import EngineOutOfMemoryError, MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import Profile

GPU_INSTALL_HINT = "pip uninstall onnxruntime, then pip install 'nsp-pipeline[gpu]'"
LIBRARIES_HINT = "pip install 'onnxruntime-gpu[cuda,cudnn]'"

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT, TENSORRT_RTX = "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"

MISSING = 9
LOAD = f"""
import ctypes, sys
from nsp_pipeline.engines.onnx.load import import_onnxruntime, preload_cuda
preload_cuda(import_onnxruntime())
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
try:
    ctypes.CDLL(sys.argv[2])
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit({MISSING})
"""
"""Loads the files that it is given as ONNX Runtime would; exits with MISSING, the reason last on stderr."""

DENSE = frozenset({"Conv", "ConvTranspose", "FusedConv", "Gemm", "MatMul"})
"""Where the time goes. What computes shapes is better off on the CPU, and every provider leaves it there."""


def require_provider(provider: str) -> None:
    """Raise MissingCapabilityError, with the command that mends it, unless this ONNX Runtime has a provider."""
    runtime = import_onnxruntime()
    if provider not in runtime.get_available_providers():
        hint = "--engine tensorrt-rtx wants none" if provider == TENSORRT_RTX else GPU_INSTALL_HINT
        raise MissingCapabilityError(f"this ONNX Runtime has no {provider}: {hint}")


def missing_library(provider: str) -> str | None:
    """What the system's loader lacks for a provider, with the command that brings it; None where nothing is missing.

    ONNX Runtime itself says it in its log at most. In a process of its own: a provider's library that was loaded
    without ONNX Runtime is useless afterwards.
    """
    kind = {CUDA: "cuda", TENSORRT: "tensorrt", TENSORRT_RTX: "nv_tensorrt_rtx"}[provider]
    folder = Path(str(import_onnxruntime().__file__)).parent / "capi"
    form = "onnxruntime_providers_{}.dll" if sys.platform == "win32" else "libonnxruntime_providers_{}.so"
    files = [str(folder / form.format(name)) for name in ("shared", kind)]
    ended = subprocess.run([sys.executable, "-c", LOAD, *files], capture_output=True, text=True, check=False)
    if ended.returncode != MISSING:
        return None
    reason = ended.stderr.strip().splitlines()[-1]
    more = "" if provider == CUDA else " tensorrt"
    return f"ONNX Runtime cannot load its {provider}: {reason}: {LIBRARIES_HINT}{more}"


@dataclass(frozen=True)
class SessionRequest:
    """What to open: a profile's graph for a mode, on a provider, and with what options of that beside the usual.

    `threads` are intra-op threads, None for ONNX Runtime's choice; `precision` is "fp32", or "fp16" on a GPU; `device`
    is the number of the GPU.
    """

    profile: Profile
    mode: str
    threads: int | None = None
    provider: str = CPU
    precision: str = "fp32"
    device: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Whose memory it takes, for people."""
        return "the CPU" if self.provider == CPU else f"cuda:{self.device}"

    def open(self) -> Any:
        """Open the session.

        Raises:
            MissingCapabilityError: ONNX Runtime or its provider is not installed, or the provider leaves the network
                to the CPU.
            ProfileError: the profile has no graph for this mode, or one that is not ours.
            EngineOutOfMemoryError: the device's memory does not hold the network.
        """
        content = self.profile.read(self.profile.graph_file(self.mode))
        if self.precision == "fp16":
            from nsp_pipeline.engines.onnx.half_precision import to_half

            content = to_half(content)
        return self.open_graph(content)

    def open_graph(self, content: bytes) -> Any:
        """Open another graph in the place of the profile's; raises as `open`."""
        runtime = import_onnxruntime()
        require_provider(self.provider)
        if self.provider != CPU:
            preload_cuda(runtime)
        options = session_options(runtime, self.threads, arena=self.provider == CPU)
        chosen = _with_options(self.provider, self.precision, self.device)
        if not isinstance(chosen, str):
            chosen = chosen[0], {**chosen[1], **self.extra}
        try:
            with memory_watched(self.where):
                # Without enable_fallback=0 it would print, and go on with the CPU.
                session = runtime.InferenceSession(content, options, providers=[chosen], enable_fallback=0)
        except EngineOutOfMemoryError:
            raise
        except Exception as error:  # ONNX Runtime raises bare classes of its own for every kind of bad model
            where = f"{self.profile.path}: {self.profile.graph_file(self.mode)}"
            raise ProfileError(f"{where} is not a model ONNX Runtime can run: {error}") from error
        _require(session, self.provider)
        return session

    def info_of(self, session: Any) -> EngineInfo:
        """What the session's graph says of itself; raises ProfileError where it is not ours."""
        facts = graph_facts(self.profile, self.mode, session.get_modelmeta().custom_metadata_map)
        noise_conditioned = any(value.name == NOISE_INPUT for value in session.get_overridable_initializers())
        _require_image_to_image(session, f"{self.profile.path}: {self.profile.graph_file(self.mode)}")
        return EngineInfo("onnx", self.provider, self.precision, noise_conditioned=noise_conditioned, **asdict(facts))


def session_options(runtime: ModuleType, threads: int | None, *, arena: bool) -> Any:
    """Options of a session, quiet, with intra-op `threads`; `arena` on the CPU."""
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    # Without an arena, large tiles take up to half of their time to get memory from the system, again and again. A
    # pattern would be held besides what the first run took.
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = False
    # After a run, its threads would wait busily for the next one, a twentieth of a second each, while others blend and
    # encode.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if threads:
        options.intra_op_num_threads = threads
    return options


def _require(session: Any, provider: str) -> None:
    """Raise MissingCapabilityError where ONNX Runtime took another provider, or leaves it the work."""
    taken = session.get_providers()[0]
    if taken != provider:
        reason = missing_library(provider) or f"ONNX Runtime took {taken} instead of {provider}"
        raise MissingCapabilityError(f"{reason}; `nsp doctor` says more")
    if provider == CPU or not hasattr(session, "get_provider_graph_assignment_info"):
        return
    left = Counter(
        str(node.op_type)
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
        if node.op_type in DENSE
    )
    if left:
        what = ", ".join(f"{count} {kind}" for kind, count in left.items())
        raise MissingCapabilityError(f"ONNX Runtime's {provider} leaves {what} to the CPU")


def _require_image_to_image(session: Any, where: str) -> None:
    """Raise ProfileError unless the graph takes images of any size: found out here, not at every photo."""
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    kind, shape = inputs.get("image", ("", []))
    takes_images = kind == "tensor(float)" and shape[:2] == [1, 3] and len(shape) == 4
    if len(inputs) > 1 or not takes_images or any(isinstance(side, int) for side in shape[2:]):
        raise ProfileError(f"{where} must take `image`, float32 [1, 3, H, W] of any H and W; it takes {inputs}")
    if outputs != ["denoised"]:
        raise ProfileError(f"{where} must give `denoised`; it gives {', '.join(outputs)}")


def _with_options(provider: str, precision: str, device: int) -> str | tuple[str, dict[str, str]]:
    """A provider as a session takes it."""
    if provider == CPU:
        return CPU
    options = {"device_id": str(device)}
    if provider == CUDA:
        # Memory by need and not in powers of two; float32 is float32, and not the ten bits of TF32.
        options["arena_extend_strategy"] = "kSameAsRequested"
        options["use_tf32"] = "0" if precision == "fp32" else "1"
        return CUDA, options
    from nsp_pipeline.engines.cache_folder import cache_folder

    folder = cache_folder() / "onnxruntime"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # what cannot be kept is built again by the next run
        return provider, options
    if provider == TENSORRT:
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}
    else:
        options["nv_runtime_cache_path"] = str(folder)
    return provider, options
