"""How much more memory this process may take before something ends it."""

import os
import sys
from pathlib import Path

from nsp_pipeline.machine.cgroup import SYSTEM, first_number, group_folders

PAGE_LIMIT = 1 << 60
"""What version 1 of control groups says where there is no limit is a number beyond all memory."""

FILES = {
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    2: (("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file")),
}
"""Where each version of control groups keeps the limits, what is used, and how much of that the system would let go:
files, ours on the disk among them."""


_sharers = 1


def share_memory(processes: int) -> None:
    """Let this process count on its part only of what is free, as one of so many of a run on this machine."""
    global _sharers
    _sharers = processes


def available_memory(root: Path = SYSTEM) -> int | None:
    """Bytes that are free for this process: the least of what the machine has, a container's and the shell's limits.

    Files that the system keeps in memory and would let go count as free. None where the system says nothing.
    See share_memory.
    """
    free = [size for size in (_of_the_machine(root), _of_the_address_space(root)) if size is not None]
    free += [size for version, folder in group_folders("memory", root) for size in _of_a_group(version, folder)]
    return max(0, min(free)) // _sharers if free else None


def _of_the_machine(root: Path) -> int | None:
    return _line(root / "proc/meminfo", "MemAvailable:", unit=1024)


def _of_the_address_space(root: Path) -> int | None:
    """What `ulimit -v` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = first_number(root / "proc/self/statm")
    if limit == resource.RLIM_INFINITY or pages is None:
        return None
    return limit - pages * os.sysconf("SC_PAGE_SIZE")


def _of_a_group(version: int, folder: Path) -> list[int]:
    names, usage, kept = FILES[version]
    limits = [limit for name in names if (limit := first_number(folder / name)) is not None and limit < PAGE_LIMIT]
    used = (first_number(folder / usage) or 0) - sum(_line(folder / "memory.stat", name) or 0 for name in kept)
    return [limit - max(0, used) for limit in limits]


def _line(file: Path, name: str, unit: int = 1) -> int | None:
    """The number behind a name in a file of such lines."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(name)]
    return next((int(words[1]) * unit for words in found if words[0] == name), None)
