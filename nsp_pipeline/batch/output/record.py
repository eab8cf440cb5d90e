"""One photo's record, and the columns that keep it."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from nsp_pipeline.batch.provenance import Provenance


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
    """One photo's record. Its fields, and in the place of `made` those of Provenance, are the tables' columns."""

    output: str
    """Path below OUTPUT, with slashes."""
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
    error: str | None = None
    lasting: bool = False
    """A failure that would come again: not tried again until something changes, or --retry-failed."""
    version: str | None = None
    """Of nsp."""
    output_size: int | None = None
    output_mtime_ns: int | None = None
    output_sha256: str | None = None
    run: int | None = None
    finished: float | None = None
    """Seconds since 1970."""
    made: Provenance = field(default_factory=Provenance)

    @property
    def output_stamp(self) -> Stamp | None:
        """The output as this program left it; None where it made none."""
        if self.output_size is None or self.output_mtime_ns is None:
            return None
        return Stamp(self.output_size, self.output_mtime_ns, self.output_sha256)


OWN = tuple(entry.name for entry in fields(Row) if entry.name != "made")
MADE = tuple(entry.name for entry in fields(Provenance))
COLUMNS = (*OWN, *MADE)
"""Columns of a record, in the order of `to_values`."""


def to_values(row: Row) -> tuple[Any, ...]:
    """A record as the values of COLUMNS."""
    return (*(getattr(row, name) for name in OWN), *(getattr(row.made, name) for name in MADE))


def from_values(values: tuple[Any, ...]) -> Row:
    """The record that has these values of COLUMNS."""
    own = dict(zip(OWN, values[: len(OWN)], strict=True))
    own |= {"status": Status(own["status"]), "lasting": bool(own["lasting"])}
    return Row(**own, made=Provenance(*values[len(OWN) :]))
