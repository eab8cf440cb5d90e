"""The record of what was done with each photo: OUTPUT/.nsp/manifest.sqlite.

Table `photos` has a row for every output that we made, by its path below OUTPUT; `unmade` has the photos that failed
or were left out, and says nothing about what else stands at their place. A photo about to be renamed into place first
stands in `publishing`, with its hash: whatever moment a run dies at, the next one can tell its own finished file.
`deaths` counts the runs that died while a photo was in work.
"""

import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nsp_pipeline.batch.output.database import Say, Value, explained, open_for_reading, open_for_writing, patiently
from nsp_pipeline.batch.output.place import record_folder
from nsp_pipeline.batch.output.record import COLUMNS, Row, from_values, to_values
from nsp_pipeline.errors import UsageError
from nsp_pipeline.file_names import from_printable, printable

MANIFEST_FILE = "manifest.sqlite"
_NAMES = ", ".join(COLUMNS)
_MARKS = ", ".join("?" for _ in COLUMNS)
_RUN = (
    *("started", "ended", "version", "shard", "outcome", "total"),
    *("done", "skipped", "failed", "remaining", "unchecked", "wanted"),
)


@dataclass(frozen=True)
class Death:
    """How many runs died while a photo was in work, and the photo's file as it was then."""

    count: int
    size: int | None
    mtime_ns: int | None


class Manifest:
    """An open manifest; its methods may be called from any thread, and each is on the disk when it returns."""

    def __init__(self, connection: sqlite3.Connection, path: Path, say: Say) -> None:
        self._connection = connection
        self._guard = threading.Lock()
        self._kept_settings: set[str] = set()
        self._say = say
        self.path = path
        self.run: int | None = None

    @classmethod
    def open(cls, root: Path, say: Say = lambda line: None) -> Self:
        """Open the manifest of OUTPUT, making it where there is none; `say` hears what it has to wait for.

        Raises OutputError when it is damaged, from a newer nsp, held by another program, or cannot be written.
        """
        path = record_folder(root) / MANIFEST_FILE
        return cls(open_for_writing(path, say), path, say)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def identity(self) -> str:
        """Eight characters that tell this OUTPUT's temporary files from those of others."""
        return str(self._query("SELECT uuid FROM identity")[0][0])[:8]

    def find(self, key: str) -> Row | None:
        """Return the record of an output that we made."""
        rows = self._query(f"SELECT {_NAMES} FROM photos WHERE output = ?", key)
        return from_values(rows[0]) if rows else None

    def find_unmade(self, key: str, photo: str) -> Row | None:
        """Return the record of a photo (by its absolute path) that failed or was left out."""
        rows = self._query(f"SELECT {_NAMES} FROM unmade WHERE output = ? AND input = ?", key, photo)
        return from_values(rows[0]) if rows else None

    def made(self) -> list[Row]:
        """The records of all outputs that we made or were about to give their names."""
        return [*self.published_photos(), *self.unpublished()]

    def published_photos(self) -> list[Row]:
        """The records of all outputs that have their names, by output; also of photos that failed since."""
        return [from_values(row) for row in self._query(f"SELECT {_NAMES} FROM photos ORDER BY output")]

    def unmade(self) -> list[Row]:
        """The records of photos that failed or were left out when a run last tried them, by output and photo."""
        return [from_values(row) for row in self._query(f"SELECT {_NAMES} FROM unmade ORDER BY output, input")]

    def made_with(self) -> dict[str, tuple[str, str]]:
        """Hashes of settings and profile by output, for all that was made."""
        found = self._query("SELECT output, settings, profile_sha256 FROM photos")
        return {output: (settings, profile) for output, settings, profile in found}

    def record_unmade(self, row: Row) -> None:
        """Record a photo that failed or was left out."""
        with self._change() as connection:
            _put(connection, "unmade", replace(row, run=self.run, finished=time.time()))
            connection.execute("DELETE FROM deaths WHERE output = ?", (row.output,))

    def record_deadly(self, row: Row) -> None:
        """Record a photo that failed by the runs that died over it; one more death will make it fail again."""
        with self._change() as connection:
            _put(connection, "unmade", replace(row, run=self.run, finished=time.time()))
            connection.execute("UPDATE deaths SET count = 1 WHERE output = ?", (row.output,))

    def forget_gone(self, planned: Mapping[str, str]) -> None:
        """Drop the records of unmade photos that exist no more, and of folders that can be read by now.

        So too where a photo is to get another name: `planned` has outputs by their inputs, named as in records.
        """
        for row in self.unmade():
            path = Path(from_printable(row.input))
            renamed = planned.get(row.input, row.output) != row.output
            if renamed or not os.path.lexists(path) or _can_be_listed(path):
                with self._change() as connection:
                    connection.execute("DELETE FROM unmade WHERE output = ? AND input = ?", (row.output, row.input))

    def publishing(self, row: Row) -> None:
        """Record that a checked file of this hash is about to take its name."""
        with self._change() as connection:
            _put(connection, "publishing", replace(row, run=self.run, finished=time.time()))

    def published(self, row: Row) -> None:
        """Record an output that has its name, or whose file or photo is still the same at another time or place."""
        with self._change() as connection:
            _put(connection, "photos", replace(row, run=row.run or self.run, finished=row.finished or time.time()))
            connection.execute("DELETE FROM publishing WHERE output = ?", (row.output,))
            connection.execute("DELETE FROM unmade WHERE output = ? AND input = ?", (row.output, row.input))
            connection.execute("DELETE FROM deaths WHERE output = ?", (row.output,))

    def unpublished(self) -> list[Row]:
        """What was about to take its name when its run ended."""
        return [from_values(values) for values in self._query(f"SELECT {_NAMES} FROM publishing ORDER BY output")]

    def forget_publishing(self, key: str) -> None:
        """Record that a file did not get its name."""
        with self._change() as connection:
            connection.execute("DELETE FROM publishing WHERE output = ?", (key,))

    def count_deaths(self, run: str, in_work: Mapping[str, tuple[int | None, int | None]]) -> None:
        """Record that a run died, once, with these outputs in work; size and time of each photo's file."""
        with self._change() as connection:
            for key, (size, mtime_ns) in in_work.items():
                connection.execute(
                    "INSERT INTO deaths VALUES (?, ?, ?, 1, ?) ON CONFLICT (output) DO UPDATE SET "
                    "count = CASE WHEN (size, mtime_ns) IS (excluded.size, excluded.mtime_ns) THEN count + 1 "
                    "ELSE 1 END, size = excluded.size, mtime_ns = excluded.mtime_ns, run = excluded.run "
                    "WHERE run IS NOT excluded.run",
                    (key, size, mtime_ns, run),
                )

    def deaths(self) -> dict[str, Death]:
        """The photos that were in work when a run died, by output."""
        found = self._query("SELECT output, count, size, mtime_ns FROM deaths")
        return {output: Death(count, size, mtime_ns) for output, count, size, mtime_ns in found}

    def keep_settings(self, text: str) -> str:
        """Store settings in words; returns their hash."""
        digest = settings_hash(text)
        if digest not in self._kept_settings:
            with self._change() as connection:
                connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (digest, text))
            self._kept_settings.add(digest)
        return digest

    def settings_in_words(self) -> dict[str, str]:
        """All settings that were ever kept, by their hashes."""
        return dict(self._query("SELECT hash, text FROM settings"))

    def start_run(self, version: str, shard: str | None, total: int, wanted: Iterable[tuple[str, str]]) -> None:
        """Record that a run begins, over so many photos, with these hashes of settings and profiles."""
        with self._change() as connection:
            values = (time.time(), version, shard, total, json.dumps(sorted(wanted)))
            self.run = connection.execute(
                "INSERT INTO runs (started, version, shard, total, wanted) VALUES (?, ?, ?, ?, ?)", values
            ).lastrowid

    def end_run(self, outcome: str, counts: Mapping[str, int]) -> None:
        """Record how the run ended; counts: done, skipped, failed, remaining, unchecked."""
        with self._change() as connection:
            connection.execute(
                "UPDATE runs SET ended = :ended, outcome = :outcome, done = :done, skipped = :skipped, "
                "failed = :failed, remaining = :remaining, unchecked = :unchecked WHERE id = :id",
                {**counts, "ended": time.time(), "outcome": outcome, "id": self.run},
            )

    def last_runs(self) -> list[dict[str, Any]]:
        """The newest run's record, and with it those of its sister shards; the newest first.

        Each has started, ended (None: it was killed or still runs), outcome, counts, and `wanted` as start_run took it.
        """
        found = [
            dict(zip(_RUN, row, strict=True))
            for row in self._query(
                f"SELECT {', '.join(_RUN)} FROM runs WHERE id IN (SELECT max(id) FROM runs GROUP BY shard) "
                "ORDER BY id DESC"
            )
        ]
        for run in found:
            run["wanted"] = [tuple(pair) for pair in json.loads(run["wanted"] or "[]")]
        part = (found[0]["shard"] or "").partition("/")[2] if found else ""
        return found[:1] + [run for run in found[1:] if part and (run["shard"] or "").partition("/")[2] == part]

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guard, explained(self.path):
            return self._patiently(lambda: self._connection.execute(statement, values).fetchall())

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._guard, explained(self.path):
            self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
            try:
                yield self._connection
                self._patiently(lambda: self._connection.execute("COMMIT"))
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _patiently(self, step: Callable[[], Value]) -> Value:
        return patiently(self.path, step, self._say)


@contextmanager
def read_manifest(root: Path, say: Say = lambda line: None) -> Iterator[Manifest | None]:
    """Open a manifest for looking only: nothing on the disk changes. None where OUTPUT has none.

    Raises OutputError when it is damaged, from a newer nsp or may not be read, UsageError when OUTPUT is no folder.
    """
    path = record_folder(root) / MANIFEST_FILE
    with explained(path):
        if root.exists() and not root.is_dir():
            raise UsageError(f"{printable(root)}: not a folder; name the OUTPUT of an earlier run")
        is_there = path.exists() and path.stat().st_size > 0
    if not is_there:
        yield None
        return
    with tempfile.TemporaryDirectory() as scratch:
        connection = open_for_reading(path, Path(scratch), say)
        try:
            yield Manifest(connection, path, say)
        finally:
            connection.close()


def _can_be_listed(path: Path) -> bool:
    """Whether a path is a folder that may be read."""
    try:
        os.scandir(path).close()
    except OSError:
        return False
    return True


def settings_hash(text: str) -> str:
    """The hash that stands for settings in words."""
    return sha256(text.encode()).hexdigest()


def _put(connection: sqlite3.Connection, table: str, row: Row) -> None:
    connection.execute(f"INSERT OR REPLACE INTO {table} ({_NAMES}) VALUES ({_MARKS})", to_values(row))
