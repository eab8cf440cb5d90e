"""The interface of a backbone: the network, and what callers must know to run it."""

from typing import Literal, Self

import torch
from torch import nn
from torch.nn.functional import avg_pool2d


class Backbone(nn.Module):
    """(B, 3, H, W) in 0..1 -> (B, 3, scale·H, scale·W)."""

    scale: int
    """t: the output is this many times larger."""
    blind: bool = True
    """Whether it is kept from seeing the pixel that it estimates; one that sees it needs no PD, in any mode."""
    halo: int
    """An output cell depends on input pixels at most this far from its own; for blended tiles, how far they overlap."""
    noise_conditioned: bool = False
    """Whether it takes a table of the photo's noise (see core/noise.py) as well, and does better with it."""
    widens: bool = False
    """Whether it may start from a narrower one (see widening.py): no layer reads parts joined along the channels."""
    multiple: int = 1
    """Input sides must be multiples of this."""
    tiling: Literal["exact", "blended", "none"] = "exact"
    """Whether tiles with a halo give what the whole image gives, or must be blended into each other."""
    tile: int | None = None
    """Input side near which it must be run, where tiles are blended; None: any."""

    def folded(self) -> Self:
        """Return a copy for inference, whatever only training needs multiplied in; same outputs."""
        raise NotImplementedError

    def cell_means(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """Mean of each scale×scale cell of the output: (B, 3, H, W) in and out."""
        return avg_pool2d(self(image, *noise), self.scale)

    def __call__(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """Run the network: (B, 3, H, W) in 0..1, and its noise table if it takes one."""
        return super().__call__(image, *noise)  # type: ignore[no-any-return]
