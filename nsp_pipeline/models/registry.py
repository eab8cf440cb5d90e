"""One place that builds a backbone from the name and sizes in a profile."""

from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.dbsn import Dbsn
from nsp_pipeline.models.tbsn import Tbsn
from nsp_pipeline.models.unet import UNet

BACKBONES: dict[str, type[Backbone]] = {"dbsn": Dbsn, "tbsn": Tbsn, "unet": UNet}


def build_backbone(name: str, sizes: Mapping[str, Any]) -> Backbone:
    """Build an untrained backbone; it carries `scale`, `halo` (input pixels), `multiple`, `tiling` and `tile`.

    Raises ProfileError for an unknown name or sizes that the backbone does not take.
    """
    if name not in BACKBONES:
        raise ProfileError(f"backbone '{name}' is not known here; known: {', '.join(sorted(BACKBONES))}")
    try:
        return BACKBONES[name](**sizes)
    except TypeError as error:
        raise ProfileError(f"backbone '{name}' does not take these sizes: {error}") from None


def load_backbone(name: str, sizes: Mapping[str, Any], weights: bytes) -> Backbone:
    """Build a backbone and fill it with the weights of a safetensors file; in eval mode, on the CPU.

    Raises ProfileError when the weights are not a safetensors file or belong to another network.
    """
    network = build_backbone(name, sizes)
    try:
        stored = safetensors.torch.load(weights)
        network.load_state_dict({_present_key(key): value for key, value in stored.items()})
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise ProfileError(f"the weights do not fit backbone '{name}': {str(error).splitlines()[0]}") from None
    return network.eval()


def _present_key(key: str) -> str:
    """Return today's name of a weight: bundles of nsp 0.1 call the noise table's convolution `told`."""
    return key.replace("told.", "noise_head.", 1) if key.startswith("told.") else key
