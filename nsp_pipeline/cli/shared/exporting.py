"""The one place where the commands reach for the export package, which may use all of ours and never the reverse."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nsp_pipeline.core.noise_kind import NoiseKind
from nsp_pipeline.core.noise_table import StatedNoise
from nsp_pipeline.engines.tensorrt.size_range import Size, SizeRange
from nsp_pipeline.errors import MissingCapabilityError, ProfileError, UsageError
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile
from nsp_pipeline.profiles.noise import measured_noise
from nsp_pipeline.profiles.spec import InferenceSpec

if TYPE_CHECKING:
    from nsp_pipeline.models.backbone import Backbone
    from nsp_pipeline.models.graph import ImageToImage

TRAIN_HINT = "pip install 'nsp-pipeline[cpu,train]' (with torch==2.13.0 for the CPU build)"

NAMES = {"torch": "PyTorch"}


def require_training() -> None:
    """Raise MissingCapabilityError unless PyTorch and all that exports import is there.

    The error names what is missing, PyTorch before all that goes with it, and the command that brings it.
    """
    try:
        import torch  # noqa: F401, I001  first: without it, the others are no matter
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401

        import nsp_export.onnx_file  # noqa: F401
    except ImportError as error:
        lacking = (error.name or "").partition(".")[0]
        name = NAMES.get(lacking, lacking or "PyTorch")
        reason = f"this command needs {name}, which cannot be used ({error})"
        raise MissingCapabilityError(f"{reason}: {TRAIN_HINT}") from None


def make_onnx(network: "Backbone", mode: str, inference: InferenceSpec, metadata: Mapping[str, str]) -> bytes:
    """Export a network as a checked image-in, image-out ONNX file (see nsp_export.onnx_file.onnx_bytes)."""
    from nsp_export.onnx_file import onnx_bytes
    from nsp_pipeline.models.graph import ImageToImage

    return onnx_bytes(ImageToImage(network, mode=mode, **inference.model_dump()), metadata)


def compare_with_weights(profile: Profile) -> str:
    """Compare every graph of a profile with the network of its weights; returns what was found, in words.

    Raises ProfileError, naming the graph, when one computes something else.
    """
    try:
        require_training()
    except MissingCapabilityError as error:
        return f"not compared with the models: {error}"
    held = [mode for mode, file in MODEL_FILES.items() if file in profile.content]
    network = _network(profile)
    worst = max((_difference(profile, network, mode) for mode in held), default=0.0)
    return f"all models agree with them to {worst:.0e}"


def _difference(profile: Profile, network: "Backbone", mode: str) -> float:
    """Largest difference between a profile's graph and the network of its weights; raises ProfileError above 1e-4."""
    from nsp_export.agreement import ParityError
    from nsp_export.onnx_file import check_parity
    from nsp_pipeline.models.graph import ImageToImage

    graph = ImageToImage(network, mode=mode, **profile.spec.inference.model_dump()).eval()
    file = profile.graph_file(mode)
    try:
        return check_parity(profile.read(file), graph)
    except ParityError as error:
        raise ProfileError(f"{profile.path}: {file} is not the network of the weights: {error}") from None


@dataclass(frozen=True)
class ExportRequest:
    """What file to make of a profile; see the options of `nsp export`.

    `noise` is what the network is told of every image; None leaves it to the target. With `noise_inside` the file
    estimates it; with `own_noise` it is to be that of the profile's photos, at an `iso` where they have several.
    """

    target: str
    mode: str
    pd: str
    precision: str
    pixels: str
    size: Size | None
    sizes: Callable[[int, int | None], SizeRange]
    capabilities: tuple[str, ...]
    noise: StatedNoise | None = None
    noise_inside: bool = False
    own_noise: bool = False
    iso: int | None = None


def with_own_noise(profile: Profile, request: ExportRequest) -> ExportRequest:
    """Let the network be told the noise of the profile's own photos, where that is asked for and known.

    Raises UsageError for an ISO whose noise the profile does not know.
    """
    if not request.own_noise:
        return request
    takes_noise = bool(profile.spec.backbone.sizes.get("noise_conditioned"))
    noise = measured_noise(profile, request.iso) if takes_noise else None
    if noise is None and request.iso is not None:
        why = "knows no noise; nsp calibrate measures it" if takes_noise else "has a network that is not told the noise"
        raise UsageError(f"--iso {request.iso}: profile {profile.name} {why}")
    return replace(request, noise=noise)


@dataclass(frozen=True)
class Exported:
    """A file's content, the facts to print about it, and what it was compared with, in words."""

    content: bytes
    facts: dict[str, object]
    agreement: str


def export_onnx(profile: Profile, request: ExportRequest) -> Exported:
    """Export the network of a profile's weights as ONNX; raises what `onnx_bytes` and `variant` raise."""
    from nsp_export.onnx_file import onnx_bytes
    from nsp_export.variants import Variant, variant

    profile, others = _suiting(profile, request.noise)
    graph = _graph(profile, request)
    chosen = Variant(request.precision, request.size, request.pixels, request.noise, request.noise_inside)
    inner = {kind: onnx_bytes(_graph(other, request), _metadata(other)) for kind, other in others.items()}
    content, psnr = variant(onnx_bytes(graph, _metadata(profile)), chosen, inner)
    size = str(request.sizes(graph.multiple, graph.tile)) if request.size else "any size"
    told = request.noise.source if request.noise else "input" if graph.noise_conditioned else None
    told = "inside" if request.noise_inside else told
    facts = {"size": size, "multiple": graph.multiple, "halo": graph.halo, "scale": graph.scale, "noise": told}
    return Exported(content, {**facts, **_metadata(profile)}, "agrees with PyTorch" + _in_half(request, psnr))


def export_darktable(profile: Profile, request: ExportRequest, stem: str) -> Exported:
    """Export the network of a profile's weights as a model package of darktable; raises what `darktable_package` does.

    A network that takes a noise table is told what the request states, else that nothing is known.

    Args:
        stem: the file's name without `.dtmodel`.
    """
    from nsp_export.darktable import darktable_package, model_id, require_tiles
    from nsp_export.variants import Variant

    identity = model_id(stem)
    noise = request.noise
    if profile.spec.backbone.sizes.get("noise_conditioned") and noise is None:
        noise = StatedNoise.unknown()
    profile, _ = _suiting(profile, noise)
    graph = _graph(profile, request)
    require_tiles(graph)
    chosen = Variant(request.precision, noise=noise)
    content, psnr = darktable_package(graph, profile.spec, _metadata(profile), identity, chosen)
    told = noise.source if noise else None
    facts = {"size": "any size", "multiple": 1, "halo": graph.halo, "scale": 1, "noise": told, "id": identity}
    return Exported(content, {**facts, **_metadata(profile)}, "agrees with PyTorch" + _in_half(request, psnr))


def _suiting(profile: Profile, noise: StatedNoise | None) -> tuple[Profile, Mapping[NoiseKind, Profile]]:
    """Of a profile's networks the one that suits a stated noise; where none is stated, all, by the kind of noise."""
    if noise is not None:
        return profile.suiting(noise.table), {}
    return profile, {kind: inner for kind, inner in profile.by_noise.items() if inner is not profile}


def _graph(profile: Profile, request: ExportRequest) -> "ImageToImage":
    """The network of a profile's weights on its way from image to image.

    Raises UsageError where it is to be told the noise and takes no table: before the minutes that an export takes.
    """
    from nsp_export.stated_noise import TAKES_NO_NOISE
    from nsp_pipeline.models.graph import ImageToImage

    inference = profile.spec.inference_with(request.pd).model_dump()
    graph = ImageToImage(_network(profile), mode=request.mode, **inference)
    if (request.noise or request.noise_inside) and not graph.noise_conditioned:
        raise UsageError(TAKES_NO_NOISE)
    return graph


def _metadata(profile: Profile) -> dict[str, str]:
    return {"profile": profile.name, "sha256": profile.spec.files[WEIGHTS_FILE]}


def export_engine(profile: Profile, request: ExportRequest, on_line: Callable[[str], None]) -> Exported:
    """Build a TensorRT or TensorRT-RTX engine from a profile's graph; raises what `engine_bytes` raises."""
    from nsp_pipeline.engines.tensorrt.build import import_tensorrt

    import_tensorrt(request.target)
    from nsp_pipeline.engines.onnx.model_file import import_onnx

    import_onnx()
    from nsp_export.engine_file import EngineFileRequest, engine_bytes
    from nsp_export.variants import Variant

    profile, _ = _suiting(profile, request.noise or StatedNoise.unknown())
    compared = _compare_with_weights(profile, request.mode)
    chosen = Variant(request.precision, request.size, request.pixels, request.noise)
    made = EngineFileRequest(request.target, request.mode, chosen, request.sizes, request.capabilities)
    content, found, sizes, psnr = engine_bytes(profile, made, on_line)
    facts = {
        "size": str(sizes),
        "multiple": found.multiple,
        "halo": found.halo,
        "scale": found.scale,
        "noise": request.noise.source if request.noise else None,
        "profile": found.profile,
        "sha256": found.sha256,
    }
    return Exported(content, facts, compared + _in_half(request, psnr))


def _compare_with_weights(profile: Profile, mode: str) -> str:
    """Compare a profile's graph with its weights where PyTorch is there; raises ProfileError where they disagree."""
    from nsp_pipeline.engines.onnx.model_file import checked_model

    checked_model(profile, mode)
    if find_spec("torch") is None or find_spec("safetensors") is None:
        return "not compared with PyTorch, which is not installed"
    require_training()
    _difference(profile, _network(profile), mode)
    return "its graph agrees with PyTorch"


def _network(profile: Profile) -> "Backbone":
    from nsp_pipeline.models.registry import load_backbone

    backbone = profile.spec.backbone
    return load_backbone(backbone.name, backbone.sizes, profile.read(WEIGHTS_FILE))


def _in_half(request: ExportRequest, psnr: float) -> str:
    return f", fp16 with fp32 to {psnr:.0f} dB" if request.precision == "fp16" else ""
