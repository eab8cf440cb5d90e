"""A network applied to photos the way a profile will be: with PD, without, or both."""

import torch

from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.inference import Denoiser
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.spec import InferenceSpec


def denoiser(network: Backbone, inference: InferenceSpec) -> Denoiser:
    """Return the network as the profile will run it."""
    return Denoiser(network, **inference.model_dump())


@torch.inference_mode()
def denoised(network: Backbone, image: torch.Tensor, inference: InferenceSpec) -> torch.Tensor:
    """Denoise one image on the network's device.

    Args:
        image: (1, 3, H, W) in 0..1; H and W multiples of the PD factor times the network's own.

    Returns:
        (1, 3, H, W) float32 on the CPU.
    """
    device = next(network.parameters()).device
    noise: tuple[torch.Tensor, ...] = ()
    if network.noise_conditioned:
        noise = (torch.from_numpy(estimate_noise(image[0].permute(1, 2, 0).cpu().numpy()).as_told.table).to(device),)
    estimate: torch.Tensor = denoiser(network, inference).to(device)(image.to(device), *noise)
    return estimate.float().cpu()
