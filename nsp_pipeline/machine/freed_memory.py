"""Memory that was freed, kept for what asks for some next."""

from contextlib import suppress

import numpy as np

LARGEST = (32 << 20) - (64 << 10)
"""Bytes: hardly less than the largest block that glibc ever learns to keep."""


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for blocks of up to LARGEST bytes, and twice as much in all for a thread.

    glibc at first gives every block of 128 KiB or more back to the system when it is freed, and gets each page of the
    next one anew, cleared: where a photo is blended, that took twice as long as all computing. It stops doing so for
    blocks as large as one that it has seen freed (`man mallopt`, M_MMAP_THRESHOLD), so it is shown one, of which no
    page is touched. Other C libraries go by rules of their own; nothing happens there.
    """
    with suppress(MemoryError):  # where there is no room even for that, nothing is to be kept either
        np.empty(LARGEST, np.uint8)
