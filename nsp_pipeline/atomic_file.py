"""Files and folders that appear whole or not at all: temporary name, flush, check, rename."""

import errno
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from nsp_pipeline.errors import OutputError

PART_SUFFIX = ".nsp-part"

LONGEST_STEM = 40
"""Letters of a target's name that its temporary name shows; with four bytes each, and the rest, no disk's limit."""

ABANDONED_SECONDS = 86400.0
"""What a process on another machine left untouched for so long has no owner any more."""

HINTS = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "your quota is used up; free some space and try again",
    errno.EACCES: "you may not write there; change the folder's permissions or choose another place",
    errno.EROFS: "that disk is read-only; choose another place",
}


@contextmanager
def appearing(
    target: Path,
    what: str = "",
    *,
    replace: bool = True,
    check: Callable[[Path], object] = lambda partial: None,
) -> Iterator[Path]:
    """Give a temporary path beside `target`; the file or folder that is put there takes the target's name in the end.

    In between it is flushed to the disk, file by file, and `check` may look at it once more and raise. Whatever goes
    wrong, a kill included, `target` is as it was before; what killed processes left is removed by the next.

    Args:
        what: of what is written, for the message of an error, such as "the profile".
        replace: whether a file of that name may be replaced. A link's target is replaced, not the link, and what is no
            file (a device, a pipe) is written to as it stands. An empty folder gives way to a folder always.

    Raises:
        OutputError: it cannot be written, or the name is taken and `replace` is False.
    """
    try:
        if replace and target.exists() and not target.is_file() and not target.is_dir():
            yield target
            return
        final = Path(os.path.realpath(target)) if replace else target
        partial = partial_path(final)
        _remove_strays(final)
        try:
            yield partial
            flush(partial)
            check(partial)
            if not replace:
                require_free(final)
            if partial.is_dir() and final.is_dir():
                final.rmdir()
            partial.replace(final)
            flush_folder(final.parent)
        finally:
            # Nothing is left after the rename; after an error, or an interrupt, what there is of it must go.
            remove(partial)
    except OSError as error:
        raise OutputError(cannot_write(target, error, what)) from error


def write_atomically(target: Path, parts: Iterable[bytes], what: str = "") -> None:
    """Write a file from its parts, whole or not at all; replaces what has the name. Raises OutputError."""
    with appearing(target, what) as partial, partial.open("wb") as file:
        file.writelines(parts)


def require_writable(target: Path, what: str = "") -> None:
    """Raise OutputError where a file or folder of a name could not be written, to be asked before hours of work.

    Makes the folder that it goes into; `what` as in `appearing`.
    """
    partial = partial_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        with suppress(FileNotFoundError):
            target.lstat()  # which names that are too long, and the like, do not survive
    except OSError as error:
        raise OutputError(cannot_write(target, error, what)) from error
    finally:
        remove(partial)


def require_free(target: Path) -> None:
    """Raise FileExistsError where a name is taken, by anything but an empty folder."""
    if os.path.lexists(target) and not (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
        raise FileExistsError(errno.EEXIST, "exists already", str(target))


def partial_path(target: Path) -> Path:
    """The temporary name of a target: hidden, in the same folder, this process's own, short whatever the target's."""
    return target.with_name(f"{_stem(target)}.{_host()}-{os.getpid()}{PART_SUFFIX}")


def flush(path: Path) -> None:
    """Put a file, or a folder and all in it, on the disk itself: its name must not stand for half of it."""
    if path.is_dir():
        for entry in path.iterdir():
            flush(entry)
        flush_folder(path)
        return
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


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


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there and can be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def process_is_alive(pid: int) -> bool:
    """Whether a process of this machine, another than this one, still runs; True where that is not known."""
    if pid == os.getpid():
        return False
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def cannot_write(target: Path, error: OSError, what: str = "") -> str:
    """Say what cannot be written, why, and what mends it."""
    if isinstance(error, FileExistsError | NotADirectoryError) and not target.parent.is_dir():
        reason = f"{target.parent} is no folder"
    else:
        reason = error.strerror or str(error)
    text = f"{target}: {what} cannot be written: {reason}" if what else f"{target}: cannot be written: {reason}"
    hint = HINTS.get(error.errno or 0)
    return f"{text}; {hint}" if hint else text


def _stem(target: Path) -> str:
    digest = sha256(os.fsencode(target.name)).hexdigest()[:8]
    return f".{target.name[:LONGEST_STEM]}-{digest}"


def _host() -> str:
    """This machine, as a part of a file's name."""
    return f"{crc32(socket.gethostname().encode()):08x}"


def _remove_strays(target: Path) -> None:
    """Remove what processes that are dead by now left half-written under temporary names of this target."""
    ours = re.compile(rf"{re.escape(_stem(target))}\.(?P<host>[0-9a-f]{{8}})-(?P<pid>\d+){re.escape(PART_SUFFIX)}")
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            match = ours.fullmatch(entry.name)
            if match is None:
                continue
            here = match["host"] == _host()
            if (here and not process_is_alive(int(match["pid"]))) or _untouched(entry) > ABANDONED_SECONDS:
                remove(Path(entry.path))


def _untouched(entry: "os.DirEntry[str]") -> float:
    return time.time() - entry.stat(follow_symlinks=False).st_mtime
