"""Files of our own making in a cache: each says what it is and holds the hash of its content.

A file that was cut short, damaged, put there by another program or given another file's name is recognised before
its content reaches a library that would trust it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nsp_pipeline.atomic_file import write_atomically

MAGIC = b"nsp sealed file 1\n"
LONGEST_HEADER = 1 << 16


class DamagedError(Exception):
    """A file that is not what was written under its name; the message says how that was noticed."""


@dataclass(frozen=True)
class Sealed:
    """What a sealed file says it is, and its content."""

    identity: Mapping[str, str]
    body: bytes


def seal(path: Path, identity: Mapping[str, str], body: bytes) -> None:
    """Write a file, whole or not at all; raises OutputError."""
    header = {"identity": dict(identity), "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    write_atomically(path, (MAGIC, json.dumps(header, sort_keys=True).encode() + b"\n", body))


def unseal(path: Path) -> Sealed:
    """Read a file back.

    Raises:
        OSError: it is not there, or cannot be read.
        DamagedError: it is not a sealed file, or its content is not what was written.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedError("it was not written by this nsp")
        line = file.readline(LONGEST_HEADER)
        try:
            header = json.loads(line)
            identity = {str(key): str(value) for key, value in header["identity"].items()}
            size, digest = int(header["bytes"]), header["sha256"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DamagedError("its header is damaged") from None
        body = file.read()
    if len(body) != size:
        raise DamagedError(f"it was cut short or lengthened: it has {len(body)} bytes of {size}")
    if hashlib.sha256(body).hexdigest() != digest:
        raise DamagedError("its content was changed")
    return Sealed(identity, body)
