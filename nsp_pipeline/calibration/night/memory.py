"""What is remembered of a group's calibration from one run to the next, beside the user's profiles.

Each group has a folder of its own, hidden among the profiles: its record, its lock, and what a training that was cut
off left to go on from.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Self

from nsp_pipeline import __version__
from nsp_pipeline.atomic_file import remove, write_atomically
from nsp_pipeline.calibration.archive.verdict import time_in_words
from nsp_pipeline.calibration.night.candidates import Candidate
from nsp_pipeline.errors import OutputError, ProfileError
from nsp_pipeline.file_lock import try_lock
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX, Profile, load_profile
from nsp_pipeline.profiles.choose import user_folder

FOLDER = ".calibration"
RECORD_FILE, LOCK_FILE = "record.json", "lock"

AGAIN = 2
"""What gained nothing is tried again with so many times the photos, or the time."""


class Outcome(StrEnum):
    """What came of a group's calibration in a run."""

    KEPT = "kept"
    """It beat the built-in profile, and its own lies among the user's."""
    NOISE = "noise known"
    """No weights gained; a profile with those that ship and the camera's noise lies among the user's."""
    NO_GAIN = "gained nothing"
    FAILED = "failed"
    CUT_OFF = "cut off"
    """It goes on in the next run."""
    BUSY = "busy"
    """Another run calibrates this group."""
    NO_TIME = "no time"


@dataclass(frozen=True)
class NoiseProfile:
    """A profile that a night kept for what it knows of the camera's noise: by name and hash, as names may be reused."""

    name: str
    sha256: str

    @classmethod
    def of(cls, profile: Profile, name: str) -> Self:
        """A profile under the name that it has among the user's."""
        return cls(name, profile.sha256)

    @property
    def path(self) -> Path:
        """Where it was put."""
        return user_folder() / f"{self.name}{BUNDLE_SUFFIX}"

    def found(self) -> Profile | None:
        """The profile, if it still lies there whole: the user may have deleted it, or put another one in its place."""
        try:
            profile = load_profile(self.path)
        except ProfileError:
            return None
        return profile if profile.sha256 == self.sha256 else None


@dataclass(frozen=True)
class Record:
    """What came of a group's calibration, unless weights gained: their profile needs no record."""

    outcome: Outcome
    reason: str
    photos: int
    iso: tuple[int, int]
    seconds: float
    """How long it was allowed to take."""
    files: str
    """Which photos they were (see fingerprint)."""
    version: str = __version__
    noise: NoiseProfile | None = None
    """The profile that was kept for the camera's noise, by this calibration or one before it."""

    @property
    def serving(self) -> str | None:
        """Name of the profile that knows the camera's noise, if there is one still."""
        return self.noise.name if self.noise and self.noise.found() else None


def calibration_folder() -> Path:
    """Where all groups' folders lie."""
    return user_folder() / FOLDER


def place_of(key: str) -> Path:
    """The folder of a group."""
    return calibration_folder() / key


def recall(place: Path) -> Record | None:
    """Read the record of a group; None where there is none that can be read."""
    try:
        fields = json.loads((place / RECORD_FILE).read_text(encoding="utf-8"))
        low, high = fields.pop("iso")
        noise = NoiseProfile(**noise) if (noise := fields.pop("noise", None)) else None
        return Record(**{**fields, "outcome": Outcome(fields["outcome"]), "iso": (int(low), int(high)), "noise": noise})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def recall_of(candidate: Candidate) -> Record | None:
    """The record of a candidate: its own, or that of another one of its camera whose ISO are among these.

    Candidates of a camera are numbered by ISO, and a profile that fits some photos moves the others up.
    """
    if own := recall(place_of(candidate.key)):
        return own
    assert candidate.group.iso
    low, high = candidate.group.iso
    camera = candidate.key.rpartition("-")[0]
    for place in sorted(calibration_folder().glob(f"{camera}-*")):
        record = recall(place)
        if record and low <= record.iso[0] and record.iso[1] <= high:
            return record
    return None


def remember(place: Path, record: Record) -> None:
    """Write the record of a group; raises OutputError."""
    write_atomically(place / RECORD_FILE, [json.dumps(asdict(record)).encode()], "what came of the calibration")


def forget(place: Path) -> None:
    """Remove the record of a group."""
    remove(place / RECORD_FILE)


def noise_profiles() -> frozenset[NoiseProfile]:
    """All that nights have kept for the noise of cameras: they settle nothing about weights."""
    records = (recall(place) for place in calibration_folder().glob("*"))
    return frozenset(record.noise for record in records if record and record.noise)


def fingerprint(paths: Sequence[Path]) -> str:
    """Say in short which photos these are, and whether one has changed."""
    digest = sha256()
    for path in sorted(paths):
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def settled(candidate: Candidate, seconds: float) -> str | None:
    """Say why a group is not calibrated again, by what is remembered of it; None where it may be.

    What failed fails again with the same photos. What gained nothing may gain with more photos or more time, at another
    ISO, or by another version. A profile that was kept for the camera's noise makes no difference, and where the user
    has deleted it, it comes again with the next try, and not before.
    """
    record = recall_of(candidate)
    group = candidate.group
    assert group.iso
    if record is None or record.version != __version__:
        return None
    if record.outcome is Outcome.FAILED and record.files == fingerprint(group.paths):
        return f"it failed with these photos before: {record.reason}"
    if record.outcome not in (Outcome.NO_GAIN, Outcome.NOISE):
        return None
    if record.outcome is Outcome.NOISE and _waits_to_be_kept(place_of(candidate.key)):
        return None
    more = len(group.paths) >= AGAIN * record.photos or seconds >= AGAIN * record.seconds
    if more or group.iso[0] < record.iso[0] / AGAIN or group.iso[1] > record.iso[1] * AGAIN:
        return None
    serving = record.serving
    known = f"profile {serving} stays, the weights that ship and the camera's noise"
    stays = known if serving else "the built-in profile stays"
    return (
        f"it gained nothing before, so {stays} ({record.reason}); it is tried again with {AGAIN * record.photos} "
        f"photos, or {time_in_words(AGAIN * record.seconds)} for them"
    )


def _waits_to_be_kept(place: Path) -> bool:
    """Whether a finished profile lies there still, as a run was killed just when it would have kept it."""
    return any(place.glob(f"*{BUNDLE_SUFFIX}"))


@contextmanager
def held(place: Path) -> Iterator[bool]:
    """Hold the lock of a group; gives False where another process has it. Raises OutputError.

    The system lets go of it when a process dies. On a disk that knows no locks, it is had for the asking.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{place}: calibrations cannot be kept there: {error.strerror or error}") from error
    try:
        try:
            mine = try_lock(descriptor, 0, 1)
        except OSError:
            mine = True
        yield mine
    finally:
        os.close(descriptor)
