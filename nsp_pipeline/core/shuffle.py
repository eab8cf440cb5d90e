"""Pixel-shuffle downsampling (PD) and its inverse (PU), on numpy arrays.

PD by t splits an image into its t² phases: sub-image k holds the pixels whose row and column are k // t and k % t
modulo t. Neighbours in a sub-image were t pixels apart, so correlated noise becomes nearly independent.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import UsageError

Scalar = TypeVar("Scalar", bound=np.generic)


def pixel_shuffle_down(image: NDArray[Scalar], t: int) -> NDArray[Scalar]:
    """PD: (..., H, W) -> (t², ..., H/t, W/t), phases in row-major order.

    Raises UsageError unless t ≥ 1 and H and W are multiples of t (`pad_to_multiple` makes them so).
    """
    height, width = image.shape[-2:]
    if t < 1 or height % t or width % t:
        raise UsageError(f"PD by {t} needs sides that are multiples of it, got {height}×{width}")
    lead = image.shape[:-2]
    split = image.reshape(*lead, height // t, t, width // t, t)
    phases = np.moveaxis(split, (-3, -1), (0, 1))
    return np.ascontiguousarray(phases).reshape(t * t, *lead, height // t, width // t)


def pixel_shuffle_up(sub_images: NDArray[Scalar], t: int) -> NDArray[Scalar]:
    """PU, the exact inverse of PD: (t², ..., h, w) -> (..., t·h, t·w).

    Raises UsageError unless the first axis has t² entries.
    """
    if t < 1 or sub_images.ndim < 3 or sub_images.shape[0] != t * t:
        raise UsageError(f"PU by {t} needs (t² = {t * t}, ..., h, w), got {sub_images.shape}")
    lead, (height, width) = sub_images.shape[1:-2], sub_images.shape[-2:]
    split = sub_images.reshape(t, t, *lead, height, width)
    image = np.moveaxis(split, (0, 1), (-3, -1))
    return np.ascontiguousarray(image).reshape(*lead, height * t, width * t)


def pad_to_multiple(image: NDArray[Scalar], multiple: int) -> NDArray[Scalar]:
    """Reflect-pad (..., H, W) at the bottom and right until both sides are multiples; any H, W ≥ 1."""
    height, width = image.shape[-2:]
    rows, cols = reflected_indices(height, multiple), reflected_indices(width, multiple)
    return image[..., rows[:, None], cols[None, :]]


def reflected_indices(size: int, multiple: int) -> NDArray[Any]:
    """Row (or column) numbers that reflect-pad a side of `size` ≥ 1 to the next multiple.

    The reflection leaves the last pixel out, as everywhere in this field (numpy's and torch's "reflect"), and goes
    back and forth as often as a side shorter than the padding needs; a single pixel repeats.
    """
    padded = -(-size // multiple) * multiple
    if size == 1:
        return np.zeros(padded, dtype=np.intp)
    period = 2 * (size - 1)
    place = np.arange(padded) % period
    return np.minimum(place, period - place)
