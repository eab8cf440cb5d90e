"""Pictures as other programs hold them, and the frames that this one denoises."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata

BRIGHTEST = 2.0
"""Floats beyond this are no noise around white: they count to 255 or 65535."""


def frame_of(image: NDArray[Any]) -> Frame:
    """A picture as a frame: what its fourth channel holds becomes alpha, and floats become float32.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8, uint16, or floats in 0..1.

    Raises:
        TypeError: no array, or numbers of another type.
        ValueError: another shape, nothing in it, or floats that are none or not in 0..1.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is a {type(image).__name__}; it must be a numpy array")
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != "f":
        raise TypeError(f"the image is of {image.dtype}; it must be of uint8, uint16, or floats in 0..1")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or 0 in image.shape:
        raise ValueError(
            f"the image is of shape {image.shape}; it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): "
            "channels come last"
        )
    if image.dtype.kind == "f":
        _require_unit(image)
        image = image.astype(np.float32)
    pixels = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
    alpha = image[:, :, 3] if image.ndim == 3 and image.shape[2] == 4 else None
    return Frame(pixels, alpha, Kind.PNG, Metadata(), Camera())


def image_of(frame: Frame, like: NDArray[Any]) -> NDArray[Any]:
    """A frame as a picture of the type and the dimensions of the one that it came from."""
    pixels = frame.pixels.astype(like.dtype, copy=False)
    if frame.alpha is not None:
        # At its own size it is what was given, of which float32 would be a copy only nearly the same.
        alpha = like[:, :, 3] if frame.alpha.shape == like.shape[:2] else frame.alpha.astype(like.dtype, copy=False)
        pixels = np.dstack([pixels, alpha])
    return pixels[:, :, 0] if like.ndim == 2 else pixels


def _require_unit(image: NDArray[Any]) -> None:
    if not np.isfinite(image).all():
        raise ValueError("the image holds values that are not numbers")
    if image.max() > BRIGHTEST or image.min() < 1 - BRIGHTEST:
        raise ValueError(
            f"the image holds floats from {image.min():.4g} to {image.max():.4g}; they must be in 0..1: "
            "divide by what white is"
        )
