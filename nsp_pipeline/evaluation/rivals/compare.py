"""Several denoisers on the same pairs: scores, time, and crops side by side at 100 %."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from nsp_pipeline.errors import UsageError
from nsp_pipeline.evaluation.measure import NoisyAndClean, Score, mean, require_aligned, score
from nsp_pipeline.evaluation.metrics import to_eight_bit
from nsp_pipeline.evaluation.rivals.candidates import Rival, best, timed
from nsp_pipeline.evaluation.rivals.programs import Picture

CROP = 256
TELLING = 0.9
"""Of all crops of a photo sorted by detail, the one shown stands here: busy, but not the one hard edge."""

GAP, CAPTION = 4, 16


@dataclass(frozen=True)
class Compared:
    """A denoiser at its best setting: mean score, seconds a megapixel, and its crop of each pair (H, W, 3)."""

    name: str
    setting: str
    score: Score
    seconds_per_megapixel: float
    crops: tuple[Picture, ...]


@dataclass
class _Tally:
    scores: list[Score]
    pace: list[float]
    crops: list[Picture]


def compare(
    pairs: Sequence[NoisyAndClean],
    contenders: Sequence[Rival],
    on_run: Callable[[int, int], None] = lambda done, total: None,
) -> list[Compared]:
    """Run every contender with every setting on every pair, as 8-bit RGB; noisy first, clean last.

    Args:
        on_run: called with (runs done, runs in all).

    Raises:
        PhotoError: a photo cannot be read.
        UsageError: the photos of a pair do not fit each other, or are grey.
    """
    tallies = [[_Tally([], [], []) for _ in rival.variants] for rival in contenders]
    untouched, truths = _Tally([], [], []), []
    total = len(pairs) * sum(len(rival.variants) for rival in contenders)
    done = 0
    on_run(done, total)
    for pair in pairs:
        noisy, clean = pair.load()
        require_aligned(pair, noisy, clean, 1)
        if noisy.shape[2] != 3:
            raise UsageError(f"{pair}: grey; the denoisers are compared on colour photos")
        before, truth = to_eight_bit(noisy), to_eight_bit(clean)
        place = telling_crop(truth)
        truths.append(truth[place].copy())
        _count(untouched, before, truth, 0.0, place)
        for rival, columns in zip(contenders, tallies, strict=True):
            for variant, tally in zip(rival.variants, columns, strict=True):
                after, seconds = timed(variant.on(pair), before)
                _count(tally, after, truth, seconds, place)
                done += 1
                on_run(done, total)
    rows = [_row("noisy", "", untouched)]
    for rival, columns in zip(contenders, tallies, strict=True):
        winner = best([mean(tally.scores).psnr for tally in columns])
        rows.append(_row(rival.name, rival.variants[winner].setting, columns[winner]))
    perfect = Score(float("inf"), 1.0)
    return [*rows, Compared("clean", "", perfect, 0.0, tuple(truths))]


def telling_crop(picture: Picture, side: int = CROP) -> tuple[slice, slice]:
    """Return the square with more detail than most, which is worth looking at; smaller if the picture is."""
    height, width = (min(side, length) for length in picture.shape[:2])
    grey = picture.astype(np.float32).mean(2)
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, picture.shape[0] - height + 1, height)
        for left in range(0, picture.shape[1] - width + 1, width)
    ]
    places.sort(key=lambda place: float(np.abs(np.diff(grey[place], axis=1)).mean()))
    return places[int(TELLING * (len(places) - 1))]


def contact_sheet(compared: Sequence[Compared]) -> Image.Image:
    """Crops at 100 %: a row for each pair, a column for each denoiser, its name above."""
    crops = [column.crops for column in compared]
    width = max(crop.shape[1] for column in crops for crop in column) + GAP
    heights = [crop.shape[0] + GAP for crop in crops[0]]
    sheet = Image.new("RGB", (width * len(crops) - GAP, CAPTION + sum(heights) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for across, column in enumerate(compared):
        pen.text((across * width, 2), f"{column.name} {column.setting}".strip(), fill="black")
        down = CAPTION
        for crop, height in zip(column.crops, heights, strict=True):
            sheet.paste(Image.fromarray(crop), (across * width, down))
            down += height
    return sheet


def _count(tally: _Tally, picture: Picture, truth: Picture, seconds: float, place: tuple[slice, slice]) -> None:
    tally.scores.append(score(picture, truth))
    tally.pace.append(seconds / (truth.shape[0] * truth.shape[1] / 1e6))
    tally.crops.append(picture[place].copy())


def _row(name: str, setting: str, tally: _Tally) -> Compared:
    pace = float(np.mean(np.array(tally.pace, dtype=np.float64)))
    return Compared(name, setting, mean(tally.scores), pace, tuple(tally.crops))
