"""Finding photos in files and folders: what every command means by hidden, linked, unreadable and left out.

- A file or folder whose name begins with a dot is hidden, and skipped.
- Folders and files that systems and network disks keep for themselves (see find_rules.SYSTEM_FOLDERS) are skipped.
- What is named outright is taken at its word, whatever it is called; the rules begin below it.
- Links to folders and to files are followed. No folder is entered twice, whatever names and links lead to it: its own
  place wins over a link's, so a link back up the tree leads nowhere.
- Files are known by their suffix; those without any, by how they begin.
- What cannot be entered or looked at, and links that lead nowhere, are named, and the rest is found.
- Globs: see find_rules.FindRules.
"""

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.find_rules import EVERYTHING, FindRules, system_kind
from nsp_pipeline.frames.sniff import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, begins_like_photo

MOST_REASONS = 5
SIDECAR_SUFFIX = ".xmp"
NOT_REGULAR = "not a regular file"

Identity = tuple[int, int]


@dataclass(frozen=True)
class FoundFile:
    """A file that was met: its path, the INPUT that it was met in, and its path below that, with slashes.

    `explicit` says that it was named outright; `relative` is its name then.
    """

    path: Path
    root: Path
    relative: str
    explicit: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A file, folder or link that cannot be looked at, and why."""

    path: Path
    root: Path
    relative: str
    reason: str

    @property
    def error(self) -> PhotoError:
        """The same as an error, for those who count photos that failed."""
        return PhotoError(self.path, self.reason)


@dataclass
class Skipped:
    """What was passed over by its name alone; `system_names` are the kinds of system folders and files met."""

    system_folders: int = 0
    system_files: int = 0
    hidden_folders: int = 0
    hidden_files: int = 0
    system_names: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Findings:
    """All that was found in INPUTs, each photo once."""

    inputs: tuple[Path, ...]
    """The INPUTs, without those that are there already by another spelling."""
    photos: tuple[FoundFile, ...]
    """Files that are called like photos, and those that were named outright."""
    others: tuple[FoundFile, ...]
    """Pictures of formats that are not read."""
    unreadable: tuple[Unreadable, ...]
    ignored: Mapping[str, int]
    """How many files of each suffix are no photos."""
    sidecars: int
    """XMP files that belong to a photo beside them."""
    skipped: Skipped
    not_followed: tuple[str, ...]
    """Of links that lead to what is taken already, or to OUTPUT: which and where to, in words."""
    unwanted: int
    """How many photos `include` and `exclude` left out."""
    empty: tuple[Path, ...]
    """INPUT folders that hold no photo at all, wanted or not."""

    @cached_property
    def paths(self) -> list[Path]:
        """The photos' paths, sorted."""
        return sorted(photo.path for photo in self.photos)

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to do, in words; None if there is a photo, or something that could be one."""
        if self.photos or self.others or self.unreadable:
            return None
        if self.unwanted or not self.empty:
            count = f"; they leave out {self.unwanted}" if self.unwanted else ""
            return f"no photos in {', '.join(map(printable, self.inputs))} that --include and --exclude admit{count}"
        return self.without_photos

    @property
    def without_photos(self) -> str | None:
        """Which INPUTs hold no photo at all, in words; None where each holds some."""
        if not self.empty:
            return None
        ask = "is it the right folder" if len(self.empty) == 1 else "are they the right folders"
        return f"no photos in {', '.join(map(printable, self.empty))}; {ask}, on a disk that is mounted?"

    def require_some(self) -> None:
        """Raise UsageError if there is no photo, or none in one of the INPUTs."""
        if trouble := self.nothing or self.without_photos:
            raise UsageError(trouble)
        if not self.photos:
            reasons = "; ".join(str(entry.error) for entry in self.unreadable[:MOST_REASONS])
            raise UsageError(f"no photos could be found: {reasons or 'none is of a format that nsp reads'}")


def find_photos(inputs: Sequence[Path], rules: FindRules = EVERYTHING, keep_out: Path | None = None) -> Findings:
    """Find the photos in files and folders; the module says by what rules.

    Args:
        inputs: files and folders, in any spelling; what lies in several of them is found once, in the outermost.
        rules: which are wanted.
        keep_out: the folder where a run puts its results: never entered, whatever links lead there.

    Returns:
        What was found, in a stable order. Paths begin with an INPUT as it was given.

    Raises:
        UsageError: an INPUT does not exist.
    """
    for path in inputs:
        require_there(path)
    search = _Search(rules, keep_out, inputs)
    search.walk()
    return search.findings()


def require_there(path: Path) -> None:
    """Raise UsageError for what does not exist, and for what may not even be looked at; a link may lead anywhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{printable(path)}: there is no such file or folder") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{printable(path)}: cannot be looked at: {reason}") from None


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or a link to one; also where looking is not allowed (False then)."""
    return _folder_identity(path) is not None


def place_below(path: Path, folder: Path) -> Path | None:
    """Return the way from a folder to a path in it, links resolved, by whatever spelling; None if it is not in it."""
    real = _real(path)
    identity = _folder_identity(folder)
    if identity is None:
        return None
    for parent in (real, *real.parents):
        if _folder_identity(parent) == identity:
            return real.relative_to(parent)
    return None


@dataclass(frozen=True)
class _Folder:
    """A folder to enter."""

    path: Path
    root: Path
    relative: str
    linked: bool = False


class _Search:
    """One walk through all INPUTs, and what it has met so far."""

    def __init__(self, rules: FindRules, keep_out: Path | None, inputs: Sequence[Path]) -> None:
        self._rules = rules
        self._inputs = _distinct(inputs)
        folders = [path for path in self._inputs if is_folder(path)]
        self._keep_out = _real(keep_out) if keep_out else None
        # An INPUT below OUTPUT is the user's own choice.
        self._let_in = [_real(path) for path in folders if keep_out and place_below(path, keep_out)]
        self._seen: dict[Identity, Path] = {}
        self._photos: list[FoundFile] = []
        self._others: list[FoundFile] = []
        self._unreadable: list[Unreadable] = []
        self._ignored: Counter[str] = Counter()
        self._packets: list[FoundFile] = []
        self._skipped = Skipped()
        self._not_followed: list[str] = []
        self._unwanted = 0
        self._with_photos: set[Path] = set()
        # Folders in one another: the outer one first, so that photos have one place in whatever order they are given.
        self._roots = deque(_Folder(path, path, "") for path in _outer_first(folders))
        self._waiting: deque[_Folder] = deque()
        self._links: deque[_Folder] = deque()
        self._folders = folders

    def walk(self) -> None:
        """Enter every folder once. Links wait until all real folders are done: photos keep their own place."""
        while upcoming := self._waiting or self._roots or self._links:
            folder = upcoming.popleft()
            try:
                if self._is_new(folder):
                    with os.scandir(folder.path) as listing:
                        entries = sorted(listing, key=lambda entry: entry.name)
                    for entry in entries:
                        self._meet(entry, folder)
            except OSError as error:
                reason = f"the folder cannot be read: {error.strerror or error}"
                self._blame(folder.path, folder.root, folder.relative, reason)
        walked = {found.path for found in self._photos}
        for path in self._inputs:
            if path not in self._folders:
                self._take_named(path, walked)

    def findings(self) -> Findings:
        """All of it."""
        sidecars = self._sidecars()
        if strangers := len(self._packets) - sidecars:
            self._ignored[SIDECAR_SUFFIX] = strangers
        return Findings(
            self._inputs,
            tuple(self._photos),
            tuple(self._others),
            tuple(self._unreadable),
            dict(self._ignored),
            sidecars,
            self._skipped,
            tuple(self._not_followed),
            self._unwanted,
            tuple(path for path in self._folders if path not in self._with_photos),
        )

    def _sidecars(self) -> int:
        """How many XMP files belong to a photo beside them: `a.xmp` and `a.jpg.xmp` to `a.jpg`."""
        if not self._packets:
            return 0
        photos = {(photo.root, photo.relative) for photo in self._photos}
        owners = photos | {(root, str(PurePosixPath(relative).with_suffix(""))) for root, relative in photos}
        return sum((packet.root, packet.relative[: -len(SIDECAR_SUFFIX)]) in owners for packet in self._packets)

    def _is_new(self, folder: _Folder) -> bool:
        """Whether a folder is to be entered; raises OSError."""
        status = folder.path.stat()
        identity = status.st_dev, status.st_ino
        if folder.linked and self._is_kept_out(folder.path):
            return False
        if not folder.relative and identity not in self._seen:
            self._seen[identity] = folder.path
            return True
        if self._keep_out and identity == _folder_identity(self._keep_out):
            self._not_followed.append(f"{printable(folder.path)} is OUTPUT: what lies there is no photo to clean")
            return False
        if (before := self._seen.setdefault(identity, folder.path)) is folder.path:
            return True
        self._with_photos.add(folder.root)
        if folder.linked:
            self._not_followed.append(
                f"{printable(folder.path)} leads to {printable(before)}, whose photos are taken there"
            )
        return False

    def _is_kept_out(self, link: Path) -> bool:
        """Whether a link leads into OUTPUT, where results are and no photos."""
        if self._keep_out is None:
            return False
        real = _real(link)
        if self._keep_out not in (real, *real.parents):
            return False
        if any(root in (real, *real.parents) for root in self._let_in):
            return False
        self._not_followed.append(f"{printable(link)} leads into OUTPUT: what lies there is no photo to clean")
        return True

    def _meet(self, entry: "os.DirEntry[str]", folder: _Folder) -> None:
        path = folder.path / entry.name
        relative = f"{folder.relative}/{entry.name}" if folder.relative else entry.name
        if self._rules.excludes(relative):
            self._leave_out(entry, folder.root)
            return
        try:
            is_link, enters = entry.is_symlink(), entry.is_dir()
        except OSError as error:
            if not self._skip(entry.name, is_folder=False):
                self._blame(path, folder.root, relative, _words(error, link=True))
            return
        if self._skip(entry.name, is_folder=enters):
            return
        if enters:
            if self._rules.recursive:
                (self._links if is_link else self._waiting).append(_Folder(path, folder.root, relative, is_link))
            return
        found = FoundFile(path, folder.root, relative)
        suffix = path.suffix.lower()
        is_photo = suffix in PHOTO_SUFFIXES or (not suffix and _is_plain(entry) and begins_like_photo(path))
        is_picture = is_photo or suffix in OTHER_IMAGE_SUFFIXES
        reason = None if _is_plain(entry) else _why_not_regular(path, link=is_link)
        # A link that leads nowhere may have been one to a folder, whatever its name: it is always named.
        if reason and (is_picture or reason != NOT_REGULAR):
            self._blame(path, folder.root, relative, reason)
        elif suffix == SIDECAR_SUFFIX and not reason:
            self._packets.append(found)
        elif not is_picture or reason:
            self._ignored[suffix or "no suffix"] += 1
        elif not self._rules.admits(relative):
            self._unwanted += 1
            self._with_photos.add(folder.root)
        elif not (is_link and self._is_kept_out(path)):
            self._with_photos.add(folder.root)
            (self._photos if is_photo else self._others).append(found)

    def _leave_out(self, entry: "os.DirEntry[str]", root: Path) -> None:
        """Count what a glob excludes, if it is a photo or may hold some."""
        is_photo = Path(entry.name).suffix.lower() in PHOTO_SUFFIXES and not entry.name.startswith(".")
        if is_photo or not _is_plain(entry):
            self._unwanted += is_photo
            self._with_photos.add(root)

    def _skip(self, name: str, *, is_folder: bool) -> bool:
        """Whether a name is hidden or a system's; counts it then."""
        skipped = self._skipped
        if kind := system_kind(name, is_folder=is_folder):
            skipped.system_folders += is_folder
            skipped.system_files += not is_folder
            skipped.system_names.add(kind)
        elif name.startswith("."):
            skipped.hidden_folders += is_folder
            skipped.hidden_files += not is_folder
        else:
            return False
        return True

    def _take_named(self, path: Path, walked: set[Path]) -> None:
        """Take a file that was named outright, unless it was found in a folder that was named as well."""
        folder = _folder_identity(path.parent)
        if folder in self._seen and self._seen[folder] / path.name in walked:
            return
        if not self._rules.admits(path.name):
            self._unwanted += 1
        elif reason := _why_not_regular(path, link=path.is_symlink()):
            self._blame(path, path, path.name, reason)
        else:
            self._photos.append(FoundFile(path, path, path.name, explicit=True))

    def _blame(self, path: Path, root: Path, relative: str, reason: str) -> None:
        self._unreadable.append(Unreadable(path, root, relative or ".", reason))
        self._with_photos.add(root)


def _distinct(inputs: Sequence[Path]) -> tuple[Path, ...]:
    """The INPUTs without those that another spelling names already."""
    known: dict[object, Path] = {}
    for path in inputs:
        known.setdefault(_folder_identity(path) or _real(path.parent) / path.name, path)
    return tuple(known.values())


def _outer_first(folders: Sequence[Path]) -> list[Path]:
    """Folders in the order given, but for those that lie in others."""
    known = {_folder_identity(path) for path in folders}
    return sorted(folders, key=lambda path: sum(_folder_identity(parent) in known for parent in _real(path).parents))


def _folder_identity(path: Path) -> Identity | None:
    """What tells a folder from all others; None for what is none, or may not be looked at."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _real(path: Path) -> Path:
    # Path.resolve fails on links in a circle, and on what may not be entered.
    return Path(os.path.realpath(path))


def _why_not_regular(path: Path, *, link: bool) -> str | None:
    """Why a path is nothing to open (a pipe would block for ever); None for files."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _words(error, link=link)
    return None if stat.S_ISREG(mode) else NOT_REGULAR


def _is_plain(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a folder is a file and no link, as far as the listing says."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _words(error: OSError, *, link: bool) -> str:
    if not link:
        return f"cannot be opened: {error.strerror or error}"
    if error.errno == errno.ELOOP:
        return "a link that leads to itself"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "a link that leads nowhere: what it names does not exist, or is on a disk that is not mounted"
    return f"a link that cannot be followed: {error.strerror or error}"
