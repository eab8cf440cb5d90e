"""A small student with random weights that is told the noise, loud enough that both picture and table matter."""

from functools import cache
from hashlib import sha256
from typing import Any

import safetensors.torch
import torch
from tiny import tiny_fields

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE

SIZES: dict[str, Any] = {"channels": [4, 8], "pairs": [1, 1], "scale": 2, "noise_conditioned": True}


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
    return onnx_bytes(student_graph(), {"profile": "student", "sha256": sha256(_weights()).hexdigest()})


def student_fields(**changes: Any) -> dict[str, Any]:
    """What its profile says of itself; `changes` replace fields."""
    network = student_graph().network
    backbone = {"name": "unet", "sizes": SIZES, "multiple": network.multiple, "halo": network.halo}
    student = {"name": "student", "pairs": None, "backbone": {**backbone, "scale": 2, "tiling": "exact"}}
    return {**tiny_fields(), **student, **changes}


def student_profile_files(**changes: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files for `write_profile`; `changes` replace fields."""
    files = {MODEL_FILES["denoise"]: student_model(), WEIGHTS_FILE: _weights(), CARD_FILE: b"# student\n"}
    return student_fields(**changes), files


@cache
def _weights() -> bytes:
    content: bytes = safetensors.torch.save(dict(student_graph().network.state_dict()))
    return content
