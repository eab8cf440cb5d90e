"""The local means of a photo whose noise networks take for too dark, taken as `nsp denoise` does (core/blend.py)."""

import torch
from torch.nn.functional import avg_pool2d

from nsp_pipeline.core.blend import MEAN_RADIUS


def with_own_means(noisy: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """An estimate with the local means of what it is of; (B, C, H, W) each, which look MEAN_RADIUS far."""
    missing, side = noisy - estimate, 2 * MEAN_RADIUS + 1
    # One axis at a time is far less work; at borders over the part that exists.
    across = avg_pool2d(missing, (1, side), stride=1, padding=(0, MEAN_RADIUS), count_include_pad=False)
    return estimate + avg_pool2d(across, (side, 1), stride=1, padding=(MEAN_RADIUS, 0), count_include_pad=False)
