"""The folder beside a profile in which its training keeps its log, pictures, checkpoint and cached photos."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nsp_pipeline.atomic_file import remove
from nsp_pipeline.calibration.training.ranks import ALONE, Ranks
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.file_lock import try_lock
from nsp_pipeline.profiles.choose import TRAINING_SUFFIX

TEACHER_FILE, TEACHER_FOLDER = "teacher.nsp", "teacher"
"""Where a training that ends in a student keeps its teacher, and the log and checkpoint of that one's training."""

READ_FILE = "photos-read"
"""How many photos a training has that had no time to read all of them."""

CACHE = "cache-"
LOCK_FILE = "in-use"
"""Locked by the training whose cache it lies in: the system lets go of it when that dies."""

ABANDONED_SECONDS = 86400.0
"""A cache without a lock is of a training that begins just now, or of an older nsp that is long dead."""


@contextmanager
def training_folder(
    out: Path, *, resume: bool, ranks: Ranks = ALONE, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Path]:
    """Make the folder; the cached photos go when training has ended, however it ends.

    The checkpoint goes when it has come to its own end. Where somebody `stopped` it, it stays: what was learnt may be
    wanted again, and more so where it was not accepted yet.

    Photos that killed trainings left cached beside `out`, 32 GB each at worst, go at once.

    Raises:
        UsageError: there is a training that was cut off, and `resume` is False; there is none, and it is True; or one
            that still runs.
        OutputError: it cannot be made.
    """
    from nsp_pipeline.calibration.training.log import clear_log

    folder = folder_of(out)
    cache = cache_of(folder)
    first = ranks.first
    with ranks.first_enters():
        lock = _entered(folder, cache, out, resume=resume, first=first)
    try:
        if first and not resume:
            clear_log(folder)
            clear_log(folder / TEACHER_FOLDER)
        try:
            yield folder
        finally:
            shutil.rmtree(cache, ignore_errors=True)
            with suppress(OSError):
                folder.rmdir()  # which only an empty one allows
    finally:
        os.close(lock)
        remove(cache / LOCK_FILE)  # where the system lets nobody delete what is open
    if first and not stopped():
        forget_checkpoint(folder)
        remove(folder / READ_FILE)


def _entered(folder: Path, cache: Path, out: Path, *, resume: bool, first: bool) -> int:
    """Make the folder and the cache, and lock that, which the descriptor returned does; see `training_folder`.

    The first of several processes looks after what others left.
    """
    try:
        if first and resume != has_checkpoint(out):
            # To delete the folder is no advice while somebody trains in it.
            at_work = cache.is_dir() and not _is_dead(cache)
            raise UsageError(
                _at_work(folder) if at_work else _nothing_to_resume(folder) if resume else _cut_off(folder)
            )
        folder.mkdir(parents=True, exist_ok=True)
        if first:
            _remove_dead_caches(folder)
        cache.mkdir(exist_ok=True)
        lock = os.open(cache / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    if not _locked(lock):
        os.close(lock)
        raise UsageError(_at_work(folder))
    return lock


def _at_work(folder: Path) -> str:
    return f"{folder}: another training is at work there; wait for it, or name another --out"


def _cut_off(folder: Path) -> str:
    return f"{folder} holds a training that was cut off: --resume goes on with it; to start again, delete it"


def _nothing_to_resume(folder: Path) -> str:
    return (
        f"{folder}: there is no training to resume: none was begun, it had no checkpoint yet, or it came to its end; "
        "leave --resume out to start one"
    )


def has_checkpoint(out: Path) -> bool:
    """Whether a training of this profile, or of its teacher, was cut off, and can be resumed."""
    folder = folder_of(out)
    taught = (folder / TEACHER_FILE).exists() and not out.exists()
    return taught or is_half_trained(folder) or is_half_trained(folder / TEACHER_FOLDER)


def is_half_trained(folder: Path) -> bool:
    """Whether a training was cut off that kept its checkpoint in this very folder."""
    from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE

    return (folder / CHECKPOINT_FILE).exists()


def forget_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a training that has come to its end."""
    from nsp_pipeline.calibration.training.loop import CHECKPOINT_FILE

    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def folder_of(out: Path) -> Path:
    """The folder of the training that makes a profile."""
    return out.with_name(f"{out.name}{TRAINING_SUFFIX}")


def picture_of(out: Path, step: int) -> Path | None:
    """The picture that the training of a profile has left of a step in its folder, if that is still there.

    Of a step without one, the last before it, or the first of all.
    """
    steps = {}
    for path in folder_of(out).glob("held-out-*.png"):
        if (number := path.stem.removeprefix("held-out-")).isdigit():
            steps[int(number)] = path
    return steps[max((one for one in steps if one <= step), default=min(steps))] if steps else None


def cache_of(folder: Path) -> Path:
    """Where this process, of several that train together, keeps photos."""
    return folder / f"{CACHE}{os.environ.get('RANK', '0')}"


def _remove_dead_caches(folder: Path) -> None:
    """Remove what nobody uses any more, in this training's folder and in those beside it."""
    with suppress(OSError):
        for cache in folder.parent.glob(f"*{TRAINING_SUFFIX}/{CACHE}*"):
            if cache.is_dir() and not cache.is_symlink() and _is_dead(cache):
                shutil.rmtree(cache, ignore_errors=True)
                if cache.parent != folder:
                    with suppress(OSError):
                        cache.parent.rmdir()


def _is_dead(cache: Path) -> bool:
    try:
        lock = os.open(cache / LOCK_FILE, os.O_RDWR)
    except OSError:
        return time.time() - cache.stat().st_mtime > ABANDONED_SECONDS
    try:
        return _locked(lock)
    finally:
        os.close(lock)


def _locked(descriptor: int) -> bool:
    """Take a cache's lock; True as well on a disk without locks, where nobody can know better."""
    try:
        return try_lock(descriptor, 0, 1)
    except OSError:
        return True
