"""A network applied to photos the way a profile will be: with PD or without."""

import torch
from torch.nn.functional import pad, pixel_unshuffle

from nsp_pipeline.core.noise import measure_noise
from nsp_pipeline.models.backbone import Backbone


@torch.inference_mode()
def denoised(network: Backbone, image: torch.Tensor, pd_factor: int, shift: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Denoise one image on the network's device.

    Args:
        image: (1, 3, H, W) in 0..1; H and W multiples of pd_factor times the network's own.
        pd_factor: 1 shows the network the whole image; t takes the mean over the t² sub-images' estimates.
        shift: rows and columns, less than pd_factor, by which the PD grid is moved.

    Returns:
        (1, 3, H, W) float32 on the CPU.
    """
    device = next(network.parameters()).device
    told = (
        (torch.from_numpy(measure_noise(image[0].permute(1, 2, 0).cpu().numpy()).table),) if network.told_noise else ()
    )
    image = image.to(device)
    if pd_factor == 1:
        return network.cell_means(image, *(table.to(device) for table in told)).float().cpu()
    height, width = image.shape[2:]
    down, right = shift
    if shift != (0, 0):
        wide = pd_factor * network.multiple
        image = pad(image, (right, wide - right, down, wide - down), mode="reflect")
    phases = pixel_unshuffle(image.transpose(0, 1), pd_factor).transpose(0, 1)
    estimate = network(phases.contiguous()).float().mean(0, keepdim=True)
    return estimate[..., down : down + height, right : right + width].cpu()
