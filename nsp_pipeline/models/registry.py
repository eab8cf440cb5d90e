"""One place that builds a backbone from the name and sizes in a profile."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.models.dbsn import Dbsn

BACKBONES: dict[str, type[nn.Module]] = {"dbsn": Dbsn}


def build_backbone(name: str, sizes: Mapping[str, Any]) -> nn.Module:
    """Build an untrained backbone; it carries `scale`, `halo` (input pixels), `multiple` and `tiling`.

    Raises ProfileError for an unknown name or sizes that the backbone does not take.
    """
    if name not in BACKBONES:
        raise ProfileError(f"backbone '{name}' is not known here; known: {', '.join(sorted(BACKBONES))}")
    try:
        return BACKBONES[name](**sizes)
    except TypeError as error:
        raise ProfileError(f"backbone '{name}' does not take these sizes: {error}") from None
