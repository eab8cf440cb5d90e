"""Arrays too large for memory: in files that have no name, looked at in pieces, and let go of after each.

The system writes what is not looked at to the disk, so such an array takes as much memory as the piece in hand.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 64 << 20
"""Bytes of a piece."""

Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]
"""Makes an array of zeros, of a shape and type."""


class _OnDisk(np.memmap[Any, Any]):
    # Knows where it lies; arrays that show part of it have it below them.
    folder: Path
    _mmap: mmap.mmap


def on_disk(folder: Path) -> Allocate:
    """Make arrays on the disk that a folder is on; in memory where that has no room for one."""

    def allocate(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        size = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.truncate(size)
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills up later would kill the process
                array = _OnDisk(file, dtype=dtype, mode="r+", shape=shape)
        except OSError:
            return np.zeros(shape, dtype)
        array.folder = folder
        return array.view(np.ndarray)

    return allocate


def moved(array: NDArray[Any], allocate: Allocate) -> NDArray[Any]:
    """An array where `allocate` makes them: itself, where that is in memory as well."""
    if allocate is np.zeros or _below(array) is not None:
        return array
    target = allocate(array.shape, array.dtype)
    for rows in pieces(target):
        target[rows] = array[rows]
    let_go(target)
    return target


def beside(array: NDArray[Any]) -> Allocate:
    """Make arrays where another one lies: on its disk, or in memory."""
    below = _below(array)
    return np.zeros if below is None else on_disk(below.folder)


def pieces(array: NDArray[Any]) -> Iterator[slice]:
    """Rows of an array, some megabytes at a time; of one on the disk, each piece is let go of when the next comes."""
    rows = max(1, PIECE // max(1, array[:1].nbytes))
    for top in range(0, len(array), rows):
        yield slice(top, top + rows)
        let_go(array)


def let_go(*arrays: NDArray[Any]) -> None:
    """Take no more memory for what was looked at of arrays on the disk; nothing where they are not."""
    for array in arrays:
        below = _below(array)
        if below is not None and hasattr(mmap, "MADV_DONTNEED"):
            below._mmap.madvise(mmap.MADV_DONTNEED)


def _below(array: Any) -> _OnDisk | None:
    while isinstance(array, np.ndarray):
        if isinstance(array, _OnDisk) and hasattr(array, "folder"):
            return array
        array = array.base
    return None
