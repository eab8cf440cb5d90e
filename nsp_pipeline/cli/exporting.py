"""The one place where the commands reach for the export package, which may use all of ours and never the reverse."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile
from nsp_pipeline.profiles.spec import InferenceSpec

if TYPE_CHECKING:
    from nsp_pipeline.models.backbone import Backbone

TRAIN_HINT = "pip install 'nsp-pipeline[cpu,train]' (with torch==2.13.0 for the CPU build)"


def require_training() -> None:
    """Raise MissingCapabilityError, with the command that mends it, unless PyTorch and the exporter import."""
    try:
        import onnxscript  # noqa: F401
        import safetensors  # noqa: F401
        import torch  # noqa: F401

        import nsp_export.onnx_file  # noqa: F401
    except ImportError as error:
        raise MissingCapabilityError(f"this command needs PyTorch ({error}): {TRAIN_HINT}") from None


def make_onnx(network: "Backbone", mode: str, inference: InferenceSpec, metadata: Mapping[str, str]) -> bytes:
    """Export a network as a checked image-in, image-out ONNX file (see nsp_export.onnx_file.onnx_bytes)."""
    from nsp_export.graph import ImageToImage
    from nsp_export.onnx_file import onnx_bytes

    return onnx_bytes(ImageToImage(network, mode=mode, **inference.model_dump()), metadata)


def compare_with_weights(profile: Profile) -> str:
    """Compare every graph of a profile with the network of its weights; returns what was found, in words.

    Raises ProfileError, naming the graph, when one computes something else.
    """
    try:
        require_training()
    except MissingCapabilityError as error:
        return f"not compared with the models: {error}"
    from nsp_export.graph import ImageToImage
    from nsp_export.onnx_file import ParityError, check_parity
    from nsp_pipeline.models.registry import load_backbone

    spec = profile.spec
    network = load_backbone(spec.backbone.name, spec.backbone.sizes, profile.read(WEIGHTS_FILE))
    worst = 0.0
    for mode, file in MODEL_FILES.items():
        if file not in profile.content:
            continue
        graph = ImageToImage(network, mode=mode, **spec.inference.model_dump()).eval()
        try:
            worst = max(worst, check_parity(profile.read(file), graph))
        except ParityError as error:
            raise ProfileError(f"{profile.path}: {file} is not the network of the weights: {error}") from None
    return f"all models agree with them to {worst:.0e}"
