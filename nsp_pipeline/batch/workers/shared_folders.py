"""Whether another machine sees the same folders: a token file in the output, and photos by size and content."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from nsp_pipeline.errors import OutputError
from nsp_pipeline.file_names import printable

MOST_PHOTOS = 20
"""So many photos are looked at, each from another folder."""
BEGINNING = 1 << 16
"""Bytes of a photo that are compared."""


@dataclass(frozen=True)
class Proof:
    """What a machine must find that sees the same folders."""

    output: Path
    token: Path
    secret: str
    photos: tuple[tuple[Path, int, str], ...]
    """Path, size and hash of the beginning."""


@contextmanager
def proof_of(output: Path, photos: Iterable[Path], folder: Path, owner: str = "") -> Iterator[Proof]:
    """Lay a token into a folder of the output's, for as long as the context lasts; raises OutputError.

    Args:
        output: what the folder is called in messages.
        photos: of which the first in each folder are looked at.
        folder: `output` or one below it, which is there.
        owner: whose token it is, where only one run at a time is: it takes the place of what a killed one left.
    """
    secret = secrets.token_hex(16)
    token = folder / f".nsp-cluster-{owner or secret[:8]}.token"
    firsts: dict[Path, Path] = {}
    for path in photos:
        firsts.setdefault(path.parent, path)
    known = [looked for path in list(firsts.values())[:MOST_PHOTOS] if (looked := _look(path))]
    try:
        token.write_text(secret, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{printable(token)}: cannot be written: {error.strerror or error}") from error
    try:
        yield Proof(output, token, secret, tuple(known))
    finally:
        with suppress(OSError):
            token.unlink(missing_ok=True)


def what_differs(proof: Proof) -> str | None:
    """What this machine does not see as the one that laid the token does; None where all agrees."""
    folder = printable(proof.output)
    try:
        found = proof.token.read_text(encoding="utf-8")
    except OSError as error:
        return f"it does not see {folder} ({error.strerror or error})"
    if found != proof.secret:
        return f"its {folder} is another folder"
    for photo in proof.photos:
        path = photo[0]
        looked = _look(path)
        if looked is None:
            return f"it does not see the photo {printable(path)}"
        if looked != photo:
            return f"its {printable(path)} is another photo"
    return None


def _look(path: Path) -> tuple[Path, int, str] | None:
    try:
        with path.open("rb") as file:
            beginning = file.read(BEGINNING)
        return path, path.stat().st_size, sha256(beginning).hexdigest()
    except OSError:
        return None
