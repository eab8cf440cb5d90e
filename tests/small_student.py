"""A small student with random weights that is told the noise, loud enough that both picture and table matter."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from tiny import tiny_fields

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.unet import UNet
from nsp_pipeline.profiles.bundle import (
    CARD_FILE,
    MODEL_FILES,
    UNSMOOTHED_FILE,
    WEIGHTS_FILE,
    WHITE_FILE,
    Profile,
    write_profile,
)

SIZES: dict[str, Any] = {"channels": [4, 8], "pairs": [1, 1], "scale": 2, "noise_conditioned": True}


@cache
def student_graph(self_ensemble: int = 1, seed: int = 3) -> ImageToImage:
    """The student's way from image to image, the same weights every time."""
    torch.manual_seed(seed)
    network = UNet(**SIZES).eval()
    for part in network.tail.parameters():
        torch.nn.init.normal_(part, std=0.1)
    return ImageToImage(network, mode="denoise", pd_factor=1, self_ensemble=self_ensemble)


@cache
def student_model(seed: int = 3) -> bytes:
    """Its graph as an ONNX file, the noise as an input."""
    return onnx_bytes(student_graph(seed=seed), {"profile": "student", "sha256": sha256(_weights(seed)).hexdigest()})


def student_fields(**changes: Any) -> dict[str, Any]:
    """What its profile says of itself; `changes` replace fields."""
    network = student_graph().network
    backbone = {"name": "unet", "sizes": SIZES, "multiple": network.multiple, "halo": network.halo}
    student = {"name": "student", "pairs": None, "backbone": {**backbone, "scale": 2, "tiling": "exact"}}
    return {**tiny_fields(), **student, **changes}


def student_profile_files(seed: int = 3, **changes: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files for `write_profile`; `changes` replace fields."""
    files = {MODEL_FILES["denoise"]: student_model(seed), WEIGHTS_FILE: _weights(seed), CARD_FILE: b"# student\n"}
    return student_fields(**changes), files


def write_pair(folder: Path, **inner: Any) -> Profile:
    """Write `pair.nsp`, which holds a second student with other weights, and `second.nsp`, which is that.

    `inner` replaces fields of the second.
    """
    second = write_profile(folder / "second.nsp", *student_profile_files(4, name="second", **inner))
    fields, files = student_profile_files(name="pair")
    return write_profile(folder / "pair.nsp", fields, {**files, UNSMOOTHED_FILE: second.path.read_bytes()})


def write_three(folder: Path) -> Profile:
    """Write `three.nsp`, which is `pair.nsp` of `write_pair` and holds a third student too, for white noise."""
    pair = write_pair(folder)
    third = write_profile(folder / "third.nsp", *student_profile_files(5, name="third"))
    fields = pair.spec.model_dump(exclude={"schema_version", "files"})
    return write_profile(folder / "three.nsp", fields, {**pair.content, WHITE_FILE: third.path.read_bytes()})


def noise_tables() -> dict[str, NDArray[np.float32]]:
    """Noise tables (1, 4, 8) of each kind of noise (see core/noise_kind.py)."""
    kinds = {"smoothed": (3, 5, 2, 6), "unsmoothed": (3, 4, 4, 8), "white": (3, 3, 4, 4)}
    return {name: np.repeat(np.array(rows, np.float32)[None, :, None] / 255, 8, axis=2) for name, rows in kinds.items()}


@cache
def _weights(seed: int) -> bytes:
    content: bytes = safetensors.torch.save(dict(student_graph(seed=seed).network.state_dict()))
    return content
