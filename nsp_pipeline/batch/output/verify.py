"""Whether the finished photos of a folder are there, whole, and say all that their originals say."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nsp_pipeline.batch.output.finished import finished_photos
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row
from nsp_pipeline.batch.output.up_to_date import hash_file, stamp
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.file_names import from_printable, printable
from nsp_pipeline.frames.inventory import lost
from nsp_pipeline.frames.read import read_frame


@dataclass(frozen=True)
class Verdict:
    """What was found of one finished photo."""

    output: str
    """As `file_names.printable` writes it, as is `input`."""
    input: str
    trouble: str | None = None
    """What is wrong, in words; None where nothing is."""
    unchecked: str | None = None
    """Why its metadata could not be compared, where that is nobody's fault."""
    damaged: str | None = None
    """What is wrong with the original's picture, of which the output holds what could be read (--damaged keep)."""
    lost: tuple[str, ...] = ()
    """Metadata of the original that the output does not hold."""

    def as_json(self) -> dict[str, Any]:
        """Plain values; what there is nothing to say of is left out."""
        return {name: list(value) if name == "lost" else value for name, value in vars(self).items() if value}


def verify_output(root: Path, manifest: Manifest) -> Iterator[Verdict]:
    """Look at every finished photo of a folder, in the order of their names; changes nothing.

    So too at those whose photos a later run failed of, as it does where somebody changed the output.
    """
    for row in finished_photos(root, manifest):
        yield replace(_verdict(root / from_printable(row.output), row), damaged=row.made.damaged)


def _verdict(path: Path, row: Row) -> Verdict:
    output, name = printable(path), row.input
    try:
        present = stamp(path)
        if present is None:
            return Verdict(output, name, "it is gone; the same nsp denoise makes it again")
        if hash_file(path) != row.output_sha256:
            return Verdict(output, name, "it was changed since nsp made it")
        made = read_frame(path, keep_damaged=True)
    except PhotoError as error:
        return Verdict(output, name, f"it cannot be read: {error.reason}")
    except OSError as error:
        return Verdict(output, name, f"it cannot be read: {error.strerror or error}")
    photo = Path(from_printable(row.input))
    if stamp(photo) is None:
        return Verdict(output, name, unchecked="its original is not there any more")
    try:
        if hash_file(photo) != row.input_sha256:
            return Verdict(output, name, unchecked="its original was changed since")
        found = lost(read_frame(photo, keep_damaged=True), made)
    except (PhotoError, OSError) as error:
        reason = error.reason if isinstance(error, PhotoError) else error.strerror or str(error)
        return Verdict(output, name, unchecked=f"its original cannot be read: {reason}")
    new = [] if row.made.lost is None else sorted(set(found) - set(row.made.losses))
    trouble = f"its metadata lack more than its record says: {', '.join(new)}" if new else None
    return Verdict(output, name, trouble, lost=found)
