"""How much of the time for calibrations is spent: it counts over all runs of a command, until one comes to its end."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from nsp_pipeline.atomic_file import remove, write_atomically
from nsp_pipeline.calibration.night.memory import calibration_folder, held
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import absolute_name

PATIENCE_SECONDS, LOOK_SECONDS = 5.0, 0.01
"""How long to wait for another run that notes its time, which takes it a moment, and from one look to the next."""


class Ledger:
    """Seconds spent on each group, by its key, in the name of one INPUT... and OUTPUT."""

    def __init__(self, inputs: Sequence[Path], output: Path) -> None:
        named = "\0".join(map(absolute_name, [*inputs, output]))
        digest = sha256(named.encode(errors="surrogateescape")).hexdigest()[:16]
        self._path = calibration_folder() / f"spent-{digest}.json"

    def spent(self) -> dict[str, float]:
        """Seconds by group; nothing where no run was cut off."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(key): float(seconds) for key, seconds in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def spend(self, key: str, seconds: float) -> None:
        """Add to what a group has taken; on a full disk it is forgotten, which takes nothing from any photo."""
        with suppress(OutputError, OSError), _alone():
            spent = self.spent()
            spent[key] = round(spent.get(key, 0.0) + seconds, 1)
            write_atomically(self._path, [json.dumps(spent).encode()], "the time spent")

    def close(self) -> None:
        """Forget it all: the command has come to its end, and the next night has its own time."""
        with suppress(OutputError), _alone():
            remove(self._path)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other runs from what they would write over; one that hangs is not waited for longer than a moment."""
    until = time.monotonic() + PATIENCE_SECONDS
    with ExitStack() as stack:
        while not stack.enter_context(held(calibration_folder())) and time.monotonic() < until:
            stack.close()
            time.sleep(LOOK_SECONDS)
        yield
