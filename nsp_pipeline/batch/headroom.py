"""How many photos, and how many bytes of them, may be in memory at once."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.footprint import Footprint, read_footprint
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.limits import size_text
from nsp_pipeline.machine.disk_array import Allocate, on_disk
from nsp_pipeline.machine.memory import available_memory

POLL_SECONDS = 0.2
SCALES = {"denoise": 1, "sr": 2, "sr-direct": 2}
COPIES_WRITTEN = 3
"""What writing takes at its fullest besides the picture itself: at the depth of the file, encoded, and read back for
the check. Measured: 1.5 (8 and 16 bit TIFF) to 2.8 (half floats). Reading and denoising take less: a picture 2 to 2.7
times in all (RAW 3.3, most of it in LibRaw's process), and 3 times."""
GUESS_PER_BYTE = 12
"""Bytes of pixels for a byte of a file whose header says nothing: compressed RAW has a byte for two pixels or more."""


def photo_memory(asked: int | None) -> int | None:
    """Bytes that photos in flight may take: what was asked for, and no more than half of what is free here.

    The other half is for the engine and its tiles. None: no bound.
    """
    free = available_memory()
    bounds = [bound for bound in (asked, None if free is None else free // 2) if bound is not None]
    return min(bounds, default=None)


class NoRoomError(PhotoError):
    """The photo takes more memory than there is; the system would end the run over it."""


class Headroom:
    """Admits photos to memory: at most `ahead` that wait for their turn, and `limit` bytes of all in flight.

    A photo larger than the limit is admitted alone, and its pixels go to the disk where its kind of file allows it.
    """

    def __init__(self, ahead: int, limit: int | None) -> None:
        self._ahead = ahead
        self._limit = limit
        self._waiting = 0
        self._in_flight = 0
        self._changed = threading.Condition()

    def allocator(self, size: int, folder: Path) -> Allocate:
        """Where the pixels of a photo of `size` bytes go: into memory, or beside a folder where that has no room."""
        return np.zeros if self._limit is None or size <= self._limit else on_disk(folder)

    def require_room(self, path: Path, footprint: Footprint, size: int) -> None:
        """Raise NoRoomError for a photo, admitted alone, whose decoder would take more than there is."""
        if self._limit is None or size <= self._limit:
            return
        free = available_memory()
        if free is not None and footprint.decoding > free:
            raise NoRoomError(
                path,
                f"decoding it takes {size_text(footprint.decoding)} of memory, and {size_text(free)} are free here; "
                "close other programs, or grant nsp more",
            )

    def admit(self, size: int, stopping: Callable[[], bool]) -> bool:
        """Wait until a photo of `size` bytes may be read; False when the run is ending instead."""
        with self._changed:
            while not self._fits(size):
                if stopping():
                    return False
                self._changed.wait(POLL_SECONDS)
            self._waiting += 1
            self._in_flight += size
            return not stopping()

    def resize(self, before: int, after: int) -> None:
        """Correct the size of an admitted photo, now that it is known."""
        with self._changed:
            self._in_flight += after - before
            self._changed.notify_all()

    def begin(self) -> None:
        """An admitted photo's turn has come: another may be read ahead."""
        with self._changed:
            self._waiting -= 1
            self._changed.notify_all()

    def release(self, size: int) -> None:
        """A photo has left memory."""
        with self._changed:
            self._in_flight -= size
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        if self._waiting >= self._ahead:
            return False
        return self._limit is None or self._in_flight == 0 or self._in_flight + size <= self._limit


def bytes_held(footprint: Footprint, mode: str, bit_depth: int | None) -> int:
    """What a photo takes at its fullest, from its reading to the check of what was written of it."""
    deeper = max(1.0, bit_depth / 8 / footprint.itemsize) if bit_depth else 1.0
    return int(SCALES[mode] ** 2 * footprint.size * (1 + COPIES_WRITTEN * deeper))


def guess_footprint(path: Path) -> Footprint:
    """What a photo's pixels will take in memory, from its header; from its file's size where that says nothing."""
    with contextlib.suppress(PhotoError, OSError):
        if foreseen := read_footprint(path):
            return foreseen
    size = 0
    with contextlib.suppress(OSError):
        size = path.stat().st_size
    return Footprint(GUESS_PER_BYTE * size, 1)


def footprint_of(frame: Frame) -> Footprint:
    """What a photo that was read takes."""
    alpha = 0 if frame.alpha is None else frame.alpha.nbytes
    return Footprint(frame.pixels.nbytes + alpha, frame.pixels.itemsize)
