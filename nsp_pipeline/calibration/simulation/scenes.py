"""Clean scenes for simulated cameras: photographs shrunk until neither their grain nor their JPEG blocks show."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import PATCH

CLEAN_BELOW, STILL_CLEAN = 0.9, 1.3
"""The flattest patches of a clean photo vary by no more, in 8-bit steps; what is above the second at FACTORS' end is
not used."""

FALLING = 0.87
"""Averaging more pixels takes noise away, but not texture: what falls to more than this is texture."""

FACTORS = (2, 3, 4)
FLATTEST = 0.02
GREYS = 0.08, 0.85


def clean_scene(pixels: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """Shrink a photo (H, W, 3) by 2 by area averaging, by up to 4 where it still shows noise; None where even then."""
    image = Image.fromarray(np.asarray(from_unit(to_unit(pixels), np.dtype(np.uint8))))
    small, least = np.array(image.reduce(FACTORS[0])), np.inf
    for factor in FACTORS:
        smaller = np.array(image.reduce(factor))
        left = _flattest(smaller)
        if left > FALLING * least:
            return small
        small, least = smaller, left
        if left < CLEAN_BELOW:
            return small
    return small if least < STILL_CLEAN else None


def _flattest(image: NDArray[np.uint8]) -> float:
    """Standard deviation of grey in the flattest patches of a picture that are neither black nor white, 8-bit steps."""
    rows, columns = (side // PATCH for side in image.shape[:2])
    grey = to_unit(image[: rows * PATCH, : columns * PATCH]).mean(2)
    patches = grey.reshape(rows, PATCH, columns, PATCH).transpose(0, 2, 1, 3).reshape(-1, PATCH, PATCH)
    mean = patches.mean((1, 2))
    seen = patches[(mean > GREYS[0]) & (mean < GREYS[1])]
    if not len(seen):
        return 0.0
    down, across = (np.linspace(-1, 1, PATCH, dtype=np.float32).reshape(shape) for shape in ((-1, 1), (1, -1)))
    flat = seen - seen.mean((1, 2), keepdims=True)
    for ramp in (down, across):
        flat = flat - ramp * ((flat * ramp).mean((1, 2), keepdims=True) / (ramp**2).mean())
    return float(np.quantile(flat.std((1, 2)), FLATTEST)) * 255


class Scenes:
    """Cuts crops of clean scenes: at their own size or at half of it, turned and mirrored."""

    def __init__(
        self, images: Sequence[NDArray[np.uint8]], weights: Sequence[float], *, at_full_size: bool = False
    ) -> None:
        """Hold (H, W, 3) images, each drawn as often as its weight and the root of its area say.

        Args:
            at_full_size: no crop is shrunk.
        """
        self._images, self._factors = images, 1 if at_full_size else 2
        often = np.array(weights) * np.sqrt([image.shape[0] * image.shape[1] for image in images])
        self._weights = often / often.sum()

    def draw(self, side: int, rng: np.random.Generator) -> torch.Tensor:
        """A crop (1, 3, side, side) in 0..1; smaller images are reflected at their edges."""
        image = self._images[int(rng.choice(len(self._images), p=self._weights))]
        factor = int(rng.integers(1, self._factors + 1))
        while factor > 1 and min(image.shape[:2]) < factor * side:
            factor -= 1
        wide = factor * side
        rows, columns = (_window(length, wide, rng) for length in image.shape[:2])
        crop = torch.from_numpy(image[np.ix_(rows, columns)]).permute(2, 0, 1)[None].float() / 255
        if factor > 1:
            crop = torch.nn.functional.avg_pool2d(crop, factor)
        crop = torch.rot90(crop, int(rng.integers(4)), (2, 3))
        return crop.flip(3) if rng.integers(2) else crop


def _window(length: int, side: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Places of a window of `side` in `length` pixels, reflected where it is longer."""
    start = int(rng.integers(max(0, length - side) + 1))
    places = np.abs(np.arange(start, start + side))
    return np.asarray(length - 1 - np.abs(length - 1 - places % (2 * length - 2)), dtype=np.intp)
