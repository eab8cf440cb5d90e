"""The manifest's file: its tables, older and foreign files, and what to say when the database complains."""

import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import printable

SCHEMA_VERSION = 6
APPLICATION_ID = 0x6E73706D  # "nspm"
SILENT_SECONDS = 3.0
"""How long another program may hold the file before the user is told what nsp waits for."""
BUSY_SECONDS = 60.0
"""How long nsp waits for it in all."""
HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

Value = TypeVar("Value")
Say = Callable[[str], None]
"""Takes a line for the user."""

_PHOTO = """
output TEXT NOT NULL, input TEXT NOT NULL, status TEXT NOT NULL,
input_size INTEGER, input_mtime_ns INTEGER, input_sha256 TEXT,
settings TEXT, profile TEXT, profile_sha256 TEXT, why TEXT, engine TEXT, provider TEXT, precision TEXT,
error TEXT, lasting INTEGER, version TEXT, seconds REAL, megapixels REAL,
strength REAL, noise_before REAL, noise_after REAL,
output_size INTEGER, output_mtime_ns INTEGER, output_sha256 TEXT, run INTEGER, finished REAL, fallback TEXT,
damaged TEXT, lost TEXT, noise_known REAL, brightened REAL
"""
_DEATHS = """
CREATE TABLE deaths (output TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, count INTEGER NOT NULL,
                     run TEXT NOT NULL);
"""
"""Photos that were in work when a run died, as their files were; and the last such run."""

_SCHEMA = f"""
CREATE TABLE photos ({_PHOTO}, PRIMARY KEY (output));
CREATE TABLE publishing ({_PHOTO}, PRIMARY KEY (output));
CREATE TABLE unmade ({_PHOTO}, PRIMARY KEY (output, input));
CREATE TABLE settings (hash TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, version TEXT NOT NULL, shard TEXT,
                   outcome TEXT, done INTEGER, skipped INTEGER, failed INTEGER, remaining INTEGER,
                   total INTEGER, unchecked INTEGER, wanted TEXT);
CREATE TABLE identity (uuid TEXT NOT NULL);
{_DEATHS}
"""

_SINCE = {
    2: "".join(f"ALTER TABLE {table} ADD COLUMN fallback TEXT;" for table in ("photos", "publishing", "unmade")),
    3: "".join(f"ALTER TABLE runs ADD COLUMN {column};" for column in ("total INTEGER", "unchecked INTEGER"))
    + f"ALTER TABLE runs ADD COLUMN wanted TEXT;{_DEATHS}",
    4: "".join(f"ALTER TABLE {table} ADD COLUMN damaged TEXT;" for table in ("photos", "publishing", "unmade")),
    5: "".join(f"ALTER TABLE {table} ADD COLUMN lost TEXT;" for table in ("photos", "publishing", "unmade")),
    6: "".join(
        f"ALTER TABLE {table} ADD COLUMN {column} REAL;"
        for table in ("photos", "publishing", "unmade")
        for column in ("noise_known", "brightened")
    ),
}
"""What each version of the schema changed in the one before it."""


def open_for_writing(path: Path, say: Say) -> sqlite3.Connection:
    """Open a manifest, made where there is none and brought up to date where an older nsp made it.

    Raises OutputError when it is damaged, from a newer nsp, held by another program, or cannot be written.
    """

    def opened() -> sqlite3.Connection:
        connection = _connect(str(path))
        try:
            connection.execute("PRAGMA synchronous = FULL")
            _create_schema(connection)
            _check(connection, path)
            _update(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return patiently(path, opened, say)


def open_for_reading(path: Path, scratch: Path, say: Say) -> sqlite3.Connection:
    """Open the file itself; or a copy, where an older nsp made it or a killed run left a journal to play back."""

    def opened() -> sqlite3.Connection:
        connection = _connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            _check(connection, path)
            current = _version(connection) == SCHEMA_VERSION
            return connection if current else _updated_copy(connection, scratch / path.name)
        except sqlite3.OperationalError as error:
            connection.close()
            journal = path.with_name(f"{path.name}-journal")
            if is_held(error) or not journal.exists():
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

    with explained(path):
        # Sooner than the database, the system says why a file may not be read.
        path.open("rb").close()
        return patiently(path, opened, say)


def patiently(path: Path, step: Callable[[], Value], say: Say) -> Value:
    """Do a step; where another program holds the file, wait for it, and after a few seconds say so.

    Raises OutputError when it is held too long.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_held(error):
                raise
            if time.monotonic() - began > BUSY_SECONDS:
                raise OutputError(
                    f"{printable(path)}: another program has held the manifest for {BUSY_SECONDS:.0f} seconds; "
                    "close it (a database viewer, a backup), and run the same command again"
                ) from error
            if not told:
                told = True
                say(
                    f"{printable(path)}: waiting for another program that holds the manifest (a database viewer, a "
                    f"backup?), for {BUSY_SECONDS:.0f} seconds at most"
                )


def is_held(error: sqlite3.OperationalError) -> bool:
    """Whether an error says that another program holds the file."""
    return (error.sqlite_errorcode & 0xFF) in HELD


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what a database error means for the user."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OutputError(
                f"{printable(path)}: no space is left on that disk; free some space and run the same command again"
            ) from error
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a table or column that every manifest has is not there
            raise _damaged(path, error) from error
        raise OutputError(f"{printable(path)}: the manifest cannot be written or read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise OutputError(f"{printable(path)}: the manifest cannot be read: {error.strerror or error}") from error


def _damaged(path: Path, error: sqlite3.Error) -> OutputError:
    return OutputError(
        f"{printable(path)}: the manifest is damaged ({error}); restore it from a backup, or move it away: photos "
        "already in that folder that nsp made are then recognised, and all others are left alone"
    )


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(name, uri=uri, timeout=SILENT_SECONDS, isolation_level=None, check_same_thread=False)


def _create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; several shards may come here at once."""
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _update(connection: sqlite3.Connection) -> None:
    """Change the tables of an older nsp to what they are now; several shards may come here at once."""
    connection.execute("BEGIN IMMEDIATE")
    for version in range(_version(connection) + 1, SCHEMA_VERSION + 1):
        for statement in _SINCE[version].split(";"):
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
    if version < 1:
        raise sqlite3.DatabaseError(f"it says that it is of version {version}, and versions begin with 1")
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise sqlite3.DatabaseError(finding)
