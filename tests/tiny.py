"""A small network with random weights, and the bundle of a profile around it; each made once in a test run."""

from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from nsp_pipeline.core.shuffle import pixel_shuffle_down, pixel_shuffle_up
from nsp_pipeline.models.dbsn import Dbsn
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE
from nsp_pipeline.profiles.spec import BackboneSpec

SIZES = {"base_channels": 4, "modules": 1, "scale": 2, "local_mean_skip": True}


@cache
def tiny_network(**sizes: Any) -> Dbsn:
    """The network: the same weights every time, and strong enough where it looks farthest for a test to see it."""
    torch.manual_seed(7)
    network = Dbsn(**{**SIZES, **sizes}).eval()
    with torch.no_grad():
        for branch in (network.branch1, network.branch2):
            for name, weights in branch.named_parameters():
                weights.mul_(6.0 if name.startswith("body.6.") else 3.0 if name.endswith("weight") else 1.0)
        # Estimates in the middle of 0..1, where nothing is clipped; a grey photo stays grey.
        last = network.tail[-1]
        assert isinstance(last, torch.nn.Conv2d)
        assert last.bias is not None
        last.bias.fill_(0.0 if network.local_mean_skip else 0.5)
        grey = torch.full((1, 3, 64, 64), 0.5)
        last.bias.sub_((network(grey) - 0.5).mean((0, 2, 3)))
    return network


@cache
def tiny_weights() -> bytes:
    """The network's weights as a safetensors file."""
    weights: bytes = safetensors.torch.save(dict(tiny_network().state_dict()))
    return weights


@cache
def tiny_model(mode: str, pd_factor: int = 1, local_mean_skip: bool = True) -> bytes:
    """The network's graph as an ONNX file."""
    from nsp_export.onnx_file import onnx_bytes  # takes longer to import than PyTorch, and trainings need none of it

    graph = ImageToImage(tiny_network(local_mean_skip=local_mean_skip), mode=mode, pd_factor=pd_factor)
    return onnx_bytes(graph, {"profile": "tiny", "sha256": sha256(tiny_weights()).hexdigest()})


def tiny_profile_files(**changes: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields and files for `write_profile`; `changes` replace fields."""
    files = {file: tiny_model(mode) for mode, file in MODEL_FILES.items()}
    files[WEIGHTS_FILE] = tiny_weights()
    files[CARD_FILE] = b"# tiny\n"
    return {**tiny_fields(), **changes}, files


def tiny_fields() -> dict[str, Any]:
    """What the profile says of itself."""
    network = tiny_network()
    return {
        "name": "tiny",
        "camera_make": "Maker",
        "camera_model": "Maker One",
        "iso_min": 800,
        "iso_max": 1600,
        "pairs": {"s": 5, "t": 2, "n": 1, "strategy": "consecutive"},
        "inference": {"pd_factor": 1},
        "backbone": BackboneSpec.of("dbsn", SIZES, network).model_dump(),
        "training": {"settings": {}, "steps": 0, "seconds": 0.0, "version": "0"},
        "scores": {"held_out_photos": 0},
        "data": {"origin": "nothing", "licence": "any", "photos": 0},
    }


def torch_result(
    image: NDArray[np.float32], mode: str, pd_factor: int = 1, local_mean_skip: bool = True
) -> NDArray[np.float32]:
    """What the network makes of an image (1, 3, H, W), step by step: PD on arrays, network, mean or PU."""

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return tiny_network(local_mean_skip=local_mean_skip)(torch.from_numpy(images)).numpy()

    if mode == "sr-direct":
        return run(image)
    if mode == "sr":
        return pixel_shuffle_up(run(pixel_shuffle_down(image[0], 2)), 2)[None]
    if pd_factor == 2:
        return np.asarray(run(pixel_shuffle_down(image[0], 2)).mean(0, keepdims=True))
    # Without PD the mean is over each 2×2 cell of the output.
    return np.asarray(pixel_shuffle_down(run(image)[0], 2).mean(0, keepdims=True))
