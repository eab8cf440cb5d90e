"""Checkpoints with random weights in the key layout of the NSP authors' releases."""

from collections.abc import Callable, Mapping

import torch

from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.dbsn import Dbsn
from nsp_pipeline.models.tbsn import Tbsn
from nsp_pipeline.profiles.spec import InferenceSpec

LAYOUTS: dict[str, Callable[[], Backbone]] = {
    "dbsn": (lambda: Dbsn(base_channels=6, modules=2, local_mean_skip=False)),
    "tbsn": (lambda: Tbsn(channels=8, blocks=(1, 2, 1), refinement_blocks=1, head_dim=4)),
}
"""The networks' own keys are the published ones: test_dbsn, and the shared pairs for TBSN, hold that."""


def authors_state(backbone: str) -> dict[str, torch.Tensor]:
    """The weights by key; the same every time."""
    torch.manual_seed(5)
    return dict(LAYOUTS[backbone]().state_dict())


def fake_onnx(network: Backbone, mode: str, inference: InferenceSpec, metadata: Mapping[str, str]) -> bytes:
    """In place of the export, which takes seconds for a DBSN and half a minute for a TBSN."""
    return f"{mode} {inference.pd_factor} {metadata['profile']}".encode()
