"""The multiply-adds counted in a graph are those that PyTorch counts in the network."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.speed.work import macs_per_pixel


@pytest.mark.parametrize("name", ["fast", "dbsn"])
def test_counts_what_pytorch_counts(name: str) -> None:
    profile = find_profile(name)
    backbone = profile.spec.backbone
    network = load_backbone(backbone.name, backbone.sizes, profile.read(WEIGHTS_FILE))
    graph = ImageToImage(network, mode="denoise", pd_factor=profile.spec.inference.pd_factor)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        graph(torch.zeros(1, 3, 64, 64))

    assert macs_per_pixel(profile) == pytest.approx(counter.get_total_flops() / 2 / 64**2, rel=0.01)
