"""From light to picture, many crops at once and on any device: noise, mosaic, white balance, colour matrix, curve.

What `developing` does shot by shot on a processor, with the steps of a camera in their order (Brooks et al. 2019 go the
same way back): light of the scene in the camera's own colours, noise where it is counted, cut off at black, and all
that makes a picture of it after that. So colour noise gets its patterns from the mosaic and its strength from the
matrix, and the dark is too bright by what was cut off.
"""

import math

import torch
from torch.nn.functional import conv2d, interpolate, pad

from nsp_pipeline.calibration.simulation.draws import between, chosen

NIGHT, LINEAR, MOSAIC, MALVAR, BLACK_FIRST, BRIGHTENED, MATRIX = 0.4, 0.05, 0.7, 0.5, 0.5, 0.4, 0.8
"""Shares: in the dark; in linear light; with a mosaic; of them those filled in by gradients; cut off at black before
that; brightened in places; with a colour matrix."""

DAY_SIGMA, NIGHT_SIGMA, NIGHT_LIGHT = (0.7, 30.0), (8.0, 65.0), (0.04, 0.5)
BRIGHTEST = 2.2

TOE = 1e-4, 0.01
"""A curve is straight below about this much light. Short toes are the rule: there noise makes the dark darker, since it
gains less above than it loses below; long ones and the cut at black make it brighter."""

MATRIX_RANGE = (
    (0, 1, -0.85, -0.1),
    (0, 2, -0.35, 0.15),
    (1, 0, -0.4, 0.0),
    (1, 2, -0.6, 0.0),
    (2, 0, -0.15, 0.1),
    (2, 1, -1.0, -0.1),
)
"""(row, column, least, most) of what a camera's colour matrix takes of one channel from another; rows add up to 1."""

AT_GREEN = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0))
ALONG_ROW = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0))
ACROSS = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0))
"""Eighths that a missing value is made of (Malvar, He and Cutler 2004): green at red and blue; red and blue at green,
of their own row (or turned, column); and each at the other's place."""


def develop_batch(scene: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Photograph scenes and develop them: (B, 3, H, W) sRGB in 0..1 -> (noisy, clean), alike.

    What separates the two is how noisy such a place would be if it were flat, too: nothing spares texture here.
    """
    night = chosen(NIGHT, scene, rng)
    curve = _Curves(scene, rng)
    light = curve.light(scene)
    light = torch.where(night, light * _log_between(NIGHT_LIGHT, scene, rng), light)
    matrix, inverse = _colour_matrices(scene, rng)
    seen = _mixed(inverse, light).clamp_min(0)

    place = torch.where(night, between(0.05, 0.25, scene, rng), between(0.25, 0.5, scene, rng))
    sigma = torch.where(night, _log_between(NIGHT_SIGMA, scene, rng), _log_between(DAY_SIGMA, scene, rng)) / 255
    level = (sigma / curve.steepness(place)).clamp_max(0.3)
    shot_share = torch.where(night, between(0.1, 0.8, scene, rng), between(0.5, 1.0, scene, rng))
    mosaic = chosen(MOSAIC, scene, rng)
    balance = torch.cat(
        [between(1.2, 2.6, scene, rng), torch.ones_like(night).float(), between(1.2, 2.8, scene, rng)], 1
    )
    gain = torch.where(chosen(BRIGHTENED, scene, rng), _gain_maps(scene, rng), torch.ones_like(scene[:, :1]))
    # Light that is made brighter afterwards was less when it was counted.
    shot = shot_share * balance * gain * seen / curve.light(place)
    read = (1 - shot_share) * (balance * gain) ** 2
    # A mosaic's gaps are filled with means, which makes its noise fainter; balance and matrix make it stronger.
    amplified = balance.square().mean(1, keepdim=True) * _mixed(matrix.square(), torch.ones_like(balance)).mean(1, True)
    strength = level * torch.where(mosaic, 1.6, 1.0) / amplified.sqrt()
    noise = torch.randn(scene.shape, generator=rng, device=scene.device) * (shot + read).sqrt() * strength

    cut = chosen(BLACK_FIRST, scene, rng)
    noisy = seen + noise
    noisy = torch.where(cut, noisy.clamp_min(0), noisy)
    clean = seen
    first = int(mosaic.sum())
    order = mosaic.flatten().argsort(descending=True, stable=True)
    back = order.argsort()
    noisy, clean = noisy[order], clean[order]
    if first:
        kind, cells = chosen(MALVAR, scene[:first], rng), _cells(scene[:first], rng)
        radius = between(0.7, 1.3, scene[:first], rng)
        noisy, clean = (
            torch.cat([_demosaiced(part[:first], cells, kind, radius), part[first:]]) for part in (noisy, clean)
        )
    noisy, clean = noisy[back], clean[back]
    return curve.picture(_mixed(matrix, noisy)), curve.picture(_mixed(matrix, clean))


class _Curves:
    """One for each crop: a power law with a straight toe, steeper in the middle by a contrast; or none."""

    def __init__(self, like: torch.Tensor, rng: torch.Generator) -> None:
        linear = chosen(LINEAR, like, rng)
        self._gamma = torch.where(linear, 1.0, between(1.6, 2.6, like, rng))
        self._toe = torch.where(linear, 0.0, _log_between(TOE, like, rng))
        contrast = between(0, 0.7, like, rng) * chosen(0.3, like, rng)
        self._contrast = torch.where(linear, 0.0, contrast)
        self._offset = torch.where(linear, 0.0, self._toe.clamp_min(1e-6) ** (1 / self._gamma))
        self._span = (1 + self._toe) ** (1 / self._gamma) - self._offset

    def light(self, picture: torch.Tensor) -> torch.Tensor:
        """Linear light of pictures in 0..1, the contrast left out."""
        return (picture.clamp(0, 1) * self._span + self._offset) ** self._gamma - self._toe

    def picture(self, light: torch.Tensor) -> torch.Tensor:
        """What is made of linear light; all below black is black."""
        flat = ((light.clamp(0, 1) + self._toe) ** (1 / self._gamma) - self._offset) / self._span
        flat = flat.clamp(0, 1)
        return flat + self._contrast * (flat * flat * (3 - 2 * flat) - flat)

    def steepness(self, place: torch.Tensor) -> torch.Tensor:
        """Slope of the finished picture over light, where the picture without contrast is `place` (B, 1, 1, 1)."""
        light = self.light(place)
        step = 0.2 * (light + self._toe)
        return ((self.picture(light + step) - self.picture(light - step)) / (2 * step)).clamp_min(0.05)


def _log_between(limits: tuple[float, float], like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    return between(math.log(limits[0]), math.log(limits[1]), like, rng).exp()


def _colour_matrices(like: torch.Tensor, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """From each camera's colours to the picture's, and back: (B, 3, 3) each."""
    matrix = torch.zeros(len(like), 3, 3, device=like.device)
    some = chosen(MATRIX, like, rng) * between(0.2, 1.0, like, rng)
    for row, column, least, most in MATRIX_RANGE:
        matrix[:, row, column] = (between(least, most, like, rng) * some).flatten()
    matrix = matrix + torch.diag_embed(1 - matrix.sum(2))
    return matrix, torch.linalg.inv(matrix)


def _mixed(matrix: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bkc,bchw->bkhw", matrix, image)


def _gain_maps(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Smooth maps (B, 1, H, W) of gains from 1 to at most BRIGHTEST."""
    coarse = torch.rand(len(like), 1, 3, 3, generator=rng, device=like.device)
    smooth = interpolate(coarse, size=like.shape[2:], mode="bicubic", align_corners=True).clamp(0, 1)
    return 1 + (between(1, BRIGHTEST, like, rng) - 1) * smooth


def _cells(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Bayer mosaics (B, 3, H, W), 1 where a channel is sampled: any of the four corners first, either way round."""
    rows, columns = (torch.arange(side, device=like.device) for side in like.shape[2:])
    down, across = (torch.randint(2, (len(like), 1, 1), generator=rng, device=like.device) for _ in range(2))
    down, across = (rows.view(1, -1, 1) + down) % 2, (columns.view(1, 1, -1) + across) % 2
    red, blue = (down == 0) & (across == 0), (down == 1) & (across == 1)
    return torch.stack([red, ~(red | blue), blue], 1).float()


def _demosaiced(raw: torch.Tensor, cells: torch.Tensor, malvar: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Fill in what the mosaic leaves out, by gradients where `malvar` (B, 1, 1, 1) says so, else by near means."""
    known = raw * cells
    return torch.where(malvar, _by_gradients(known.sum(1, keepdim=True), cells), _by_means(known, cells, radius))


def _by_means(known: torch.Tensor, cells: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Means of the neighbours that are known, weighted by a bell of each crop's own radius."""
    taps = torch.arange(-2, 3, device=known.device).view(1, -1, 1, 1)
    weights = torch.exp(-0.5 * (taps / radius) ** 2)
    sums = []
    for part in (known, cells):
        for axis, sides in ((2, (0, 0, 2, 2)), (3, (2, 2, 0, 0))):
            padded, length = pad(part, sides, mode="reflect"), part.shape[axis]
            taps_of = [padded.narrow(axis, tap, length) * weights[:, tap : tap + 1] for tap in range(5)]
            part = torch.stack(taps_of).sum(0)
        sums.append(part)
    return torch.where(cells > 0, known, sums[0] / sums[1])


def _by_gradients(plane: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """What Malvar, He and Cutler make of a mosaic (B, 1, H, W): (B, 3, H, W)."""
    filters = [torch.tensor(values, device=plane.device) / 8 for values in (AT_GREEN, ALONG_ROW, ACROSS)]
    filters = [filters[0], filters[1], filters[1].T, filters[2]]
    kernel = torch.stack(filters)[:, None].to(plane.dtype)
    green, row, column, across = conv2d(pad(plane, (2, 2, 2, 2), mode="reflect"), kernel).split(1, 1)
    red, of_green, blue = (cells[:, channel : channel + 1] > 0 for channel in range(3))
    beside_red = red.roll(1, 3) | red.roll(-1, 3)
    in_red_row = of_green & beside_red
    made = []
    for own, other, in_own_row in ((red, blue, in_red_row), (blue, red, of_green & ~in_red_row)):
        value = torch.where(in_own_row, row, column)
        value = torch.where(other, across, value)
        made.append(torch.where(own, plane, value))
    return torch.cat([made[0], torch.where(of_green, plane, green), made[1]], 1)
