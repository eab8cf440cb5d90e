"""What every inference back end offers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


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
    fallback: str = ""
    """Why a faster engine or precision was not taken, if one was tried."""


class Engine(Protocol):
    """A network that is ready to run."""

    info: EngineInfo

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, 3, H, W) float32 in 0..1, sides multiples of `info.multiple` -> (1, 3, scale·H, scale·W)."""
        ...

    def close(self) -> None:
        """Give back memory and device."""
        ...
