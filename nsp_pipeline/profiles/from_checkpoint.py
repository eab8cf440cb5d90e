"""A whole profile around an authors' checkpoint."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from nsp_pipeline import __version__
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.checkpoint import load_checkpoint
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, require_writable, write_profile
from nsp_pipeline.profiles.spec import BackboneSpec, InferenceSpec

MakeOnnx = Callable[[Backbone, str, InferenceSpec, Mapping[str, str]], bytes]
"""(network, mode, PD at inference, metadata) -> checked ONNX file; handed in, as export is a package of its own."""

PAIRS = {"s": 5, "t": 2, "n": 1, "strategy": "consecutive"}
"""The paper's defaults: a checkpoint does not say how it was trained."""


def profile_from_checkpoint(path: Path, target: Path, *, backbone: str | None, make_onnx: MakeOnnx) -> Profile:
    """Read an authors' `.pth` and write a profile to `target`, with the graphs of all modes.

    Raises:
        ProfileError: the file is not a checkpoint of the backbone.
        OutputError: the target exists or cannot be written.
        NspError: an exported graph does not agree with the network; nothing is written then.
    """
    require_writable(target)
    checkpoint = load_checkpoint(path, backbone)
    network = checkpoint.network
    name = target.name.removesuffix(".nsp")
    weights = safetensors.torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()})
    metadata = {"profile": name, "sha256": hashlib.sha256(weights).hexdigest()}
    source = f"imported from {path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    fields: dict[str, Any] = {
        "name": name,
        "pairs": {**PAIRS, "t": network.scale},
        "inference": {"pd_factor": network.scale},
        "backbone": BackboneSpec.of(checkpoint.backbone, checkpoint.sizes, network).model_dump(),
        "training": {"settings": {}, "steps": 0, "seconds": 0.0, "version": __version__},
        "scores": {"held_out_photos": 0},
        "data": {"origin": source, "licence": "not stated", "photos": 0},
    }
    inference = InferenceSpec(**fields["inference"])
    files = {file: make_onnx(network, mode, inference, metadata) for mode, file in MODEL_FILES.items()}
    files[WEIGHTS_FILE] = weights
    files[CARD_FILE] = _card(fields).encode()
    return write_profile(target, fields, files)


def _card(fields: Mapping[str, Any]) -> str:
    backbone, pairs = fields["backbone"], fields["pairs"]
    sizes = ", ".join(f"{key} {value}" for key, value in backbone["sizes"].items())
    return f"""# {fields["name"]}

A denoiser trained elsewhere, its weights taken over unchanged.

| | |
|---|---|
| weights | {fields["data"]["origin"]} |
| licence of the weights | **not stated**: the file says nothing of it; ask those who made it before you pass it on |
| network | {backbone["name"]} ({sizes}), halo {backbone["halo"]} pixels, {backbone["tiling"]} tiles |
| PD at inference | {fields["inference"]["pd_factor"]} |

## What is not known

On which photos it was trained, for how long and with which settings: a checkpoint holds weights only. The pairs in
`profile.json` (s {pairs["s"]}, t {pairs["t"]}, n {pairs["n"]}, {pairs["strategy"]}) are the paper's defaults. There is
no noise model and no score; `nsp evaluate` measures it on your own pairs.
"""
