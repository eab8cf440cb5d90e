"""Reading the photos of a calibration, in no more than their part of its time."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nsp_pipeline.atomic_file import remove, write_atomically
from nsp_pipeline.batch.listeners.words import duration
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.shared.say import say
from nsp_pipeline.cli.shared.training_folder import READ_FILE, cache_of
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.errors import UsageError

if TYPE_CHECKING:
    from nsp_pipeline.calibration.training.photos import PhotoSet

READING_SHARE = 0.25
"""Part of a time limit that reading photos may take. A photo that is being read then is read to its end."""

HEADERS_SHARE = 0.1
"""Part of it that it may take to find out which photos are of a camera and ISO."""

FEWEST = 3
"""Of fewer photos none can be kept out of training: so many are read even if that takes all of the time."""

Enough = Callable[[int, int], bool]


def read_photos(plan: Plan, files: Sequence[Path], this: Run) -> "PhotoSet":
    """Read the photos, or as many as there is time for; a training that is resumed gets those that it had.

    Raises UsageError where too few could be read.
    """
    from nsp_pipeline.calibration.student.own_noise import smallest_side
    from nsp_pipeline.calibration.student.suited import LEAST_CROP
    from nsp_pipeline.calibration.training.photos import load_photos

    settings = plan.student.settings if plan.student else plan.settings
    say(this.console, f"reading {len(files)} photos")

    def load(enough: Enough | None = None) -> "PhotoSet":
        return load_photos(
            files,
            smallest_side=smallest_side(min(LEAST_CROP, settings.crop)) if plan.student else settings.crop,
            memory=settings.memory,
            seed=settings.seed,
            cache=settings.cache,
            cache_folder=cache_of(this.folder),
            development=plan.development,
            enough=enough,
        )

    noted = this.folder / READ_FILE
    before = _noted(noted) if plan.resume else None
    if before is not None:
        return load(lambda read, _: read >= before)
    if plan.max_time is None:
        return load()
    photos = _in_time(load, plan.max_time, this)
    read = len(files) - photos.unread
    if photos.unread:
        _require_enough(plan, photos, len(files))
        spent = f"no more than {duration(READING_SHARE * plan.max_time)} of --max-time are for that"
        say(
            this.console,
            f"{read} of {len(files)} photos were read, from all parts of the list: {spent}",
            style="yellow",
        )
    if this.ranks.first:
        remove(noted)
        if photos.unread:
            write_atomically(noted, [json.dumps(read).encode()], "how many photos were read")
    return photos


def headers_by(plan: Plan) -> float | None:
    """When to be done with asking photos which camera and ISO they are of; None without a time limit."""
    return _by(plan, HEADERS_SHARE)


def reading_by(plan: Plan) -> float | None:
    """The same for whatever reads whole photos before it is settled which are calibrated together."""
    return _by(plan, READING_SHARE)


def _by(plan: Plan, share: float) -> float | None:
    return None if plan.max_time is None or plan.since is None else plan.since + share * plan.max_time


def _in_time(load: "Callable[[Enough], PhotoSet]", most: float, this: Run) -> "PhotoSet":
    """Read for a part of the time; of several processes the first has the clock, and the others read as many."""
    tried = 0

    def late(read: int, serve: int) -> bool:
        nonlocal tried
        tried = read
        passed = time.monotonic() - this.begun
        return passed > most or (passed > READING_SHARE * most and serve >= FEWEST)

    if this.ranks.first:
        photos = load(late)
    count = this.ranks.first_says(tried)
    return photos if this.ranks.first else load(lambda read, serve: read >= count)


def _require_enough(plan: Plan, photos: "PhotoSet", total: int) -> None:
    serve = len(photos.training) + len(photos.held_out)
    if serve < FEWEST and plan.max_time is not None:
        raise UsageError(
            f"in {duration(plan.max_time)} only {serve} of {total} photos could be read, and {FEWEST} are needed: give "
            "more time with --max-time, or copy some photos to a faster disk"
        )


def _noted(path: Path) -> int | None:
    """How many photos a training had that had no time for all; None where it had all."""
    try:
        return int(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
