"""Making a file appear complete or not at all: temporary name, flush, check, record, rename, record."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from nsp_pipeline.atomic_file import flush_folder, process_is_alive, remove
from nsp_pipeline.batch.job import Job, Shard
from nsp_pipeline.batch.output.lock import OutputLock
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.mark import Mark, seal, with_room
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.output.sidecars import bring_sidecars
from nsp_pipeline.batch.output.up_to_date import NOT_OURS, hash_file, marked_output, our_output
from nsp_pipeline.batch.output.up_to_date import stamp as stamp_of
from nsp_pipeline.batch.provenance import joined
from nsp_pipeline.errors import OutputError, PhotoError
from nsp_pipeline.file_names import from_printable, printable
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.write import verify_written, write_frame

PARTIAL = re.compile(r"\.nsp-part-(?P<owner>[0-9a-f]{8})-(?P<shard>\d+)-(?P<pid>\d+)-[0-9a-f]{16}")
"""Our temporary names: whose OUTPUT, which shard (0: all), which process, and a hash of the name to come."""

ABOUT_ONE_FILE = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
"""What a disk answers to a name it does not take: that photo's trouble, not the run's."""


class NotOursError(PhotoError):
    """A file that this program did not write stands where the photo would go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, NOT_OURS)


class Stopped(Exception):  # noqa: N818  (not an error: the run was asked to end)
    """The run was interrupted before the photo was published; nothing of it is left."""


@dataclass(frozen=True)
class Encoding:
    """How photos are stored; None keeps the source's."""

    bit_depth: int | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Owner:
    """Whose temporary files are: the manifest's identity, and the shard's number (0: a run over everything)."""

    identity: str
    shard: int


@dataclass(frozen=True)
class Written:
    """A whole, checked file under a temporary name."""

    partial: Path
    size: int
    mtime_ns: int
    sha256: str
    lost: str = ""
    """What it does not hold of the photo's metadata, as Provenance has it."""


@dataclass(frozen=True)
class Publisher:
    """Puts photos in their places, one at a time."""

    manifest: Manifest
    lock: OutputLock
    encoding: Encoding
    overwrite: bool
    """Whether files that are not ours may be replaced."""
    stopping: Callable[[], bool]

    def publish(self, job: Job, frame: Frame, row: Row, early: "Early | None" = None) -> Row:
        """Write a photo, unless `early` has; returns its record, completed.

        Raises:
            PhotoError: this photo cannot be stored as asked, or did not read back as it was written.
            NotOursError: somebody else's file has its name by now.
            OutputError: the disk cannot be written; nothing else will do better.
            Stopped: the run is ending.
        """
        return self.place(write_partial(self.partial_path(job), job, frame, row, self.encoding, early), job, row)

    def place(self, written: Written, job: Job, row: Row) -> Row:
        """Give a written file its name; returns and raises as publish does."""
        with explained(written.partial, job):
            if self.stopping():
                raise Stopped
            self.bring_sidecars(job)
            return self._rename(written, job, row)

    def bring_sidecars(self, job: Job) -> None:
        """Let the sidecars of a photo go along; none takes the place of another file. Raises OutputError."""
        bring_sidecars(job)

    def partial_path(self, job: Job) -> Path:
        """The temporary name: in the same folder, short whatever the photo's own name is."""
        return partial_path(job, self.owner)

    @property
    def owner(self) -> Owner:
        """Whose its temporary files are."""
        return Owner(self.manifest.identity, self.lock.shard.index if self.lock.shard else 0)

    def _is_ours(self, job: Job, row: Row) -> bool:
        recorded = our_output(job.output, self.manifest.find(job.key))
        return recorded is not None or marked_output(job.output, row.input_sha256) is not None

    def _rename(self, written: Written, job: Job, row: Row) -> Row:
        row = replace(
            row,
            status=Status.DONE,
            output_size=written.size,
            output_mtime_ns=written.mtime_ns,
            output_sha256=written.sha256,
            made=replace(row.made, lost=written.lost),
        )
        if not self.overwrite and os.path.lexists(job.output) and not self._is_ours(job, row):
            raise NotOursError(job.input)
        self.manifest.publishing(row)
        try:
            os.replace(written.partial, job.output)  # noqa: PTH105
        except OSError:
            self.manifest.forget_publishing(job.key)
            raise
        flush_folder(job.output.parent)
        row = replace(row, output_mtime_ns=job.output.stat().st_mtime_ns)
        self.manifest.published(row)
        return row


class Early(Protocol):
    """A file that is being written while its photo is made (see early.py)."""

    def is_of(self, frame: Frame, mark: Mark) -> bool:
        """Whether it holds this very frame, and says this of it."""
        ...

    def finish(self) -> None:
        """Wait until it is on the disk; raises what writing raised."""

    def abandon(self) -> None:
        """Leave nothing of it."""


def partial_path(job: Job, owner: Owner) -> Path:
    """The temporary name of a photo in this process."""
    digest = sha256(job.key.encode()).hexdigest()[:16]
    return job.output.with_name(f".nsp-part-{owner.identity}-{owner.shard}-{os.getpid()}-{digest}")


def write_partial(
    partial: Path, job: Job, frame: Frame, row: Row, encoding: Encoding, early: "Early | None" = None
) -> Written:
    """Write a photo under a temporary name, flush it to the disk, open it again and check it.

    `early` is writing it there already.

    Raises PhotoError and OutputError as Publisher.publish does; nothing is left then.
    """
    with explained(partial, job):
        if early and early.is_of(frame, mark_of(row)):
            early.finish()
        else:
            if early:
                early.abandon()
            write_file(partial, job, frame, mark_of(row), encoding)
        lost = _check(partial, job, frame, encoding)
        keep_times_and_permissions(partial, job.input, row.input_mtime_ns)
        written = partial.stat()
        return Written(partial, written.st_size, written.st_mtime_ns, hash_file(partial), joined(lost))


def write_file(partial: Path, job: Job, frame: Frame, mark: Mark, encoding: Encoding) -> None:
    """Write a photo under a temporary name and flush it to the disk; makes its folder."""
    job.output.parent.mkdir(parents=True, exist_ok=True)
    # Until it has the permissions of its original, nobody else may look.
    with open(partial, "x+b", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        kept = with_room(frame, mark)
        write_frame(kept, file, kind=job.kind, bit_depth=encoding.bit_depth, quality=encoding.quality)
        seal(file, mark)
        file.flush()
        os.fsync(file.fileno())


def _check(partial: Path, job: Job, frame: Frame, encoding: Encoding) -> tuple[str, ...]:
    """Read a photo that was written; what it does not hold of the original's metadata."""
    try:
        return verify_written(partial, frame, kind=job.kind, bit_depth=encoding.bit_depth, quality=encoding.quality)
    except OutputError as error:
        # One photo that does not survive its own format must not end the night's work on all others.
        reason = str(error).replace(str(partial), printable(job.output))
        raise PhotoError(job.input, f"what was written does not read back: {reason}") from error


@contextmanager
def explained(partial: Path, job: Job) -> Iterator[None]:
    """Leave no file behind when something fails, and say what that means for photo or run."""
    try:
        yield
    except OSError as error:
        remove(partial)
        # An encoder's own complaint has no number.
        if error.errno is None or error.errno in ABOUT_ONE_FILE:
            raise PhotoError(job.input, f"its output cannot be written: {error.strerror or error}") from error
        raise OutputError(_cannot_write(job.output, error)) from error
    except BaseException:
        remove(partial)
        raise


def mark_of(row: Row) -> Mark:
    """What an output says of itself."""
    words = (row.version, row.input_sha256, row.settings, row.profile, row.profile_sha256, row.made.precision)
    return Mark(*(word or "" for word in words))


def keep_times_and_permissions(path: Path, original: Path, mtime_ns: int | None) -> None:
    """Give a file its original's times, and who may read, write and run it; nothing that lends rights (setuid).

    Args:
        mtime_ns: when the original had been changed last when it was read.
    """
    try:
        status = original.stat()
    except OSError:
        # The original went away meanwhile; nobody else sees the output until somebody says so.
        return
    changed = status.st_mtime_ns if mtime_ns is None else mtime_ns
    # Disks of cameras and some network disks know no permissions, or keep them to themselves.
    with suppress(OSError):
        if os.name != "nt":
            path.chmod(stat.S_IMODE(status.st_mode) & 0o777)
    with suppress(OSError):
        os.utime(path, ns=(status.st_atime_ns, changed))


def recover(manifest: Manifest, root: Path, shard: Shard | None) -> None:
    """Settle what a killed run was about to publish: recognise its files by their hash, forget the others."""
    for row in manifest.unpublished():
        if shard and not shard.takes(row.output):
            continue
        output = root / from_printable(row.output)
        present = stamp_of(output)
        with suppress(OSError):
            if present and present.size == row.output_size and hash_file(output) == row.output_sha256:
                manifest.published(replace(row, output_mtime_ns=present.mtime_ns))
                continue
        manifest.forget_publishing(row.output)


def remove_strays(folders: Iterable[Path], manifest: Manifest, lock: OutputLock) -> int:
    """Remove temporary files of dead runs; returns how many.

    Those of this OUTPUT are dead unless another shard is alive; those of other OUTPUTs when their process is.
    """
    removed = 0
    for folder in set(folders):
        try:
            names = [entry.name for entry in os.scandir(folder)]
        except OSError:
            continue
        for name in names:
            match = PARTIAL.fullmatch(name)
            if match is None:
                continue
            ours = match["owner"] == manifest.identity
            if not (lock.is_alive(int(match["shard"])) if ours else process_is_alive(int(match["pid"]))):
                remove(folder / name)
                removed += 1
    return removed


def _cannot_write(path: Path, error: OSError) -> str:
    hints = {
        errno.ENOSPC: "free some space and run the same command again; it continues where it stopped",
        errno.EDQUOT: "your quota is used up; free some space and run the same command again",
        errno.EFBIG: "files of that size are not allowed there",
        errno.EACCES: "you may not write there; change the folder's permissions or choose another OUTPUT",
        errno.EROFS: "that disk is read-only; choose another OUTPUT",
    }
    text = f"{printable(path)}: cannot be written: {error.strerror or error}"
    hint = hints.get(error.errno or 0)
    return f"{text}; {hint}" if hint else text
