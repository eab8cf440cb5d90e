"""Which files are completely written: those whose size and time have stood still for a while."""

from collections.abc import Callable, Iterable
from pathlib import Path

from nsp_pipeline.batch.output.record import Stamp
from nsp_pipeline.batch.output.up_to_date import stamp

QUIET_SECONDS = 3.0
"""How long size and time must stand still. A file renamed into place has to stand still as well: who copies a file
under its own name, and who renames one that is whole, look the same from here."""


class Stillness:
    """What was seen of files at every look."""

    def __init__(self, clock: Callable[[], float], quiet: float = QUIET_SECONDS) -> None:
        self._clock = clock
        self._quiet = quiet
        self._seen: dict[Path, tuple[Stamp, float]] = {}

    def look(self, paths: Iterable[Path]) -> tuple[dict[Path, Stamp], list[Path]]:
        """Look at files: those that stand still, with size and time, and those that do not yet.

        What is gone is neither. An empty file never stands still: something is to be written into it.
        """
        still, moving, seen = dict[Path, Stamp](), list[Path](), dict[Path, tuple[Stamp, float]]()
        now = self._clock()
        for path in paths:
            present = stamp(path)
            if present is None:
                continue
            before, since = self._seen.get(path, (None, now))
            seen[path] = (present, since if before == present else now)
            if present.size and now - seen[path][1] >= self._quiet:
                still[path] = present
            else:
                moving.append(path)
        self._seen = seen
        return still, moving
