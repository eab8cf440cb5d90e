"""Control groups, in which Linux and containers limit what processes take: where those of this process lie."""

import re
from collections.abc import Iterator
from pathlib import Path

SYSTEM = Path("/")


def group_folders(controller: str, root: Path = SYSTEM) -> Iterator[tuple[int, Path]]:
    """Yield (version, folder) of this process's group and of all groups around it, each of which may limit it.

    Nothing where there are no control groups. Version 1 has one tree for each controller, version 2 one for all;
    a machine may have both.

    Args:
        controller: "memory" or "cpu".
        root: what stands for "/".
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in memberships:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if number == "0" and not controllers else 1
        if version == 1 and controller not in controllers.split(","):
            continue
        for start, point in _mounted(mounts, version, controller):
            folder = top = root / point.lstrip("/")
            # A container may see a part of the tree only, or be named from outside of what it sees.
            if path == start or path.startswith(start.rstrip("/") + "/"):
                folder = top / path[len(start.rstrip("/")) :].lstrip("/")
            for group in (folder, *folder.parents):
                if group.is_dir():
                    yield version, group
                if group == top:
                    break


def first_number(file: Path) -> int | None:
    """The number that a file of a group begins with; None where there is none, or the word "max"."""
    try:
        return int(file.read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _mounted(mounts: list[str], version: int, controller: str) -> Iterator[tuple[str, str]]:
    """Yield (what of the tree is mounted, where) from the lines of mountinfo."""
    for line in mounts:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == ("cgroup2" if version == 2 else "cgroup") and (version == 2 or controller in kind[2].split(",")):
            yield _unescaped(fields[3]), _unescaped(fields[4])


def _unescaped(path: str) -> str:
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), path)
