"""Putting the noisy photo back where the network lost detail.

A blind-spot network never sees the pixel that it estimates. Where the photo is flat its estimate e is better than
the noisy pixel y; where there is fine detail it is worse. With y = c + n, e = c + d and n independent of d, the mix
y + w·(e - y) with the least squared error has w = σ² / (σ² + E[d²]) = σ² / E[(y - e)²] (the inverse-variance mean).
The denominator can be seen: it is the local mean of the squared difference.

A network that sees every pixel loses texture that it takes for noise, but it does not lose edges. At edges cameras make
more noise than in flat places, and its taking that away must not pass for lost detail: there the variance is larger by
a share of the estimate's own squared gradient. Texture lies in brightness, so only that comes back, where more of it
was taken than a channel has noise: of colour noise cameras leave up to seven times as much beside edges as elsewhere.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.core.noise import NoiseLevel

WINDOW_RADIUS = 5
"""The local mean is over (2·5 + 1)² pixels; tiles need one more as halo on top of the network's."""

GRAIN_RADIUS = 2
"""What differs from the mean over (2·2 + 1)² pixels is fine grain."""

EDGE_SHARE = 0.05
"""Of the squared gradient of an estimate by a network that sees every pixel: what its noise may have on top."""

NOISE_AT_LEAST = 0.25
"""Share of the estimated variance that must be there for a photo's noise to be in a place."""

MEAN_RADIUS = 32
"""The mean of (2·32 + 1)² noisy pixels has a fiftieth of their noise: it may tell a network where its own should be."""

BICUBIC_RADIUS = 2
"""Pixels on either side of its own place that an enlarged pixel is made from."""

SMOOTH, NATURAL = LOOKS = ("smooth", "natural")

TRUST_NATURAL, GRAIN_NATURAL = 0.8, 0.2
"""In brightness, for a natural look: instead of the other trusts, and the share of the noise that stays at least.

Both where texture and noise cannot be told apart (see doubt.py)."""

TRUST_BLIND, TRUST_SEEING = 1.25, 1.6
"""Factor on the measured variance: the local mean scatters, and noise left over is seen sooner than detail lost. More
for networks that see every pixel, whose estimate is seldom the worse one (docs/quality.md)."""


def local_weight(
    noisy: NDArray[np.float32], estimate: NDArray[np.float32], noise: NoiseLevel, *, blind: bool
) -> NDArray[np.float32]:
    """Return how far to move from the noisy pixel to the estimate: (1, H, W) in 0..1; see `faded`.

    Args:
        noisy, estimate: (C, H, W), values in 0..1.
        noise: the photo's noise; zero gives weight 0, and nothing else does.
        blind: whether the network could not see the pixel that it estimates.

    A weight depends on pixels at most WINDOW_RADIUS + 1 away.
    """
    return weight_of_change(estimate - noisy, estimate, noise, blind=blind)


def weight_of_change(
    change: NDArray[np.float32], estimate: NDArray[np.float32], noise: NoiseLevel, *, blind: bool
) -> NDArray[np.float32]:
    """Return the same as local_weight, from what the estimate changes of the noisy pixels, (C, H, W)."""
    channels, side = len(estimate), 2 * WINDOW_RADIUS + 1
    total = _sum(estimate)
    # All that follows is summed over windows and channels, and nowhere divided by their numbers.
    flat = noise.at_pixels(total, channels)
    if blind:
        flat *= np.float32(TRUST_BLIND * side**2)
        return _share_of_noise(change, flat, noise)
    flat *= np.float32(TRUST_SEEING * channels * side**2)
    framed = Framed.empty(total.shape, WINDOW_RADIUS)
    _square_gradient(total, framed.inside)
    variance = framed.window_sums()
    variance *= np.float32(EDGE_SHARE / 4)
    variance += flat
    return _share_of_noise(_sum(change)[None], variance, noise, flat)


def faded(change: NDArray[np.float32], weight: NDArray[np.float32], *, blind: bool) -> NDArray[np.float32]:
    """Return what is left of a change (C, H, W) by a weight (1, H, W): of networks that see, brightness alone fades.

    Where the weight is 0 there is no noise, and nothing changes.
    """
    if blind or len(change) == 1:
        return weight * change
    back = _sum(change)
    back *= (np.float32(1) - weight[0]) / np.float32(len(change))
    left = change - back
    if not weight.all():
        left *= weight > 0
    return left


def natural_weight(
    change: NDArray[np.float32], estimate: NDArray[np.float32], noise: NoiseLevel
) -> NDArray[np.float32]:
    """The same for brightness where texture as weak as noise is to stay, with some grain: (1, H, W) in 0..1.

    It is meant for where the two cannot be told apart (see doubt.py).
    """
    variance = noise.at_pixels(_sum(estimate), len(estimate))
    variance *= np.float32(TRUST_NATURAL * (2 * WINDOW_RADIUS + 1) ** 2)
    return np.minimum(_share_of_noise(change, variance, noise), np.float32(1 - GRAIN_NATURAL))


def _share_of_noise(
    change: NDArray[np.float32],
    variance: NDArray[np.float32],
    noise: NoiseLevel,
    flat: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Which part of the local squared change a variance (H, W), summed over windows, explains: (1, H, W).

    None where there is no noise: where `flat`, or else the variance, is 0.
    """
    energy = _squares_around(change, WINDOW_RADIUS)
    np.maximum(energy, variance, out=energy)
    if noise.variance.min() > 0:
        return np.divide(variance, energy, out=energy)[None]
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is neither noise nor change
        weight = np.divide(variance, energy, out=energy)
    np.copyto(weight, np.float32(0), where=(variance if flat is None else flat) <= 0)
    return weight[None]


def _squares_around(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Squares of (C, H, W) summed over the channels, one by one, and over windows (see Framed.window_sums)."""
    framed = Framed.empty(values.shape[1:], radius)
    np.multiply(values[0], values[0], out=framed.inside)
    squared = np.empty(values.shape[1:], np.float32)
    for one in values[1:]:
        np.multiply(one, one, out=squared)
        framed.inside[:] += squared
    return framed.window_sums()


def _sum(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the channels, one by one: numpy's own sum over the first axis takes three times as long."""
    total: NDArray[np.float32] = values[0].copy() if len(values) == 1 else values[0] + values[1]
    for one in values[2:]:
        total += one
    return total


def _square_gradient(image: NDArray[np.float32], squared: NDArray[np.float32]) -> None:
    """Put the squared differences of neighbours two apart of (H, W), across and down, into another; 0 at borders."""
    squared[:1], squared[-1:] = 0, 0
    change = image[2:] - image[:-2]
    np.multiply(change, change, out=squared[1:-1])
    change = image[:, 2:] - image[:, :-2]
    change *= change
    squared[:, 1:-1] += change


def recentred(noisy: NDArray[np.float32], estimate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an estimate with the local means of the noisy photo; (C, H, W) each, which look MEAN_RADIUS far."""
    return np.stack([plane + box_mean(seen - plane, MEAN_RADIUS) for seen, plane in zip(noisy, estimate, strict=True)])


def noise_there(noisy: NDArray[np.float32], estimate: NDArray[np.float32], noise: NoiseLevel) -> NDArray[np.float32]:
    """Return whether a noisy photo's noise is in each place at all: (H, W), 1 where it is, 0 in a frame or a caption.

    A place depends on pixels at most WINDOW_RADIUS away.
    """
    energy = _squares_around(estimate - noisy, WINDOW_RADIUS)
    least = NOISE_AT_LEAST * (2 * WINDOW_RADIUS + 1) ** 2
    expected = np.maximum(noise.at_pixels(_sum(estimate), len(estimate)) * np.float32(least), np.float32(1e-10))
    return np.asarray(np.minimum(energy / expected, np.float32(1)), dtype=np.float32)


def recoloured(change: NDArray[np.float32], colourful: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a change with the brightness part of `change` and the colour part of `colourful`; (C, H, W) each."""
    return np.asarray(change.mean(0) + (colourful - colourful.mean(0)), dtype=np.float32)


def grain_kept(change: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return a change (C, H, W) that leaves a share, 0..1, of the fine grain in the photo; colour as before."""
    brightness = change.mean(0)
    return np.asarray(change - np.float32(share) * (brightness - box_mean(brightness, GRAIN_RADIUS)), dtype=np.float32)


def cell_means(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Mean of each scale×scale cell: (C, scale·H, scale·W) -> (C, H, W)."""
    channels, height, width = image.shape
    # Rows first: along them many are added at once.
    rows = image.reshape(channels, height // scale, scale, width).mean(2)
    return np.asarray(rows.reshape(channels, -1, width // scale, scale).mean(3), dtype=np.float32)


def enlarged(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Enlarge by bicubic interpolation: (C, H, W) -> (C, scale·H, scale·W)."""
    size = image.shape[2] * scale, image.shape[1] * scale
    return np.stack([np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in image])


def box_mean(image: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Mean over the (2·radius + 1)² window around each pixel of (H, W); at borders over the part that exists.

    A window's mean depends on its pixels alone, to the last bit, wherever a tile begins; running sums would not.

    Args:
        radius: 1 or more.
    """
    framed = Framed.empty(image.shape, radius)
    framed.inside[:] = image
    means = framed.window_sums()
    means *= np.float32(1 / (2 * radius + 1) ** 2)
    return means


@dataclass(frozen=True)
class Framed:
    """A picture (H, W) with zeros around it.

    So the lines follow each other in memory in such a way that neighbours in either direction are so many places away,
    and whole bands are added at once, which is three times as fast as line by line.
    """

    whole: NDArray[np.float32]
    inside: NDArray[np.float32]
    radius: int

    @classmethod
    def empty(cls, shape: tuple[int, ...], radius: int) -> Self:
        """One whose inside, a picture of a shape, is still to be filled."""
        height, width = shape
        whole = np.empty((height + 2 * radius, width + 2 * radius), np.float32)
        for edge in (whole[:radius], whole[radius + height :], whole[:, :radius], whole[:, radius + width :]):
            edge[:] = 0
        return cls(whole, whole[radius : radius + height, radius : radius + width], radius)

    def window_sums(self) -> NDArray[np.float32]:
        """Sums over the (2·radius + 1)² window around each pixel: (H, W); at borders as if what is missing were alike.

        A sum depends on its pixels alone, to the last bit, wherever a tile begins; running sums would not.
        """
        (height, width), side = self.inside.shape, 2 * self.radius + 1
        pitch = self.whole.shape[1]
        total = _window_sums(self.whole.ravel(), side, pitch)
        sums = np.empty((height, pitch), np.float32)
        sums.ravel()[: total.size - side + 1] = _window_sums(total, side, 1)
        found = sums[:, :width]
        for lines in (found, found.T):
            missing = _missing(len(lines), self.radius)[:, None]
            lines[: self.radius] *= missing[: self.radius]
            last = max(self.radius, len(lines) - self.radius)
            lines[last:] *= missing[last:]
        return found


def _missing(size: int, radius: int) -> NDArray[np.float32]:
    """How many times as many places the window around each of `size` places would have, had they no ends."""
    places = np.arange(size)
    count = np.minimum(places + radius + 1, size) - np.maximum(places - radius, 0)
    return np.asarray((2 * radius + 1) / count, dtype=np.float32)


def _window_sums(values: NDArray[np.float32], width: int, step: int) -> NDArray[np.float32]:
    """Sums of `width` values each, `step` apart, from each value on that has so many; from sums of 1, 2, 4, ..."""
    count = values.size - (width - 1) * step
    parts, doubled, begun, span = [], values, 0, 1
    while True:
        if width & span:
            parts.append(doubled[begun * step : begun * step + count])
            begun += span
        if 2 * span > width:
            break
        doubled = doubled[: -span * step] + doubled[span * step :]
        span *= 2
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total
