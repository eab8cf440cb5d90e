"""Opening the engine that was asked for, or the best one this machine has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from nsp_pipeline.engines.candidates import CANDIDATES, ENGINES, NAMES, PRECISIONS, Candidate, EngineRequest
from nsp_pipeline.engines.cuda_driver import find_driver, require_gpu
from nsp_pipeline.engines.engine import Engine, EngineInfo, memory_watched
from nsp_pipeline.engines.measured.fastest import in_order
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CUDA
from nsp_pipeline.engines.openvino import engine as openvino_cpu
from nsp_pipeline.engines.openvino.engine import OpenVinoEngine
from nsp_pipeline.engines.parity import disagreement
from nsp_pipeline.errors import MissingCapabilityError, NspError
from nsp_pipeline.machine.cpus import default_threads
from nsp_pipeline.machine.memory import available_memory
from nsp_pipeline.models.memory import bytes_a_pixel, copies_held
from nsp_pipeline.profiles.bundle import Profile

MOST_FOR_A_TILE = 3 << 30
"""Bytes that an engine of the CPU takes for a tile; there as on a GPU, no more than half of what is free."""

BESIDE_A_GPU = 200
"""Bytes of the machine's memory for a pixel of a tile: two are pinned for copies, three are filled or blended."""


def open_engine(
    profile: Profile,
    *,
    mode: str,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    on_build: Callable[[str], None] = lambda line: None,
    megapixels: float | None = None,
) -> Engine:
    """Open a profile on an engine. Whatever is not the float32 reference must agree with it on a probe first.

    What does not agree is not taken, whatever was asked for: float32, and at last ONNX Runtime, take its place, and
    `info.fallback` says so. It also says why a GPU that is there is not used.

    Args:
        mode: "denoise", "sr" or "sr-direct".
        engine: one of ENGINES, or "auto", the fastest that this machine has: on a GPU by the order of CANDIDATES, on
            the CPU by what was measured here (see measured/); `info.chosen` says so.
        device: "auto", "cpu", "cuda" or "cuda:N". With the latter two, nothing ever runs on the CPU.
        precision: one of PRECISIONS, or "auto", the fastest that passes.
        threads: CPU threads to compute with; None for as many as this process may keep busy.
        on_build: takes a line for the user when an engine has to be built, which can take minutes, or measured first.
        megapixels: the work that is ahead. Where it pays, engines of the CPU are measured first, which takes seconds;
            where it is very little, what starts sooner is taken. None: neither.

    Raises:
        MissingCapabilityError: this version or this machine cannot do what was asked.
        ProfileError: the profile has no graph for the mode, or one that is not ours.
    """
    if engine not in ("auto", *ENGINES):
        raise MissingCapabilityError(f"engine '{engine}' is not built into this version; it has: {', '.join(ENGINES)}")
    if precision not in ("auto", *PRECISIONS):
        has = ", ".join(PRECISIONS)
        raise MissingCapabilityError(f"precision '{precision}' is not built into this version; it has: {has}")
    request = EngineRequest(engine, device, precision, threads or default_threads(), on_build, megapixels)
    fitting, instead = request.candidates()
    if not fitting:
        raise MissingCapabilityError(_no_such_way(request))
    if device.startswith("cuda"):
        require_gpu(request.gpu)
    reference = OnnxRuntimeEngine(profile, mode=mode, threads=request.threads)
    try:
        return _with_room(_first_trusted(profile, reference, request, fitting, instead), profile, request.gpu)
    except BaseException:
        reference.close()
        raise


def open_reference(profile: Profile, *, mode: str, threads: int | None = None) -> Engine:
    """Open a profile on the engine that all others are held to: ONNX Runtime on the CPU in float32.

    Raises as open_engine does.
    """
    return _with_room(OnnxRuntimeEngine(profile, mode=mode, threads=threads or default_threads()), profile)


def _with_room(engine: Engine, profile: Profile, gpu: int = 0) -> Engine:
    """Let an engine know how large an image may be: what a container allows is not answered by an error.

    On a GPU, larger images want fewer halos; those that are there together share its memory and the machine's.
    """
    backbone, info = profile.spec.backbone, engine.info
    copies = copies_held(profile.spec.inference.self_ensemble, info.name, in_turn=info.in_turn)
    half = info.shared and info.precision == "fp16"
    each = bytes_a_pixel(backbone.name, backbone.sizes, copies, half=half)
    there = available_memory()
    rooms = []
    if info.shared:
        from nsp_pipeline.engines.cuda.device import free_memory
        from nsp_pipeline.engines.cuda.lanes import LANES

        if free := free_memory(gpu):
            rooms = [free // 2 // (each * LANES), *([] if there is None else [there // 2 // BESIDE_A_GPU])]
    elif "CPU" in info.provider and there is not None:
        rooms = [min(MOST_FOR_A_TILE, there // 2) // each]
    if rooms:
        engine.info = replace(info, room=min(rooms) // info.scale**2)
    return engine


def _first_trusted(
    profile: Profile,
    reference: OnnxRuntimeEngine,
    request: EngineRequest,
    fitting: Sequence[Candidate],
    instead: Sequence[Candidate],
) -> Engine:
    """The first candidate that opens and agrees with the reference, which is closed unless it is the one.

    Candidates that are not installed are passed over in silence; those that were tried and failed are reported.
    """
    missing: list[str] = []
    unused: list[str] = []
    untrusted: list[str] = []
    gpus = bool(request.device != "cpu" and (driver := find_driver()) and driver.devices)
    for candidate, why in _one_after_the_other(profile, reference, request, fitting, instead):
        if candidate in instead and not untrusted:
            raise MissingCapabilityError("; ".join(dict.fromkeys(missing)))
        if candidate.device == "cuda" and not gpus:
            what = NAMES[candidate.engine] + (f" in {request.precision}" if request.precision != "auto" else "")
            missing.append(f"{what} needs an NVIDIA GPU, and there is none; `nsp doctor` says more")
            continue
        try:
            opened = _open(candidate, profile, reference, request)
            trouble = disagreement(opened, reference) if opened is not reference else None
        except MissingCapabilityError as error:
            missing.append(str(error))
            if candidate.device == "cuda":
                unused.append(str(error))
            continue
        except NspError as error:
            untrusted.append(str(error))
            continue
        if trouble is None:
            if unused and candidate.device == "cpu":
                untrusted.append(f"the GPU is not used: {'; '.join(dict.fromkeys(unused))}")
            said = [*untrusted, *filter(None, [opened.info.fallback])]
            opened.info = replace(opened.info, fallback="; ".join(said), chosen=why)
            if opened is not reference:
                reference.close()
            return opened
        untrusted.append(f"{candidate} is not trusted: {trouble}")
        opened.close()
    raise MissingCapabilityError("; ".join(dict.fromkeys([*untrusted, *missing])))


def _one_after_the_other(
    profile: Profile,
    reference: Engine,
    request: EngineRequest,
    fitting: Sequence[Candidate],
    instead: Sequence[Candidate],
) -> Iterator[tuple[Candidate, str]]:
    """Candidates, and why each has its place; those of the CPU are put in order when no GPU has served."""
    yield from ((one, "") for one in fitting if one.device == "cuda")
    on_cpu = [one for one in fitting if one.device == "cpu"]
    if on_cpu:
        ordered, why = in_order(profile, request, reference, on_cpu)
        yield from ((one, why) for one in ordered)
    yield from ((one, "") for one in instead)


def _open(candidate: Candidate, profile: Profile, reference: OnnxRuntimeEngine, request: EngineRequest) -> Engine:
    """Open a candidate; raises MissingCapabilityError where it is not installed or not of this machine."""
    info, precision, threads = reference.info, candidate.precision, request.threads
    with memory_watched("the CPU" if candidate.device == "cpu" else f"cuda:{request.gpu}"):
        if candidate == CANDIDATES[-1]:
            return reference
        if candidate.engine == "onnx":
            return _open_onnx(candidate, profile, info, request)
        if candidate.engine == "openvino":
            if precision == "bf16" and not openvino_cpu.computes_in_bf16():
                openvino_cpu.require_openvino()
                raise MissingCapabilityError("this CPU has no instructions for bfloat16; use --precision fp32")
            return OpenVinoEngine(profile, info, precision=precision, threads=threads)
        if candidate.engine == "torch":
            from nsp_pipeline.engines.torch import engine as torch_engine

            if candidate.device == "cpu" and precision == "bf16" and not torch_engine.computes_in_bf16():
                torch_engine.import_torch()
                raise MissingCapabilityError("this CPU has no instructions for bfloat16; use --precision fp32")
            device = "cpu" if candidate.device == "cpu" else f"cuda:{request.gpu}"
            return torch_engine.TorchEngine(profile, info, precision=precision, device=device, threads=threads)
        from nsp_pipeline.engines.tensorrt.engine import TensorRtEngine, unavailable

        if reason := unavailable(candidate.engine):
            raise MissingCapabilityError(reason)
        return TensorRtEngine(
            profile, info, flavour=candidate.engine, precision=precision, device=request.gpu, on_build=request.on_build
        )


def _open_onnx(candidate: Candidate, profile: Profile, info: EngineInfo, request: EngineRequest) -> Engine:
    """ONNX Runtime on a GPU: with lanes where cuda-python is there, else one image after the other."""
    reason = ""
    if candidate.provider == CUDA:
        from nsp_pipeline.engines.cuda.device import find_gpu

        try:
            find_gpu(request.gpu)
        except MissingCapabilityError as error:
            reason = f"copies wait for the GPU: {error}"
        else:
            from nsp_pipeline.engines.onnx.on_cuda import OnnxCudaEngine

            return OnnxCudaEngine(profile, info, precision=candidate.precision, device=request.gpu)
    plain = OnnxRuntimeEngine(
        profile,
        mode=info.mode,
        threads=request.threads,
        provider=candidate.provider,
        precision=candidate.precision,
        device=request.gpu,
    )
    plain.info = replace(plain.info, fallback=reason)
    return plain


def _no_such_way(request: EngineRequest) -> str:
    """Why no candidate fits a request, and what would."""
    named = [one for one in CANDIDATES if request.engine in ("auto", one.engine)]
    devices = {one.device for one in named}
    if not any(request.device == "auto" or request.device.startswith(device) for device in devices):
        where = "the CPU" if devices == {"cpu"} else "a GPU"
        return f"{NAMES[request.engine]} runs on {where} only; --device {request.device} wants another --engine"
    others = [
        one.engine
        for one in CANDIDATES
        if one.precision == request.precision
        and one.engine != request.engine
        and (request.device == "auto" or request.device.startswith(one.device))
    ]
    able = sorted(set(others), key=ENGINES.index)
    where = "" if request.device == "auto" else f" on {request.device}"
    what = "no engine" if request.engine == "auto" else f"{NAMES[request.engine]} never"
    instead = f"; {request.precision} wants --engine {' or '.join(able)}" if able else ""
    return f"{what} computes in {request.precision}{where}{instead}"
