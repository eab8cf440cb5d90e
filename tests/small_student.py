"""A small student with random weights that is told the noise, loud enough that both picture and table matter."""

from functools import cache
from hashlib import sha256
from typing import Any

import safetensors.torch
import torch
from tiny import tiny_profile_files

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE

SIZES = {"channels": [4, 8], "pairs": [1, 1], "scale": 2, "noise_conditioned": True}
METADATA = {"profile": "student", "sha256": "0" * 64}


@cache
def student_graph(self_ensemble: int = 1) -> ImageToImage:
    """The student's way from image to image, the same weights every time."""
    torch.manual_seed(3)
    network = UNet(**SIZES).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    return ImageToImage(network, mode="denoise", pd_factor=1, self_ensemble=self_ensemble)


@cache
def student_model() -> bytes:
    """Its graph as an ONNX file, the noise as an input."""
    return onnx_bytes(student_graph(), METADATA)


def student_profile_files(**changes: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files for `write_profile`; `changes` replace fields."""
    network = student_graph().network
    fields, files = tiny_profile_files()
    weights = safetensors.torch.save(dict(network.state_dict()))
    model = onnx_bytes(student_graph(), {"profile": "student", "sha256": sha256(weights).hexdigest()})
    backbone = {"name": "unet", "sizes": SIZES, "multiple": network.multiple, "halo": network.halo}
    fields |= {"name": "student", "pairs": None, "backbone": {**backbone, "scale": 2, "tiling": "exact"}}
    files = {name: data for name, data in files.items() if name not in MODEL_FILES.values()}
    return {**fields, **changes}, {**files, MODEL_FILES["denoise"]: model, WEIGHTS_FILE: weights}
