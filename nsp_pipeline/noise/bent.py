"""Whether a tone curve has bent a photo's noise, seen from how the noise of its flat places leans."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.bent_noise import NODES, brightening, lean
from nsp_pipeline.core.blend import box_mean
from nsp_pipeline.core.noise import NoiseLevel

LEAST = 0.3 / 255
"""A photo that would be brightened by less on average stays as it is."""

RADIUS, SIDE = 4, 16
"""The noise is what differs from the mean over (2·4 + 1)² pixels; it is looked at in blocks of 16."""

CALMEST, FLATTEST = 0.2, 1.3
"""Flat are blocks whose variance is so many times what the estimate says of their brightness."""

FEWEST, ENOUGH = 30, 45
"""Flat blocks, counted in every channel, that it takes to tell, and to do all that they tell: of 256 pixels each, whose
skewness is off by 0.15, 45 tell the share that noise leans within about 0.05."""

UNBENT, BENT = 0.15, 0.3
"""How far the noise must lean, as a share of what sRGB's curve does to Gaussian noise. Light comes in portions, which
lean to the bright, so that 0.4 to 1.1 of it is left in a sensor's noise; what was put on later has 0.07 at most."""

ASTRAY, TOO_FAR = 1.3, 1.6
"""What leans farther is no noise but texture: hairs, or cracks in the dark."""

COLOURED = 0.25
"""A sensor's noise is nearly as strong in colour as in grey; what is less than this share of it may be texture."""

HARDLY = -0.1
"""Blocks that would lean less than this tell nothing."""

TINIEST = 1e-12
"""Of variances in 0..1: what is divided by, at least."""

BLACK, CUT_OFF = 1.5 / 255, 0.02
"""Noise is cut off at black where more samples than this share are as dark."""

LESS, TELLING = 0.39, 0.08
"""Where a share b of the samples is black, noise leans only 1 - LESS log(b / CUT_OFF) as far as the curve alone would
have it: Gaussian noise does, within 0.1, of 0.01 to 0.04 in the light where white is 1. Blocks with a share up to
TELLING tell whether noise is bent, and count by the square of what is left to lean, as in least squares."""

UPRIGHT, DARK = -0.15, np.linspace(0, 0.2, 5)
"""Noise that is cut off leans to the bright, and its mean comes out brighter. Near these brightnesses, where it leans
so by UPRIGHT times what the curve does, nothing is changed, and what the curve does is undone where it is even."""


@dataclass(frozen=True)
class _Flat:
    """Flat blocks, one channel each: brightness, the skewness seen and foreseen, and the share of black; (N,) each.

    `uneven` (C,) is the variance of each channel in all of them, in parts of what is estimated of its brightness.
    """

    brightness: NDArray[np.float64]
    seen: NDArray[np.float64]
    foreseen: NDArray[np.float64]
    black: NDArray[np.float64]
    uneven: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seen)

    def only(self, chosen: NDArray[np.bool_]) -> "_Flat":
        return replace(
            self,
            brightness=self.brightness[chosen],
            seen=self.seen[chosen],
            foreseen=self.foreseen[chosen],
            black=self.black[chosen],
        )

    def leaning(self) -> tuple[float, float]:
        """How far the blocks lean as a share of what is foreseen, by least squares, and its standard error."""
        power = float((self.foreseen**2).sum())
        share = float((self.seen * self.foreseen).sum()) / power
        left = (self.seen - share * self.foreseen) * self.foreseen
        return share, float(np.sqrt((left**2).sum())) / power


def brightening_of(windows: NDArray[np.float32], noise: NoiseLevel) -> NDArray[np.float32] | None:
    """By how much each brightness is too dark because a tone curve has bent the noise: (1 + 3, NODES) in 0..1.

    First as if the noise were as strong in every channel, then of red, green and blue: white balance makes that of some
    stronger, and the mean is too dark by its variance. None where that is next to nothing, or nothing speaks for a
    curve.

    Args:
        windows: (N, 3, h, w) in 0..1, of the photo, N of at least 1, sides of SIDE + 2·RADIUS and more.
        noise: what was estimated of it, with the photo's share of each brightness.
    """
    places = np.linspace(0, 1, NODES)
    variance = np.interp(places, noise.brightness, noise.variance.mean(1))
    change = brightening(np.sqrt(variance))
    if np.average(np.interp(noise.brightness, places, change), weights=noise.share) < LEAST:
        return None
    grey, _, colour, _ = noise.table[0].sum(1)
    if colour < COLOURED * grey:
        return None
    flat = _flat_of(windows, noise)
    left = _left_to_lean(flat.black)
    telling = (flat.black < TELLING) & (flat.foreseen * left < HARDLY)
    enough = float((left[telling] ** 2).sum())
    if enough <= FEWEST:
        return None
    share, error = replace(flat, foreseen=flat.foreseen * left).only(telling).leaning()
    certain = _ramp(share - 2 * error, UNBENT, BENT) * (1 - _ramp(share, ASTRAY, TOO_FAR))
    # Not all or nothing: frames of one series may lie on both sides of FEWEST.
    certain *= _ramp(enough, FEWEST, ENOUGH)
    if not certain:
        return None
    changes = [change, *(brightening(np.sqrt(times * variance)) for times in flat.uneven)]
    return np.asarray(certain * _uncut(flat, places) * np.array(changes), dtype=np.float32)


def _uncut(flat: _Flat, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of the brightening where noise is cut off at black, 0..1 at each place."""
    shares, share = [], 1.0
    for dark in DARK[::-1]:
        near = flat.only((np.abs(flat.brightness - dark) <= DARK[1]) & (flat.black >= CUT_OFF) & (flat.foreseen < 0))
        # Where too little is flat, it is as where it is a little brighter.
        share = _ramp(near.leaning()[0], UPRIGHT, 0) if len(near) >= FEWEST else share
        shares.append(share)
    return np.interp(places, DARK, shares[::-1])


def _left_to_lean(black: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of the lean where so large a share of the samples is black."""
    return np.asarray(1 - LESS * np.log(np.maximum(black, CUT_OFF) / CUT_OFF), dtype=np.float64)


def _flat_of(windows: NDArray[np.float32], noise: NoiseLevel) -> _Flat:
    """The flat blocks of windows."""
    inner = slice(RADIUS, -RADIUS)
    # All of them in one column, whose borders are left out.
    means = box_mean(windows.reshape(-1, windows.shape[3]), RADIUS).reshape(windows.shape)[..., inner, inner]
    pixels = windows[..., inner, inner]
    difference, mean, black = (_blocks(values) for values in (pixels - means, means, pixels <= BLACK))
    squared = difference**2
    variance, brightness = squared.mean(2), mean.mean(2)
    expected = noise.at(brightness.mean(0).astype(np.float32))
    total = variance.sum(0)
    flat = (total > CALMEST * expected) & (total < FLATTEST * expected)
    sigma = np.sqrt(variance[:, flat]) + 1e-6
    seen = (squared * difference)[:, flat].mean(2) / sigma**3
    brightness = brightness[:, flat]
    estimated = np.interp(brightness, noise.brightness, noise.variance.mean(1))
    uneven = variance[:, flat].sum(1) / np.maximum(estimated.sum(1), TINIEST)
    foreseen, dark = lean(brightness, sigma), black[:, flat].mean(2)
    return _Flat(brightness.ravel(), seen.ravel(), foreseen.ravel(), dark.ravel(), uneven)


def _blocks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """(N, C, h, w) in blocks of SIDE: (C, blocks, SIDE²)."""
    count, channels, height, width = values.shape
    rows, columns = height // SIDE, width // SIDE
    cut = values[..., : rows * SIDE, : columns * SIDE].reshape(count, channels, rows, SIDE, columns, SIDE)
    return cut.transpose(1, 0, 2, 4, 3, 5).reshape(channels, -1, SIDE**2).astype(np.float64)


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, and even between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
