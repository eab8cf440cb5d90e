"""What every inference back end offers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import EngineOutOfMemoryError

NOISE_INPUT = "noise"
"""Name of the graph's second input, where it has one; it has a default, so that other programs may leave it out."""

NO_MEMORY = (
    "out of memory",  # CUDA's runtime, PyTorch, TensorRT
    "out_of_memory",  # CUDA's driver
    "cudaerrormemoryallocation",
    "alloc_failed",  # cuDNN, cuBLAS
    "bad allocation",  # C++ on Windows, and what ONNX Runtime makes of it
    "bad_alloc",
    "failed to allocate",
    "is smaller than requested bytes",  # ONNX Runtime's arena at its limit
    "can't allocate memory",  # PyTorch on the CPU
    "cannot allocate memory",
    "could not create a memory object",  # oneDNN
)
"""What engines say, in lower case, when memory has run out: few have an exception of their own for it."""


@dataclass(frozen=True)
class Shortage:
    """Memory has run out on an engine: tiles are small for some photos, and then large ones are tried again."""

    side: int
    """Of the largest tile that has found memory."""
    photos: int
    """From a photo that had too little memory to the one that tries again."""
    left: int
    """How many of them are still to come; 0: large tiles are tried, or have found memory."""


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
    most: int | None = None
    """The largest side of an image that it takes; None: any."""
    room: int | None = None
    """Pixels of an image that this machine's memory holds at once, by a careful guess; None: it is not known."""
    shortage: Shortage | None = None
    """What is remembered of memory that ran out here; None: it never has."""
    blind: bool = True
    """Whether the network cannot see the pixel that it estimates."""
    in_turn: bool = False
    """Whether the copies of a self-ensemble are computed one after the other; in older graphs, all at once."""
    noise_conditioned: bool = False
    """Whether it takes a table of the photo's noise (see core/noise.py) as a second input."""
    shared: bool = False
    """Whether several threads may call `run` together; each waits for its turn, and copies overlap with computing."""
    integers: bool = False
    """Whether `run` also takes uint8 and uint16 as a photo stores them, and makes 0..1 of them on the device."""
    fallback: str = ""
    """Why a faster engine or precision was not taken, if one was tried."""
    chosen: str = ""
    """Why "auto" took this one, where there was a choice."""


class Engine(Protocol):
    """A network that is ready to run."""

    info: EngineInfo

    def run(self, image: NDArray[Any], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Run one image.

        Args:
            image: (1, 3, H, W) float32 in 0..1, sides multiples of `info.multiple`; see also `info.integers`.
            noise: the photo's noise table (see core/noise.py), for noise-conditioned networks; None: unknown.

        Returns:
            (1, 3, scale·H, scale·W) float32.

        Raises:
            EngineOutOfMemoryError: the device's memory does not hold an image of this size.
        """
        ...

    def close(self) -> None:
        """Give back memory and device."""
        ...


def is_out_of_memory(error: BaseException) -> bool:
    """Whether what a back end raised means that memory has run out."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in NO_MEMORY)


@contextmanager
def memory_watched(where: str) -> Iterator[None]:
    """Turn whatever a back end raises when memory runs out on `where` into EngineOutOfMemoryError."""
    try:
        yield
    except EngineOutOfMemoryError:
        raise
    except Exception as error:  # back ends raise bare classes of their own
        if not is_out_of_memory(error):
            raise
        said = "" if isinstance(error, MemoryError) else f": {str(error).strip().splitlines()[0]}"
        raise EngineOutOfMemoryError(f"out of memory on {where}{said}") from error
