"""JPEG's rounding, of many crops at once and wherever they lie: what it does to noise, without a file."""

import math

import torch
from torch.nn.functional import avg_pool2d, interpolate

BLOCK = 8

LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
"""Steps at quality 50, of the standard's annex K."""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def through_jpeg_batch(image: torch.Tensor, quality: torch.Tensor, halved: torch.Tensor) -> torch.Tensor:
    """What is left of pictures that were stored as JPEG and read again: (B, 3, H, W) in 0..1, in and out.

    Args:
        image: H and W multiples of 16.
        quality: (B, 1, 1, 1), 1 to 100, as libjpeg scales its steps.
        halved: (B, 1, 1, 1), whether colour is stored at half the size.
    """
    matrix = torch.tensor(TO_YCC, device=image.device)
    ycc = torch.einsum("kc,bchw->bkhw", matrix, (image.clamp(0, 1) * 255).round()) - _grey(image)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma, chroma = (torch.tensor(steps, device=image.device).float() for steps in (LUMA, CHROMA))
    y = _rounded(ycc[:, :1], scale, luma)
    colour = _rounded(ycc[:, 1:], scale, chroma)
    small = _rounded(avg_pool2d(ycc[:, 1:], 2), scale, chroma)
    enlarged = interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)
    decoded = torch.cat([y, torch.where(halved, enlarged, colour)], 1) + _grey(image)
    rgb = torch.einsum("kc,bchw->bkhw", torch.linalg.inv(matrix.double()).float(), decoded)
    return rgb.round().clamp(0, 255) / 255


def _grey(like: torch.Tensor) -> torch.Tensor:
    """128 for brightness, which a JPEG's numbers are around; colours are around 0 as they are."""
    return torch.tensor((128.0, 0.0, 0.0), device=like.device).view(1, 3, 1, 1)


def _rounded(planes: torch.Tensor, scale: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Round the cosine transform of each block of 8×8 to multiples of its steps: (B, C, H, W) in and out."""
    count, channels, height, width = planes.shape
    blocks = planes.reshape(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    cosines = _cosines(planes)
    steps = (steps * scale.unsqueeze(-1).unsqueeze(-1) + 0.5).floor().clamp(1, 255)
    waves = (cosines @ blocks @ cosines.T / steps).round() * steps
    back: torch.Tensor = cosines.T @ waves @ cosines
    return back.transpose(3, 4).reshape(planes.shape)


def _cosines(like: torch.Tensor) -> torch.Tensor:
    """The orthonormal cosine transform (8, 8)."""
    place = torch.arange(BLOCK, device=like.device, dtype=torch.float32)
    waves = torch.cos(math.pi / BLOCK * (place + 0.5).view(1, -1) * place.view(-1, 1)) * (2 / BLOCK) ** 0.5
    waves[0] /= 2**0.5
    return torch.as_tensor(waves)
