"""Graphs of one small network of every backbone, with random weights loud enough that the picture matters."""

from functools import cache

import torch
from tiny import tiny_model

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.tbsn import Tbsn
from nsp_pipeline.models.unet import UNet

BACKBONES = ("dbsn", "tbsn", "student")


@cache
def small_graph(backbone: str) -> bytes:
    """The graph for `denoise`, of any size, as an ONNX file: PD by 2 and mean where the backbone needs PD."""
    if backbone == "dbsn":
        return tiny_model("denoise", 2)
    graph = ImageToImage(_small_network(backbone), mode="denoise", pd_factor=1)
    return onnx_bytes(graph, {"profile": f"small {backbone}", "sha256": "0" * 64})


def _small_network(backbone: str) -> Backbone:
    torch.manual_seed(0)
    if backbone == "tbsn":
        tbsn = Tbsn(channels=8, blocks=(1, 1, 1), refinement_blocks=1, head_dim=4).eval()
        with torch.no_grad():
            last = tbsn.output[-1]
            assert isinstance(last, torch.nn.Conv2d)
            last.weight.mul_(500)
        return tbsn
    student = UNet(channels=(4, 8), pairs=(1, 1), scale=2).eval()
    with torch.no_grad():
        for part in student.tail.parameters():
            part.normal_(std=0.1)
    return student
