"""What a run works on: one photo to make, one that cannot be made, and the part of all photos that a shard takes."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.write import OutputKind

RECORD_FOLDER = ".nsp"
"""Where a run keeps its manifest, lock and error log, below OUTPUT."""

MOST_SHARDS = 1000


@dataclass(frozen=True)
class Job:
    """One photo to make.

    `key` names it in the manifest: the output's path below the plan's root, with slashes, as
    `file_names.printable` writes it.
    """

    input: Path
    output: Path
    key: str
    kind: OutputKind = OutputKind.KEEP

    @property
    def name(self) -> str:
        """The input's path in words fit for a terminal."""
        return printable(self.input)


@dataclass(frozen=True)
class Refused:
    """Something found that looks like a photo, or may hold photos, and cannot be one of ours, and why."""

    input: Path
    key: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 1) of `count`: photos are dealt out by a hash of their relative path."""

    index: int
    count: int

    def takes(self, key: str) -> bool:
        """Whether this shard does that photo; the same on every machine."""
        return int.from_bytes(sha256(key.encode()).digest()[:8], "big") % self.count == self.index - 1
