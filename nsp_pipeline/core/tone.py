"""Between stored values and those a network should see: light and values beyond white, brought to a perceptual 0..1.

Noise that is even to the eye is not so in linear light, where shadows take a small part of the range; networks are
trained on photos as they are looked at. So light is denoised on sRGB's curve, and brought back. Where floating-point
values lie beyond white, the curve goes on above 1 as a logarithm with the same slope:

    seen = curve(stored) / T                  up to white,
    seen = (1 + m·ln(stored)) / T             above, with m the curve's slope at white and T = 1 + m·ln(peak).

Values above the peak or below the floor, which are rare, come back as they were. Only differences are brought back:
what the network leaves alone keeps its very value, and so does by how much a value lies below 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.machine.disk_array import beside, let_go

KNOTS = 4097
TOP = 65535
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Tone:
    """A rising curve: `stored` (KNOTS,) are the stored values, integers as 0..1, of equal steps of seen values 0..1."""

    stored: NDArray[np.float64]
    floor: float = 0.0

    def seen(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Pixels for a network: uint16 of integers, float32 in 0..1 of floats; any shape."""
        if pixels.dtype.kind != "f":
            top = np.iinfo(pixels.dtype).max
            table = np.rint(TOP * np.interp(np.arange(top + 1) / top, self.stored, _grid())).astype(np.uint16)
            seen = beside(pixels)(pixels.shape, np.uint16)
            for rows in _bands(pixels):
                seen[rows] = table[pixels[rows]]
                let_go(pixels, seen)
            return seen
        seen = beside(pixels)(pixels.shape, np.float32)
        for rows in _bands(pixels):
            seen[rows] = np.interp(pixels[rows], self.stored, _grid())
            let_go(pixels, seen)
        return seen

    def back(self, pixels: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
        """Stored values of what a network made.

        Args:
            pixels: the photo as stored, (H, W, C).
            before: what the network saw of it.
            after: what came of that; of the same type, at any size.

        Returns:
            Pixels of the photo's type, at the size of `after`.
        """
        stored = beside(after)(after.shape, pixels.dtype)
        for rows in _bands(after):
            values = self._light(after[rows])
            if after.shape == before.shape:
                own = pixels[rows].astype(np.float64)
                if pixels.dtype.kind != "f":
                    own /= np.iinfo(pixels.dtype).max
                values = own + (values - self._light(before[rows]))
                values = np.where((own > self.stored[-1]) | (own < self.floor), own, values)
            if pixels.dtype.kind != "f":
                top = np.iinfo(pixels.dtype).max
                values = np.clip(np.rint(values * top), 0, top)
            stored[rows] = values
            let_go(pixels, before, after, stored)
        return stored

    def _light(self, seen: NDArray[Any]) -> NDArray[np.float64]:
        if seen.dtype.kind != "f":
            return np.asarray(np.interp(np.arange(TOP + 1) / TOP, _grid(), self.stored)[seen])
        place = np.clip(seen, 0, 1).astype(np.float64) * (KNOTS - 1)
        below = np.minimum(place.astype(np.intp), KNOTS - 2)
        return np.asarray(self.stored[below] + (place - below) * (self.stored[below + 1] - self.stored[below]))


def tone_of(curve: NDArray[np.float64], peak: float = 1.0, floor: float = 0.0) -> Tone:
    """Return the tone of a curve continued up to a peak.

    Args:
        curve: (KNOTS,) stored values of equal steps of what is to be seen, from 0 to 1.
        peak, floor: values above and below come back as they were; 1 or more, 0 or less.
    """
    if peak <= 1:
        return Tone(curve, floor)
    slope = 1 / ((KNOTS - 1) * (curve[-1] - curve[-2]))
    whole = 1 + slope * np.log(peak)
    wanted = _grid() * whole
    above = np.exp((np.maximum(wanted, 1) - 1) / slope)
    return Tone(np.where(wanted <= 1, np.interp(wanted, _grid(), curve), above), floor)


def _grid() -> NDArray[np.float64]:
    return np.linspace(0, 1, KNOTS)


def _bands(pixels: NDArray[Any]) -> list[slice]:
    return [slice(top, top + ROWS_AT_ONCE) for top in range(0, len(pixels), ROWS_AT_ONCE)]
