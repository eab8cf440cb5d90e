"""What names say: which files and folders a system keeps for itself, and which ones the user asks for."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

SYSTEM_FOLDERS = frozenset(
    # Synology, QNAP, Netgear and their kind: thumbnails, bins, snapshots
    {"@eadir", "@tmp", "@recycle", "@recycle.bin", "@sharebin", "@recently-snapshot", "@snapshot", ".@__thumb"}
    | {"#recycle", "#snapshot", "#trash", ".@__qini", ".snapshot", ".snapshots", "~snapshot", ".zfs"}
    # Windows
    | {"$recycle.bin", "recycler", "system volume information", "$windows.~bt"}
    # macOS
    | {"__macosx", ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100", ".fseventsd", ".trashes"}
    | {".temporaryitems", ".documentrevisions-v100", "network trash folder", "temporary items"}
    # Linux
    | {"lost+found", ".thumbnails", ".trash", ".dtrash"}
)
"""Names, in lower case, of folders that systems keep for themselves; `.Trash-1000` and its like belong to them."""

SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"})
"""Names, in lower case, of files of that kind. Beside `photo.jpg`, macOS leaves `._photo.jpg` (AppleDouble)."""


@dataclass(frozen=True)
class FindRules:
    """What is looked at.

    A glob is matched, without regard to case, against the name of every file and folder and against its path below
    INPUT, in which `*` spans folders. A folder that matches stands for everything in it: one that `exclude` matches is
    not entered. Without `include`, everything is included; `exclude` has the last word.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def excludes(self, relative: str) -> bool:
        """Whether a file or folder at this path below its INPUT is left out."""
        return _matches(relative, self.exclude)

    def excludes_content(self, relative: str) -> bool:
        """Whether all that a folder at this path may hold is left out."""
        return self.excludes(relative) or self.excludes(f"{relative}/\0")

    def admits(self, relative: str) -> bool:
        """Whether a file at this path below its INPUT is wanted; the folders above it are admitted."""
        if self.excludes(relative):
            return False
        parts = relative.split("/")
        ways = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        return not self.include or any(_matches(way, self.include) for way in ways)


EVERYTHING = FindRules()


def system_kind(name: str, *, is_folder: bool) -> str | None:
    """What a file or folder that a system keeps for itself is called, or its kind; None for all others."""
    lower = name.lower()
    if is_folder:
        if lower.startswith(".trash-"):
            return ".Trash-*"
        return name if lower in SYSTEM_FOLDERS else None
    if name.startswith("._"):
        return "._*"
    return name if lower in SYSTEM_FILES else None


def _matches(relative: str, globs: Sequence[str]) -> bool:
    if not globs:
        return False
    path = _folded(relative)
    name = path.rpartition("/")[2]
    return any(fnmatchcase(path, glob) or fnmatchcase(name, glob) for glob in map(_glob, globs))


def _glob(glob: str) -> str:
    return _folded(glob.replace("\\", "/") if os.name == "nt" else glob).removeprefix("./").rstrip("/")


def _folded(text: str) -> str:
    """A name as it is compared: capitals and the spelling of accents make no difference."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
