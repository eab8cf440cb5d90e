"""The photos of an OUTPUT for a report: what its manifest says, and what the photos say of their cameras."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nsp_pipeline.batch.output.finished import finished_photos
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.status.standing import where_they_stand
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.file_names import from_printable
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import aliases_file, camera_name, read_aliases
from nsp_pipeline.frames.read import read_camera

UNKNOWN_CAMERA = "unknown camera"


@dataclass(frozen=True)
class Entry:
    """One photo: its record, the camera's name, and ISO where it is known."""

    row: Row
    camera: str
    iso: int | None

    @property
    def name(self) -> str:
        """The output's path below OUTPUT, for a photo that has one, else the input's name."""
        return self.row.output

    @property
    def folder(self) -> str:
        """The folder below OUTPUT, empty for OUTPUT itself."""
        folder = str(PurePosixPath(self.row.output).parent)
        return "" if folder == "." else folder

    @property
    def shot(self) -> str:
        """Camera and ISO."""
        return f"{self.camera}, ISO {self.iso}" if self.iso else self.camera

    @property
    def removed(self) -> float:
        """How much less noise there is, in 8-bit steps; 0 where that is not known."""
        made = self.row.made
        return (made.noise_before or 0.0) - (made.noise_after or 0.0)


@dataclass(frozen=True)
class Group:
    """Photos of one camera, ISO and profile that were made; noise is the mean, in 8-bit steps."""

    camera: str
    iso: int | None
    profile: str
    photos: int
    megapixels: float
    noise_before: float
    noise_after: float
    strength: float
    seconds: float


def read_entries(
    root: Path, manifest: Manifest, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Entry]:
    """Read what there is to say of every photo on record, failures first, the rest by name.

    Cameras are read from the photos, or where these are gone, from what was made of them. Raises UsageError where the
    user's table of cameras is broken, and OutputError where the record cannot be read.
    """
    aliases = read_aliases(aliases_file())
    wanted = {pair for run in manifest.last_runs() for pair in run["wanted"]}
    rows = where_they_stand(finished_photos(root, manifest), manifest.unmade(), wanted).latest
    entries = []
    for number, row in enumerate(rows, 1):
        camera = _camera(root, row)
        entries.append(Entry(row, camera_name(camera, aliases) or UNKNOWN_CAMERA, camera.iso))
        on_progress(number, len(rows))
    return sorted(entries, key=lambda entry: (entry.row.status != Status.FAILED, entry.name))


def groups_of(entries: Iterable[Entry]) -> list[Group]:
    """The photos that were made, by camera, ISO and profile."""
    found: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for entry in entries:
        if entry.row.status == Status.DONE:
            found[entry.camera, entry.iso or 0, entry.row.profile or ""].append(entry.row)
    return [
        Group(
            camera=camera,
            iso=iso or None,
            profile=profile,
            photos=len(rows),
            megapixels=sum(row.made.megapixels or 0.0 for row in rows),
            noise_before=_mean([row.made.noise_before for row in rows]),
            noise_after=_mean([row.made.noise_after for row in rows]),
            strength=_mean([row.made.strength for row in rows]),
            seconds=sum(row.made.seconds or 0.0 for row in rows),
        )
        for (camera, iso, profile), rows in sorted(found.items())
    ]


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _camera(root: Path, row: Row) -> Camera:
    places = [Path(from_printable(row.input))]
    if row.status == Status.DONE:
        places.append(root / from_printable(row.output))
    for path in places:
        try:
            return read_camera(path)
        except (PhotoError, ValueError):
            continue
    return Camera()


def common_folder(entries: Sequence[Entry]) -> str:
    """The folder that all photos lie below, in words."""
    try:
        return os.path.commonpath([str(PurePosixPath(entry.row.input).parent) for entry in entries])
    except ValueError:  # none, or on several disks of Windows
        return ""
