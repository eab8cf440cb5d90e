"""What a calibration that was cut off has left of a group, and whether the next one can go on from it."""

from pathlib import Path

from nsp_pipeline import __version__
from nsp_pipeline.atomic_file import remove
from nsp_pipeline.calibration.night.candidates import Candidate
from nsp_pipeline.calibration.night.memory import (
    LOCK_FILE,
    RECORD_FILE,
    Outcome,
    Record,
    fingerprint,
    place_of,
    recall,
)
from nsp_pipeline.cli.shared.training_folder import folder_of
from nsp_pipeline.profiles.bundle import BUNDLE_SUFFIX

CHECKPOINT_FILE = "checkpoint.pt"


def target_of(candidate: Candidate) -> Path:
    """Where the training of a group writes its profile, before that is kept."""
    return place_of(candidate.key) / f"{candidate.group.slug}{BUNDLE_SUFFIX}"


def checkpoints(candidate: Candidate) -> list[Path]:
    """The checkpoints that a training of a group, or one of its stages, has left; asked without PyTorch."""
    return list(folder_of(target_of(candidate)).rglob(CHECKPOINT_FILE))


def goes_on(candidate: Candidate) -> bool:
    """Whether a calibration of these very photos was cut off and left something to go on from."""
    record = recall(place_of(candidate.key))
    if record is None or not is_of(record, candidate):
        return False
    return target_of(candidate).exists() or bool(checkpoints(candidate))


def is_of(record: Record, candidate: Candidate) -> bool:
    """Whether a record is of a calibration of these photos, by this version, that may have been cut off.

    What knows the camera's noise is remembered before it is kept, so that it may have been cut off in between.
    """
    if record.outcome not in (Outcome.CUT_OFF, Outcome.NOISE) or record.version != __version__:
        return False
    return record.files == fingerprint(candidate.group.paths)


def clear(place: Path) -> None:
    """Remove what earlier calibrations of a group left, but for its lock and record."""
    for entry in place.iterdir():
        if entry.name not in (LOCK_FILE, RECORD_FILE):
            remove(entry)
