"""The run as JSON, one line an event, for other programs."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nsp_pipeline.batch.ahead.workload import Workload
from nsp_pipeline.batch.outcome import Result
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import printable


class EventLog:
    """Appends to a file; each line has `time` (seconds since 1970) and `event`."""

    def __init__(self, path: Path) -> None:
        """Open the log; raises OutputError."""
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except OSError as error:
            raise OutputError(f"{printable(path)}: the log cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, total: int, work: Workload | None = None) -> None:
        """See Reporter."""
        self._write("begin", total=total)

    def using(self, info: EngineInfo, why: str) -> None:
        """See Reporter."""
        self._write("engine", **vars(info), why=why)

    def working(self, name: str, share: float) -> None:
        """Too many for a log."""

    def finished(self, result: Result, number: int) -> None:
        """See Reporter."""
        self._write("photo", number=number, **result.as_json())

    def say(self, text: str, **facts: Any) -> None:
        """See Reporter."""
        self._write("message", text=text, **facts)

    def note(self, event: str, **facts: Any) -> None:
        """Write an event that is no photo's."""
        self._write(event, **facts)

    def end(self, summary: dict[str, Any]) -> None:
        """The run is over."""
        self._write("end", **summary)

    def _write(self, event: str, **facts: Any) -> None:
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts})
        try:
            self._file.write(line + "\n")
        except OSError:
            # A full disk ends the run where the photos go, if it is the same; a log alone must not.
            return
