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
    # One after the other: side by side they take so many times the memory, and no less time.
    total = run(image)
    for flip in flips[1:]:
        total = total + run(image.flip(flip)).flip(flip)
    return total / len(flips)
