"""Self-ensemble: the mean of a network's estimates of an image and of its rotated and mirrored copies.

A network's errors differ from copy to copy, so the error of the mean is smaller.
"""

from collections.abc import Callable

import torch

COPIES = (1, 2, 4, 8)

FLIPS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((), (2, 3)),
    4: ((), (2,), (3,), (2, 3)),
}
"""Dimensions that each copy is mirrored in; both together are half a turn. Eight are four and their transposes."""


def self_ensemble_mean(run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, copies: int) -> torch.Tensor:
    """Return the mean of what `run` makes of an image's rotated and mirrored copies, each brought back first.

    Args:
        run: (B, 3, H, W) -> (B, 3, t·H, t·W), each image by itself; takes H and W exchanged as well.
        image: (B, 3, H, W).
        copies: how many, one of COPIES; 1 is the image alone.

    Returns:
        (B, 3, t·H, t·W).
    """
    if copies == 1:
        return run(image)
    if copies < max(COPIES):
        return _mean_over_flips(run, image, FLIPS[copies])
    upright = _mean_over_flips(run, image, FLIPS[4])
    lying = _mean_over_flips(run, image.transpose(2, 3), FLIPS[4])
    return (upright + lying.transpose(2, 3)) / 2


def _mean_over_flips(
    run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, flips: tuple[tuple[int, ...], ...]
) -> torch.Tensor:
    estimates = run(torch.cat([image.flip(flip) for flip in flips]))
    estimates = estimates.reshape(len(flips), -1, *estimates.shape[1:])
    back = [estimates[place].flip(flip) for place, flip in enumerate(flips)]
    return torch.stack(back).sum(0) / len(flips)
