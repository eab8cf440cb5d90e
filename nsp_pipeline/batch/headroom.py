"""How many photos, and how many bytes of them, may be in memory at once."""

import contextlib
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from nsp_pipeline.machine.memory import available_memory

POLL_SECONDS = 0.2
COPIES = {"denoise": 3, "sr": 9, "sr-direct": 9}
"""What a photo takes at its fullest, in times its pixels: as read, as made, and as read back for the check."""


def photo_memory(asked: int | None) -> int | None:
    """Bytes that photos in flight may take: what was asked for, and no more than half of what is free here.

    The other half is for the engine and its tiles. None: no bound.
    """
    free = available_memory()
    bounds = [bound for bound in (asked, None if free is None else free // 2) if bound is not None]
    return min(bounds, default=None)


class Headroom:
    """Admits photos to memory: at most `ahead` that wait for their turn, and `limit` bytes of all in flight.

    A photo larger than the limit is admitted alone.
    """

    def __init__(self, ahead: int, limit: int | None) -> None:
        self._ahead = ahead
        self._limit = limit
        self._waiting = 0
        self._in_flight = 0
        self._changed = threading.Condition()

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


def guess_bytes(path: Path) -> int:
    """What a photo's pixels will take in memory, from its header alone; from its file size where that says nothing."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            samples = 1 if image.mode in ("1", "L") else 3
            return image.width * image.height * samples
    with contextlib.suppress(OSError):
        return 6 * path.stat().st_size
    return 0
