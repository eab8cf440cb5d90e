"""Which places of a photo say the most about how it was denoised: a flat, a textured and a coloured one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.denoise.crops import Crop

CELL = 8
"""Pixels of a CELL×CELL square are one number: noise averages out, texture and edges stay."""

DARK, BRIGHT = 0.08, 0.85
"""Flat places outside are taken only where there are no others: in black and white noise is cut off."""

STEPS = 4
"""A place moves by this part of its side."""


@dataclass(frozen=True)
class Place:
    """A named part of a photo."""

    name: str
    crop: Crop


def choose_places(pixels: NDArray[Any], width: int, height: int) -> list[Place]:
    """Choose three places of a photo that do not overlap, in that order: flat, textured, coloured.

    Fewer where there is no room for three, and at least one; none is larger than the photo.

    Args:
        pixels: (H, W, C) as a network sees them.
        width, height: of a place, in pixels.
    """
    width, height = min(width, pixels.shape[1]), min(height, pixels.shape[0])
    cells = _cells(pixels)
    if min(cells.shape[:2]) < 3:
        return [Place("middle", _middle(pixels, width, height))]
    grey = cells.mean(2)
    rough = np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])
    rough = np.pad(rough, 1, mode="edge")
    colour = cells.max(2) - cells.min(2)
    across, down = max(1, min(width // CELL, grey.shape[1])), max(1, min(height // CELL, grey.shape[0]))
    # A root, so that much texture counts for more than one strong edge.
    roughness, texture, colourful, brightness = (
        _window_means(values, down, across) for values in (rough, np.sqrt(rough), colour, grey)
    )
    fit = (brightness > DARK) & (brightness < BRIGHT)
    scores = {
        "flat": np.where(fit, -roughness, -roughness - 10),
        "textured": texture,
        "coloured": np.where(fit, colourful, colourful - 10),
    }
    return _apart(scores, (width, height), pixels.shape[:2])


def place_at(x: int, y: int, size: tuple[int, int], width: int, height: int) -> Place:
    """The place around a pixel of a picture of `size` (height, width), moved into it at its border."""
    width, height = min(width, size[1]), min(height, size[0])
    left, top = min(max(0, x - width // 2), size[1] - width), min(max(0, y - height // 2), size[0] - height)
    return Place(f"{x},{y}", Crop(left, top, width, height))


def _middle(pixels: NDArray[Any], width: int, height: int) -> Crop:
    return place_at(pixels.shape[1] // 2, pixels.shape[0] // 2, pixels.shape[:2], width, height).crop


def _cells(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Means of squares, (H // CELL, W // CELL, C), of every second pixel down and across: a quarter says as much."""
    half = CELL // 2
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    some = pixels[: rows * CELL : 2, : columns * CELL : 2]
    means = np.empty((rows, columns, some.shape[2]), np.float32)
    for row in range(rows):
        band = to_unit(some[row * half : (row + 1) * half])
        means[row] = band.mean(0).reshape(columns, half, some.shape[2]).mean(1)
    return means


def _window_means(values: NDArray[np.float32], down: int, across: int) -> NDArray[np.float64]:
    """Means over all windows of down×across: (H - down + 1, W - across + 1)."""
    sums = np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    return np.asarray(total / (down * across))


def _apart(scores: dict[str, NDArray[np.float64]], side: tuple[int, int], size: tuple[int, int]) -> list[Place]:
    """The best place by each score, those that overlap one chosen before left out."""
    width, height = side
    chosen: list[Place] = []
    for name, score in scores.items():
        step_down, step_across = max(1, height // CELL // STEPS), max(1, width // CELL // STEPS)
        rows = sorted({*range(0, score.shape[0], step_down), score.shape[0] - 1})
        columns = sorted({*range(0, score.shape[1], step_across), score.shape[1] - 1})
        ranked = sorted((-score[row, column], row, column) for row in rows for column in columns)
        for _, row, column in ranked:
            left, top = min(column * CELL, size[1] - width), min(row * CELL, size[0] - height)
            crop = Crop(left, top, width, height)
            if not any(_overlap(crop, place.crop) for place in chosen):
                chosen.append(Place(name, crop))
                break
    return chosen


def _overlap(one: Crop, other: Crop) -> bool:
    return abs(one.left - other.left) < min(one.width, other.width) and abs(one.top - other.top) < min(
        one.height, other.height
    )
