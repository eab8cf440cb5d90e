"""Locks on bytes of a file, which the system frees when a process dies."""

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int, start: int, length: int) -> bool:
        """Lock bytes of an open file; False where another process holds some. Raises OSError on disks without locks."""
        os.lseek(descriptor, start, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, length)
        except OSError:
            return False
        return True

    def unlock(descriptor: int, start: int, length: int) -> None:
        """Let go of bytes that `try_lock` locked."""
        os.lseek(descriptor, start, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, length)

else:
    import fcntl

    def try_lock(descriptor: int, start: int, length: int) -> bool:
        """Lock bytes of an open file; False where another process holds some. Raises OSError on disks without locks."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        return True

    def unlock(descriptor: int, start: int, length: int) -> None:
        """Let go of bytes that `try_lock` locked."""
        fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)
