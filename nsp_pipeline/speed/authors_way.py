"""Inference as the paper's authors run it: eager PyTorch, float32, default layout. The line the engines are held to."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn.functional import pad, pixel_unshuffle

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE, Profile

Pixels = NDArray[Any]


def authors_way(profile: Profile, device: str) -> Callable[[Pixels], Pixels]:
    """Return a function that denoises pixels (H, W, 3) as the authors do (NSP paper, Sec. 3.4).

    PD by t whatever the profile says, the network on the t² sub-images, and their mean; the whole photo at once, masks
    multiplied in anew every time, no blend. A network that is not blind has no PD, and sees the photo as it is.

    Args:
        device: "cpu" or "cuda", as PyTorch names it.
    """
    backbone = profile.spec.backbone
    network = load_backbone(backbone.name, backbone.sizes, profile.read(WEIGHTS_FILE)).to(device)
    factor = network.scale if network.blind else 1

    @torch.inference_mode()
    def denoise(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        image = torch.from_numpy(to_unit(pixels)).to(device).permute(2, 0, 1)[None]
        step = factor * network.multiple
        image = pad(image, (0, -width % step, 0, -height % step), mode="reflect")
        estimate = _mean_of_sub_images(network, image, factor) if network.blind else network.cell_means(image)
        return from_unit(estimate[0, :, :height, :width].permute(1, 2, 0).cpu().numpy(), pixels.dtype)

    return denoise


def _mean_of_sub_images(network: Backbone, image: torch.Tensor, factor: int) -> torch.Tensor:
    """(1, 3, H, W) -> PD -> (t², 3, H/t, W/t) -> network -> (t², 3, H, W) -> (1, 3, H, W)."""
    phases = pixel_unshuffle(image, factor)[0]
    sub_images = phases.reshape(3, factor * factor, *phases.shape[1:]).transpose(0, 1)
    return network(sub_images).mean(0, keepdim=True)
