"""One run at a time on an OUTPUT, or several shards side by side: bytes of one lock file."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nsp_pipeline.atomic_file import HINTS
from nsp_pipeline.batch.job import MOST_SHARDS, Shard
from nsp_pipeline.batch.output.place import record_folder
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_lock import try_lock, unlock
from nsp_pipeline.file_names import printable

LOCK_FILE = "lock"


class OutputLock:
    """A hold on OUTPUT: the whole of it, or one shard (byte `index` of the lock file)."""

    def __init__(self, descriptor: int, shard: Shard | None) -> None:
        self._descriptor = descriptor
        self.shard = shard

    def is_alive(self, index: int) -> bool:
        """Whether another run holds shard `index` (0: a run over everything)."""
        if self.shard is None or self.shard.index == index:
            return False
        if not _try_lock(self._descriptor, index, 1):
            return True
        unlock(self._descriptor, index, 1)
        return False


@contextmanager
def locked_output(root: Path, shard: Shard | None) -> Iterator[OutputLock]:
    """Hold OUTPUT for as long as the context lasts; makes the record folder.

    Raises OutputError when another run works there, or the folder cannot be made.
    """
    path = record_folder(root) / LOCK_FILE
    start, length = (shard.index, 1) if shard else (0, MOST_SHARDS + 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        hint = f"; {HINTS[error.errno]}" if error.errno in HINTS else ""
        raise OutputError(f"{printable(path)}: cannot be made: {error.strerror or error}{hint}") from error
    try:
        if not _try_lock(descriptor, start, length):
            raise OutputError(
                f"{printable(root)}: another nsp is writing there now; wait for it, stop it, or choose another OUTPUT"
            )
        yield OutputLock(descriptor, shard)
    finally:
        os.close(descriptor)


def is_running(root: Path) -> bool | None:
    """Whether a run works on OUTPUT at this moment; None where that cannot be known without writing."""
    path = record_folder(root) / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return not _try_lock(descriptor, 0, MOST_SHARDS + 1)
    finally:
        os.close(descriptor)


def running_shards(root: Path, indices: Iterable[int]) -> list[int]:
    """Those of these shards (0: a run over everything) that work on OUTPUT now; raises OutputError."""
    path = record_folder(root) / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return []
    try:
        return [index for index in indices if not _try_lock(descriptor, index, 1)]
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, start: int, length: int) -> bool:
    try:
        return try_lock(descriptor, start, length)
    except OSError as error:
        raise OutputError(
            f"the disk of OUTPUT knows no locks ({error.strerror}), which keep two runs apart; choose another disk"
        ) from error
