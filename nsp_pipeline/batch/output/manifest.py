"""The record of what was done with each photo: OUTPUT/.nsp/manifest.sqlite.

Table `photos` has a row for every output that we made, by its path below OUTPUT; `unmade` has the photos that failed
or were left out, and says nothing about what else stands at their place. A photo about to be renamed into place first
stands in `publishing`, with its hash: whatever moment a run dies at, the next one can tell its own finished file.
"""

import os
import shutil
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nsp_pipeline.batch.job import RECORD_FOLDER
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.file_names import from_printable, printable

MANIFEST_FILE = "manifest.sqlite"
SCHEMA_VERSION = 2
APPLICATION_ID = 0x6E73706D  # "nspm"
BUSY_SECONDS = 60.0


class Status(StrEnum):
    """What became of a photo."""

    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left-out"


@dataclass(frozen=True)
class Stamp:
    """A file as it was: size in bytes, modification time in nanoseconds, content hash (None where not computed)."""

    size: int
    mtime_ns: int
    sha256: str | None = None


@dataclass(frozen=True)
class Row:
    """One photo's record; the columns of the tables, in their order."""

    output: str
    """Path below OUTPUT, with slashes; this and `input` as `file_names.printable` writes names."""
    input: str
    """Absolute path."""
    status: Status
    input_size: int | None = None
    input_mtime_ns: int | None = None
    input_sha256: str | None = None
    settings: str | None = None
    """Hash of the settings that decide the result; table `settings` has them in words."""
    profile: str | None = None
    profile_sha256: str | None = None
    why: str | None = None
    """Why that profile."""
    engine: str | None = None
    provider: str | None = None
    precision: str | None = None
    error: str | None = None
    lasting: bool = False
    """A failure that would come again: not tried again until something changes, or --retry-failed."""
    version: str | None = None
    """Of nsp."""
    seconds: float | None = None
    megapixels: float | None = None
    strength: float | None = None
    noise_before: float | None = None
    """Sigma in 8-bit steps, as is `noise_after`."""
    noise_after: float | None = None
    output_size: int | None = None
    output_mtime_ns: int | None = None
    output_sha256: str | None = None
    run: int | None = None
    finished: float | None = None
    """Seconds since 1970."""
    fallback: str | None = None
    """Why a faster engine or precision did not make it, if one was tried."""

    @property
    def output_stamp(self) -> Stamp | None:
        """The output as this program left it; None where it made none."""
        if self.output_size is None or self.output_mtime_ns is None:
            return None
        return Stamp(self.output_size, self.output_mtime_ns, self.output_sha256)


_COLUMNS = """
output TEXT NOT NULL, input TEXT NOT NULL, status TEXT NOT NULL,
input_size INTEGER, input_mtime_ns INTEGER, input_sha256 TEXT,
settings TEXT, profile TEXT, profile_sha256 TEXT, why TEXT, engine TEXT, provider TEXT, precision TEXT,
error TEXT, lasting INTEGER, version TEXT, seconds REAL, megapixels REAL,
strength REAL, noise_before REAL, noise_after REAL,
output_size INTEGER, output_mtime_ns INTEGER, output_sha256 TEXT, run INTEGER, finished REAL, fallback TEXT
"""
_NAMES = ", ".join(field.name for field in fields(Row))
_MARKS = ", ".join("?" for _ in fields(Row))

SCHEMA = f"""
CREATE TABLE photos ({_COLUMNS}, PRIMARY KEY (output));
CREATE TABLE publishing ({_COLUMNS}, PRIMARY KEY (output));
CREATE TABLE unmade ({_COLUMNS}, PRIMARY KEY (output, input));
CREATE TABLE settings (hash TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, version TEXT NOT NULL, shard TEXT,
                   outcome TEXT, done INTEGER, skipped INTEGER, failed INTEGER, remaining INTEGER);
CREATE TABLE identity (uuid TEXT NOT NULL);
"""

SINCE = {2: "".join(f"ALTER TABLE {table} ADD COLUMN fallback TEXT;" for table in ("photos", "publishing", "unmade"))}
"""What each version of the schema changed in the one before it."""


class Manifest:
    """An open manifest; its methods may be called from any thread, and each is on the disk when it returns."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._guard = threading.Lock()
        self._kept_settings: set[str] = set()
        self.path = path
        self.run: int | None = None

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open the manifest of OUTPUT, making it where there is none.

        Raises OutputError when it is damaged, from a newer nsp, or cannot be written.
        """
        path = root / RECORD_FOLDER / MANIFEST_FILE
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(str(path))
            try:
                connection.execute("PRAGMA synchronous = FULL")
                _create_schema(connection)
                _check(connection, path)
                _update(connection)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

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
        return _row(rows[0]) if rows else None

    def find_unmade(self, key: str, photo: str) -> Row | None:
        """Return the record of a photo (by its absolute path) that failed or was left out."""
        rows = self._query(f"SELECT {_NAMES} FROM unmade WHERE output = ? AND input = ?", key, photo)
        return _row(rows[0]) if rows else None

    def made(self) -> list[Row]:
        """The records of all outputs that we made or were about to give their names."""
        tables = ("photos", "publishing")
        return [_row(row) for table in tables for row in self._query(f"SELECT {_NAMES} FROM {table} ORDER BY output")]

    def rows(self) -> list[Row]:
        """The latest record of every photo, by output."""
        made = f"SELECT {_NAMES} FROM photos WHERE (output, input) NOT IN (SELECT output, input FROM unmade)"
        return [
            _row(row) for row in self._query(f"{made} UNION ALL SELECT {_NAMES} FROM unmade ORDER BY output, input")
        ]

    def record_unmade(self, row: Row) -> None:
        """Record a photo that failed or was left out."""
        with self._change() as connection:
            _put(connection, "unmade", replace(row, run=self.run, finished=time.time()))

    def forget_gone(self, planned: Mapping[str, str]) -> None:
        """Drop the records of unmade photos that exist no more, and of folders that can be read by now.

        So too where a photo is to get another name: `planned` has outputs by their inputs, named as in records.
        """
        for row in (_row(values) for values in self._query(f"SELECT {_NAMES} FROM unmade")):
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

    def unpublished(self) -> list[Row]:
        """What was about to take its name when its run ended."""
        return [_row(values) for values in self._query(f"SELECT {_NAMES} FROM publishing")]

    def forget_publishing(self, key: str) -> None:
        """Record that a file did not get its name."""
        with self._change() as connection:
            connection.execute("DELETE FROM publishing WHERE output = ?", (key,))

    def keep_settings(self, text: str) -> str:
        """Store settings in words; returns their hash."""
        digest = settings_hash(text)
        if digest not in self._kept_settings:
            with self._change() as connection:
                connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (digest, text))
            self._kept_settings.add(digest)
        return digest

    def start_run(self, version: str, shard: str | None) -> None:
        """Record that a run begins; later records name it."""
        with self._change() as connection:
            values = (time.time(), version, shard)
            self.run = connection.execute(
                "INSERT INTO runs (started, version, shard) VALUES (?, ?, ?)", values
            ).lastrowid

    def end_run(self, outcome: str, *, done: int, skipped: int, failed: int, remaining: int) -> None:
        """Record how the run ended."""
        with self._change() as connection:
            connection.execute(
                "UPDATE runs SET ended = ?, outcome = ?, done = ?, skipped = ?, failed = ?, remaining = ? WHERE id = ?",
                (time.time(), outcome, done, skipped, failed, remaining, self.run),
            )

    def last_run(self) -> dict[str, Any] | None:
        """The newest run's record: started, ended (None: it was killed or still runs), outcome, counts."""
        names = ("started", "ended", "version", "shard", "outcome", "done", "skipped", "failed", "remaining")
        rows = self._query(f"SELECT {', '.join(names)} FROM runs ORDER BY id DESC LIMIT 1")
        return dict(zip(names, rows[0], strict=True)) if rows else None

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._guard, _explained(self.path):
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._guard, _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def read_manifest(root: Path) -> Iterator[Manifest | None]:
    """Open a manifest for looking only: nothing on the disk changes. None where OUTPUT has none.

    Raises OutputError when it is damaged or from a newer nsp, UsageError when OUTPUT is no folder.
    """
    path = root / RECORD_FOLDER / MANIFEST_FILE
    if root.exists() and not root.is_dir():
        raise UsageError(f"{printable(root)}: not a folder; name the OUTPUT of an earlier run")
    if not path.exists() or path.stat().st_size == 0:
        yield None
        return
    with tempfile.TemporaryDirectory() as scratch:
        connection = _open_for_reading(path, Path(scratch))
        try:
            yield Manifest(connection, path)
        finally:
            connection.close()


def _open_for_reading(path: Path, scratch: Path) -> sqlite3.Connection:
    """Open the file itself; or a copy, where an older nsp made it or a killed run left a journal to play back."""
    with _explained(path):
        connection = _connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            _check(connection, path)
            return (
                connection if _version(connection) == SCHEMA_VERSION else _updated_copy(connection, scratch / path.name)
            )
        except sqlite3.OperationalError:
            connection.close()
            journal = path.with_name(f"{path.name}-journal")
            if not journal.exists():
                raise
            shutil.copy(path, scratch)
            shutil.copy(journal, scratch)
            connection = _connect(str(scratch / path.name))
            _check(connection, path)
            _update(connection)
            return connection
        except BaseException:
            connection.close()
            raise


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


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; several shards may come here at once."""
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _update(connection: sqlite3.Connection) -> None:
    """Change the tables of an older nsp to what they are now; several shards may come here at once."""
    connection.execute("BEGIN IMMEDIATE")
    for version in range(_version(connection) + 1, SCHEMA_VERSION + 1):
        for statement in SINCE[version].split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _updated_copy(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Copy a manifest of an older nsp, close it, and return the copy with the tables of today."""
    copy = _connect(str(path))
    with closing(connection):
        connection.backup(copy)
    _update(copy)
    return copy


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse files that are not ours, newer than we are, or damaged."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = _version(connection)
    if application != APPLICATION_ID:
        raise OutputError(f"{printable(path)}: not a manifest of nsp; choose another OUTPUT")
    if version > SCHEMA_VERSION:
        raise OutputError(
            f"{printable(path)}: written by a newer nsp (manifest version {version}, this one reads {SCHEMA_VERSION}); "
            "update nsp, or choose another OUTPUT"
        )
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise sqlite3.DatabaseError(finding)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what a database error means for the user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OutputError(
                f"{printable(path)}: no space is left on that disk; free some space and run the same command again"
            ) from error
        raise OutputError(f"{printable(path)}: the manifest cannot be written or read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise OutputError(
            f"{printable(path)}: the manifest is damaged ({error}); restore it from a backup, or move it away: "
            "photos already in that folder are then kept, and replaced only with --overwrite"
        ) from error
    except OSError as error:
        raise OutputError(f"{printable(path)}: {error.strerror or error}") from error


def _put(connection: sqlite3.Connection, table: str, row: Row) -> None:
    connection.execute(f"INSERT OR REPLACE INTO {table} ({_NAMES}) VALUES ({_MARKS})", astuple(row))


def _row(values: tuple[Any, ...]) -> Row:
    row = Row(*values)
    return replace(row, status=Status(row.status), lasting=bool(row.lasting))
