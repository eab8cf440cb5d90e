"""Noise of any kind, drawn in a moment: white, correlated, coloured, bent by a tone curve, faint and strong.

Not what any camera makes: cameras come later (see camera_noise.py). A network that has met all of this is a base from
which each of them is a short way, and it knows the noise that no camera has smoothed: developed RAW, scans, grain.
All crops of a batch are drawn at once, on the device that they are on.
"""

import math
from dataclasses import dataclass

import torch

from nsp_pipeline.calibration.simulation.draws import between, chosen

STRONGEST = 60.0 / 255
NOISELESS = 0.04
"""Share of the crops that have no noise: they must come back as they are."""

GREY = 0.05
"""Share of the crops that are grey."""

COARSEST = (1.8, 6.0)
"""Pixels, radius of the bell that coarse noise is blurred by: as phones make it in the dark, and as enlarging does."""

STORED_8_BIT = 0.75

OPPONENT = ((1 / 3**0.5, 1 / 3**0.5, 1 / 3**0.5), (1 / 2**0.5, -1 / 2**0.5, 0.0), (1 / 6**0.5, 1 / 6**0.5, -2 / 6**0.5))
"""An orthonormal basis of colours, grey first: white noise is as white in it."""

SOFTEST, REACH = 1.6, 4
"""Soft crops are softened by up to so many pixels (standard deviation), with so many taps to a side."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn how often: shares of the crops, and `fine`, the radius that all but coarse noise stays below."""

    white: float = 0.4
    bent: float = 0.5
    """With noise that depends on the brightness."""
    uneven: float = 0.3
    """With a strength of its own in each channel."""
    coarse: float = 0.12
    fine: float = 1.8
    """Pixels: of the bell that noise is blurred by."""
    soft: float = 0.5
    toned: float = 0.6


ANY = Drawn()


def varied(
    crops: torch.Tensor, rng: torch.Generator, *, drawn: Drawn = ANY, softest: float = SOFTEST, reach: int = REACH
) -> torch.Tensor:
    """Pictures as soft, dark, pale or grey as photos are: (B, 3, H + 2·reach, W + 2·reach) -> (B, 3, H, W) in 0..1."""
    radius = between(0.05, softest, crops, rng) * chosen(drawn.soft, crops, rng)
    picture = _softened(crops, radius.clamp_min(0.05), reach)
    mean = picture.mean((2, 3), keepdim=True)
    contrast, exposure, lift = (between(*ends, crops, rng) for ends in ((0.3, 1.1), (0.3, 1.2), (0.0, 0.12)))
    toned = (mean + contrast * (picture - mean)) * exposure + lift
    picture = torch.where(chosen(drawn.toned, crops, rng), toned, picture)
    grey = picture.mean(1, keepdim=True).expand_as(picture)
    return torch.where(chosen(GREY, crops, rng), grey, picture).clamp(0, 1)


def draw_levels(like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Standard deviations, one a crop, (B, 1, 1, 1) in 0..1: half of them below a quarter of the strongest."""
    return STRONGEST * between(0, 1, like, rng) ** 2 * ~chosen(NOISELESS, like, rng)


def make_noisy(clean: torch.Tensor, sigma: torch.Tensor, rng: torch.Generator, drawn: Drawn = ANY) -> torch.Tensor:
    """Put noise onto pictures, clip, and mostly round as files do: (B, 3, H, W) in 0..1, in and out.

    `sigma` (B, 1, 1, 1) is the noise's standard deviation over all channels, at middle grey where it is bent.
    """
    noisy = (clean + sigma * _shape(clean, rng, drawn) * _strength(clean, rng, drawn.bent)).clamp(0, 1)
    return torch.where(chosen(STORED_8_BIT, clean, rng), (noisy * 255).round() / 255, noisy)


def _shape(like: torch.Tensor, rng: torch.Generator, drawn: Drawn) -> torch.Tensor:
    """Noise (B, 3, H, W) of mean square 1 over the channels: the first crops white, the others of a drawn spectrum."""
    white = torch.randn(like.shape, generator=rng, device=like.device)
    count = round(drawn.white * len(like))
    if count == len(like):
        return white
    shaped = _shaped(white[count:], rng, drawn)
    noise = torch.cat([white[:count], shaped])
    gains = torch.randn(len(like), 3, 1, 1, generator=rng, device=like.device).mul(0.35).exp()
    gains = gains / (gains**2).mean(1, keepdim=True).sqrt()
    return torch.where(chosen(drawn.uneven, like, rng), gains * noise, noise)


def _shaped(white: torch.Tensor, rng: torch.Generator, drawn: Drawn) -> torch.Tensor:
    """Give white noise (B, 3, H, W) a spectrum for its grey and one for its colour, and a share of each."""
    height, width = white.shape[2:]
    down, across = (
        torch.fft.fftfreq(height, device=white.device),
        torch.fft.rfftfreq(width, device=white.device),
    )
    frequency = torch.hypot(down.view(-1, 1), across.view(1, -1))
    radius = drawn.fine * between(0, 1, white, rng) ** 2
    radius = torch.where(chosen(drawn.coarse, white, rng), between(*COARSEST, white, rng), radius)
    power = torch.cat(
        [
            _power(frequency, radius, white, rng),
            _power(frequency, radius * between(1, 3, white, rng), white, rng).expand(-1, 2, -1, -1),
        ],
        1,
    )
    colour = between(math.log(0.1), math.log(2.0), white, rng).exp()
    colours = colour * between(0.6, 1.4, white, rng).expand(-1, 1, -1, -1)
    shares = torch.cat([torch.ones_like(colour), colour, colours], 1)
    shares = shares * 3**0.5 / (shares**2).sum(1, keepdim=True).sqrt()
    spectrum = torch.fft.rfft2(white) * (power.sqrt() * shares)
    parts = torch.fft.irfft2(spectrum, s=(height, width))
    basis = torch.tensor(OPPONENT, device=white.device)
    return torch.einsum("kc,bkhw->bchw", basis, parts)


def _power(frequency: torch.Tensor, radius: torch.Tensor, like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Power (B, 1, H, W/2 + 1), mean 1 over all frequencies: a bell, now and then on a floor, sharpened, blotched."""
    bell = torch.exp(-((2 * math.pi * radius * frequency) ** 2))
    floor = between(0, 0.3, like, rng) * chosen(0.5, like, rng)
    sharper = 1 + between(0, 6, like, rng) * chosen(0.25, like, rng) * frequency**2
    blotches = between(0, 3, like, rng) * chosen(0.4, like, rng) * torch.exp(-((frequency / 0.06) ** 2))
    power = (bell * sharper**2 + floor) * (1 + blotches)
    # All columns but the first and the last stand for two frequencies.
    twice = torch.full_like(frequency[:1], 2.0)
    twice[:, 0] = twice[:, -1] = 1
    return power / ((power * twice).sum((2, 3), keepdim=True) / (twice.sum() * len(frequency)))


def _strength(clean: torch.Tensor, rng: torch.Generator, bent: float) -> torch.Tensor:
    """Strength of noise at each value, 1 at middle grey: rising as light does, or falling as tone curves make it."""
    power = between(-0.5, 0.8, clean, rng) * chosen(bent, clean, rng)
    return ((clean + 0.03) / 0.53).pow(power).clamp(0.2, 3.0)


def _softened(crops: torch.Tensor, radius: torch.Tensor, reach: int) -> torch.Tensor:
    """Gaussian blur of each crop by its own radius (B, 1, 1, 1); what the taps lack at the border is cut off."""
    taps = torch.arange(-reach, reach + 1, device=crops.device).view(1, -1, 1, 1)
    weights = torch.exp(-0.5 * (taps / radius) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    for axis in (2, 3):
        length = crops.shape[axis] - 2 * reach
        total = torch.zeros_like(crops.narrow(axis, 0, length))
        for tap in range(2 * reach + 1):
            total = torch.addcmul(total, crops.narrow(axis, tap, length), weights[:, tap : tap + 1])
        crops = total
    return crops
