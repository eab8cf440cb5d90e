"""What every inference back end offers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NOISE_INPUT = "noise"
"""Name of the graph's second input, where it has one; it has a default, so that other programs may leave it out."""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is, and what a caller must know to feed it."""

    name: str
    """The back end, such as "onnx"."""
    provider: str
    """What really computes, such as "CPUExecutionProvider"."""
    precision: str
    mode: str
    """"denoise", "sr" or "sr-direct"."""
    scale: int
    """The output is this many times larger than the input; 1 for "denoise"."""
    multiple: int
    """Input sides must be multiples of this."""
    halo: int
    """An output pixel depends on input pixels at most this far away; for blended tiles, how far they overlap."""
    profile: str
    sha256: str
    """Hash of the profile's weights."""
    tiling: str = "exact"
    """"exact": tiles with a halo give what the whole image gives; "blended": tiles must overlap and fade."""
    tile: int | None = None
    """Side of a tile near which the network works best; None: any."""
    blind: bool = True
    """Whether the network cannot see the pixel that it estimates."""
    told_noise: bool = False
    """Whether it does better when it is told how noisy the photo is."""
    fallback: str = ""
    """Why a faster engine or precision was not taken, if one was tried."""


class Engine(Protocol):
    """A network that is ready to run."""

    info: EngineInfo

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Run one image.

        Args:
            image: (1, 3, H, W) float32 in 0..1, sides multiples of `info.multiple`.
            noise: the photo's noise table (see core/noise.py), for networks that are told; None: unknown.

        Returns:
            (1, 3, scale·H, scale·W) float32.
        """
        ...

    def close(self) -> None:
        """Give back memory and device."""
        ...
