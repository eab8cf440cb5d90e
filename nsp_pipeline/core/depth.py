"""Between pixels as stored (8 or 16 bit, float) and the 0..1 that networks compute with."""

import numpy as np
from numpy.typing import NDArray


def to_unit(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return stored pixels as float32 in 0..1: uint8, uint16 or float in 0..1 of any shape."""
    if pixels.dtype.kind == "f":
        return np.asarray(pixels, dtype=np.float32)
    return np.asarray(pixels, dtype=np.float32) * np.float32(1.0 / _largest(pixels.dtype))


def from_unit(values: NDArray[np.float32], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """float32 -> stored pixels of a type: clipped to 0..1 and rounded; `to_unit` and back changes nothing."""
    stored = np.empty(values.shape, dtype)
    store_unit(values, stored)
    return stored


def store_unit(values: NDArray[np.float32], place: NDArray[np.generic]) -> None:
    """Put float32 into stored pixels, any part of an array of the same shape, as from_unit makes them."""
    clipped = np.clip(values, 0.0, 1.0)
    if place.dtype.kind != "f":
        clipped *= np.float32(_largest(place.dtype))
        np.rint(clipped, out=clipped)
    place[...] = clipped


def _largest(dtype: np.dtype[np.generic]) -> int:
    return {"uint8": 255, "uint16": 65535}[dtype.name]
