"""Numbers drawn for each crop of a batch, on the device that it is on."""

import torch


def between(least: float, most: float, like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Uniform numbers, one a crop: (B, 1, 1, 1)."""
    return least + (most - least) * torch.rand(len(like), 1, 1, 1, generator=rng, device=like.device)


def chosen(share: float, like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """True in a share of the crops: (B, 1, 1, 1)."""
    return between(0, 1, like, rng) < share
