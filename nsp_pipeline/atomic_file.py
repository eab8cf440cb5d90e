"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PART_SUFFIX = ".nsp-part"


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file under another name, flush it to the disk, and rename it; replaces what has the name.

    Raises OSError where that cannot be done; what had the name before is untouched then.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def flush_folder(folder: Path) -> None:
    """Make a rename in a folder last through a power cut, where the system offers that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network disks cannot flush a folder; the file itself is flushed all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
