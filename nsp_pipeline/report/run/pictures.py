"""What was taken out of a photo, at the place where it was most: before, after, and the difference, amplified."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.output.up_to_date import stamp
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.denoise.crops import Crop
from nsp_pipeline.errors import PhotoError, UsageError
from nsp_pipeline.file_names import from_printable
from nsp_pipeline.frames.development import COLOUR_SPACES, DEVELOPED, Development
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.report.picture import Screen, jpeg
from nsp_pipeline.report.run.entries import Entry
from nsp_pipeline.report.upright import turn_of

WIDTH, HEIGHT = 320, 240
STEP = 8
"""Places are compared by means over squares of so many pixels."""
AMPLIFIED = 6
QUALITY, QUALITY_REMOVED = 86, 70
GREY = 128


@dataclass(frozen=True)
class Pictures:
    """JPEGs of one place of a photo: as it was, as it is now, and what was removed, around grey and AMPLIFIED times."""

    before: bytes
    after: bytes
    removed: bytes
    width: int
    height: int


@dataclass(frozen=True)
class PictureLimits:
    """How many photos get pictures at most, and for how many seconds they are made."""

    photos: int = 300
    seconds: float = 20.0


def make_pictures(
    root: Path,
    entries: Sequence[Entry],
    settings: Mapping[str, str],
    limits: PictureLimits,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Pictures]:
    """Make pictures of photos that are finished, by output; of each camera and ISO in turn those of most noise first.

    Photos whose original or result is gone or changed since have none.

    Args:
        settings: see Manifest.settings_in_words.
        on_progress: called with (photos looked at, photos to look at).
    """
    ends = time.monotonic() + limits.seconds
    wanted = _in_turn(entries)[: limits.photos]
    made = {}
    for number, entry in enumerate(wanted, 1):
        if time.monotonic() > ends:
            break
        if pictures := pictures_of(root, entry.row, settings.get(entry.row.settings or "")):
            made[entry.row.output] = pictures
        on_progress(number, len(wanted))
    return made


def pictures_of(root: Path, row: Row, settings: str | None) -> Pictures | None:
    """Pictures of one photo; None where it cannot be compared with its original any more."""
    source, result = Path(from_printable(row.input)), root / from_printable(row.output)
    if not (_as_recorded(source, row.input_size, row.input_mtime_ns) and _as_recorded(result, row.output_size, None)):
        return None
    try:
        development = _development(settings)
        before = read_frame(source, keep_damaged=True, development=development)
        after = read_frame(result, keep_damaged=True)
    except (PhotoError, UsageError):
        return None
    scale = after.pixels.shape[0] // max(1, before.pixels.shape[0])
    first, second = _upright(before), _upright(after)
    if scale not in (1, 2) or second.shape[:2] != (first.shape[0] * scale, first.shape[1] * scale):
        return None
    place = _where_most(first, second, scale)
    large = Crop(*(scale * side for side in (place.left, place.top, place.width, place.height)))
    shown = Screen(before).shown(place.of(first)), Screen(after).shown(large.of(second))
    return _encoded(*shown)


def _in_turn(entries: Sequence[Entry]) -> list[Entry]:
    groups: dict[tuple[str, int | None], list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: -entry.removed):
        if entry.row.status == Status.DONE:
            groups[entry.camera, entry.iso].append(entry)
    return [entry for turn in zip_longest(*groups.values()) for entry in turn if entry]


def _as_recorded(path: Path, size: int | None, mtime_ns: int | None) -> bool:
    present = stamp(path)
    return present is not None and present.size == size and mtime_ns in (None, present.mtime_ns)


def _development(settings: str | None) -> Development:
    """How RAW was developed, by settings in words; what was not developed yet, as usual."""
    stated = json.loads(settings or "{}").get("development") or {}
    known = {name: stated[name] for name in vars(DEVELOPED) if name in stated}
    return Development(**known) if stated.get("colour_space") in COLOUR_SPACES else DEVELOPED


def _upright(frame: Frame) -> NDArray[Any]:
    return turn_of(frame.metadata, frame.pixels).of(frame.pixels)


def _where_most(before: NDArray[Any], after: NDArray[Any], scale: int) -> Crop:
    """The place at which the two differ most, in pixels of the first."""
    height, width = before.shape[:2]
    place = Crop(0, 0, min(WIDTH, width), min(HEIGHT, height))
    rows, columns = height // STEP, width // STEP
    down, across = place.height // STEP, place.width // STEP
    if not (down and across):
        return place
    sums = np.zeros((rows + 1, columns + 1))
    for row in range(rows):
        # Every second pixel of every second line says as much.
        lines = slice(row * STEP, (row + 1) * STEP, 2)
        one = to_unit(before[lines, : columns * STEP : 2]).mean(2)
        other = to_unit(after[lines.start * scale : lines.stop * scale : 2 * scale, :: 2 * scale]).mean(2)
        change = np.abs(one - other[:, : one.shape[1]]).mean(0).reshape(columns, STEP // 2).mean(1)
        sums[row + 1, 1:] = sums[row, 1:] + change.cumsum()
    windows = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    top, left = divmod(int(windows.argmax()), windows.shape[1])
    return Crop(left * STEP, top * STEP, place.width, place.height)


def _encoded(before: Image.Image, after: Image.Image) -> Pictures:
    if before.size != after.size:
        before = before.resize(after.size, Image.Resampling.BICUBIC)
    change = np.asarray(before, np.int16) - np.asarray(after, np.int16)
    removed = Image.fromarray(np.clip(GREY + AMPLIFIED * change, 0, 255).astype(np.uint8))
    return Pictures(jpeg(before, QUALITY), jpeg(after, QUALITY), jpeg(removed, QUALITY_REMOVED), *after.size)
