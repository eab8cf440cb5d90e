"""The one place where the commands reach for the export package, which may use all of ours and never the reverse."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nsp_pipeline.errors import MissingCapabilityError
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
