"""Noise as cameras make it, put onto clean photos: what a student that sees every pixel can be trained with.

Two makers of noise, drawn by chance for every crop. The physical one lays a Bayer mosaic over linear light, adds shot
and read noise, and demosaics, at the photo's size or at twice it (cameras that save small JPEGs). The other adds
to the finished picture what is left there when a camera has done its noise reduction: grey noise that is fine, colour
noise that is coarse and fainter, each with its own spectrum and its own rise with brightness. Its ranges surround what
flat patches of 28 JPEGs of four cameras show (docs/quality.md). Both end in a JPEG of random quality. The target goes
through all of it but the noise and the JPEG: what a camera does to the picture itself is not the student's to undo.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from nsp_pipeline.calibration.simulation.noise_range import NoiseRange

MOSAIC = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))
"""(row, column, channel) of a Bayer cell."""

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
JPEG_QUALITY = 80, 99

FREQUENCIES = (0.0, 0.09, 0.2, 0.34, 0.5, 0.71)
"""Cycles a pixel at which the power of grey noise is drawn; between them its logarithm is interpolated."""

GREY_FALLS = ((0.3, 1.1), (0.3, 1.0), (0.12, 1.0), (0.04, 1.0), (0.2, 1.0))
"""Ranges of what one of these has of the power of the one before."""

BRIGHTNESSES = 5
"""Places from black to white at which the strength of noise is drawn."""


class NoisyCamera:
    """A simulated camera: it adds camera noise to clean crops, and draws its properties anew for every crop."""

    def __init__(self, noise: NoiseRange) -> None:
        self._range = noise

    def photograph(
        self, sharp: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Take pictures at half the size of clean ones.

        Args:
            sharp: (B, 3, 2H, 2W) sRGB in 0..1; H and W even.

        Returns:
            noisy (B, 3, H, W), clean (B, 3, H, W) and sharp (B, 3, 2H, 2W), whose 2×2 cells have the means of `clean`;
            clean and sharp are as soft as photos are, which varies. And (B, 2, H, W) how much stronger the noise is
            at each place than where the picture is flat, grey and colour (see `stronger_in_texture`).
        """
        sharp = torch.cat([self._as_sharp_as_photos(crop[None], rng) for crop in sharp])
        shots = zip(*(self._one(crop[None], rng) for crop in sharp), strict=True)
        noisy, clean, stronger = (torch.cat(parts) for parts in shots)
        finer = sharp + interpolate(clean - halved(sharp), scale_factor=2.0, mode="nearest")
        return noisy, clean, finer, stronger

    def _as_sharp_as_photos(self, sharp: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Soften one crop. A student that only knows crisp pictures takes every grain for detail, and leaves it."""
        chosen = self._range
        if rng.random() < chosen.soft_share:
            sharp = blurred(sharp, 2 * float(rng.uniform(0, chosen.softest)))
        if rng.random() < chosen.soft_colour_share:
            sharp = smoother_colour(sharp, 2 * float(rng.uniform(0.5, chosen.softest_colour)))
        return sharp

    def _one(self, sharp: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = self._range
        least, most = np.log(chosen.sigma)
        sigma = float(np.exp(_in_between(least, most, rng))) / 255
        if rng.random() < chosen.clean_share:
            sigma = 0.0
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        maker = self._from_sensor if rng.random() < chosen.sensor_share else self._from_spectrum
        noisy, clean = maker(sharp, sigma, rng, generator)
        stronger = torch.ones_like(clean[:, :2])
        if sigma and rng.random() < chosen.adapted_share:
            stronger = stronger_in_texture(clean, sigma, (chosen.most_kept, chosen.most_colour_kept), rng)
            noisy = (clean + by_grey_and_colour(noisy - clean, stronger)).clamp(0, 1)
        if rng.random() < chosen.jpeg_share:
            noisy = through_jpeg(noisy, int(rng.integers(*JPEG_QUALITY)), SUBSAMPLINGS[rng.integers(3)])
        return noisy, clean, stronger

    def _from_sensor(
        self, sharp: torch.Tensor, sigma: float, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        small = rng.random() < 0.5
        scene = sharp if small else halved(sharp)
        linear = scene.clamp(0, 1) ** 2.2
        gains = torch.tensor([rng.uniform(1.2, 2.6), 1.0, rng.uniform(1.2, 2.8)], dtype=torch.float32).view(1, 3, 1, 1)
        # Of the noise at middle grey (0.18 in linear light, 0.46 on the tone curve), a random part is shot noise.
        slope = 0.46 / (2.2 * 0.18)
        level = sigma / slope * (2.0 if small else 1.3)
        shot = rng.uniform(0.5, 1.0)
        variance = level**2 * (shot * (linear / gains) / 0.18 + (1 - shot))
        noise = torch.randn(linear.shape, generator=generator) * variance.sqrt() * gains
        mosaic = mosaic_of(linear.shape)
        radius = float(rng.uniform(0.7, 1.3))
        noisy, clean = (
            demosaiced(raw * mosaic, mosaic, radius).clamp(0, 1) ** (1 / 2.2) for raw in (linear + noise, linear)
        )
        # After the tone curve, not before it as in a camera: it would bend stronger noise into a tint.
        noisy = clean + more_colourful(noisy - clean, 1 + float(rng.uniform(0, self._range.most_colour)))
        if small:
            noisy, clean = halved(noisy), halved(clean)
        if rng.random() < 0.3:
            amount, radius = rng.uniform(0.2, 1.0), rng.uniform(0.6, 1.2)
            noisy, clean = (part + amount * (part - blurred(part, radius)) for part in (noisy, clean))
        if rng.random() < self._range.smoothed_share:
            # A camera's noise reduction spares the picture's own colours, or tries to.
            radius = float(rng.uniform(0.5, max(0.5, 2 * self._range.longest_blur)))
            kept = float(rng.uniform(0.3, 1.0))
            noisy = clean + smoother_colour(noisy - clean, radius, blotches=float(rng.uniform(0, 2)), kept=kept)
        return noisy.clamp(0, 1), clean.clamp(0, 1)

    def _from_spectrum(
        self, sharp: torch.Tensor, sigma: float, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        clean = halved(sharp)
        height, width = clean.shape[2:]
        frequency = torch.from_numpy(
            np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]).astype(np.float32)
        )
        power = _grey_power(frequency, self._range.longest_blur, rng)
        brightness = blurred(clean, 1.0).mean(1, keepdim=True).clamp(0, 1)
        if rng.random() < self._range.untouched_share:
            noise = _shaped_noise(3, power, generator) * level_by_brightness(brightness, rng)
            return (clean + sigma * noise).clamp(0, 1), clean
        grey = _shaped_noise(1, power, generator)
        colour = _shaped_noise(3, _colour_power(frequency, rng), generator)
        # No axis of colour is noisier than the others in all cameras.
        colour = colour * torch.from_numpy(rng.uniform(0.5, 1.5, (1, 3, 1, 1)).astype(np.float32))
        colour = colour - colour.mean(1, keepdim=True)
        share = float(np.exp(rng.uniform(*np.log(self._range.colour_left))))
        noise = grey * level_by_brightness(brightness, rng) + share * colour / colour.std() * level_by_brightness(
            brightness, rng
        )
        return (clean + sigma * noise).clamp(0, 1), clean


def _in_between(least: float, most: float, rng: np.random.Generator) -> float:
    """Draw from a range, from its middle rather than from its ends half of the time."""
    if rng.random() < 0.5 or most <= least:
        return float(rng.uniform(least, most))
    return float(rng.triangular(least, (least + most) / 2, most))


def _grey_power(frequency: torch.Tensor, longest: float, rng: np.random.Generator) -> torch.Tensor:
    """Power of grey noise at each frequency: falling by chance, now and then that of blurred or of white noise."""
    kind = rng.random()
    if kind < 0.12:
        return torch.ones_like(frequency)
    if kind < 0.3:
        radius = 2 * longest * float(rng.uniform(0, 1)) ** 1.5
        return torch.exp(-((2 * np.pi * radius * frequency) ** 2))
    falls = [float(rng.uniform(*np.log(fall))) for fall in GREY_FALLS]
    logarithms = np.interp(frequency.numpy(), FREQUENCIES, np.cumsum([0.0, *falls]))
    blotches = float(rng.uniform(0, 1.5)) * np.exp(-((frequency.numpy() / 0.05) ** 2))
    return torch.from_numpy(np.exp(logarithms + blotches).astype(np.float32))


def _colour_power(frequency: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Power of colour noise: a bell around 0 on a floor."""
    wide = float(np.exp(rng.uniform(*np.log((0.04, 0.4)))))
    floor = float(np.exp(rng.uniform(*np.log((0.001, 0.15)))))
    return torch.exp(-((frequency / wide) ** 2)).add(floor)


def _shaped_noise(channels: int, power: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise (1, C, H, W) of standard deviation 1 whose spectrum is `power` (H, W/2 + 1)."""
    height, width = power.shape[0], 2 * (power.shape[1] - 1)
    white = torch.fft.rfft2(torch.randn((1, channels, height, width), generator=generator))
    noise: torch.Tensor = torch.fft.irfft2(white * power.sqrt(), s=(height, width))
    return noise / noise.std()


def level_by_brightness(brightness: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Strength of noise at each brightness (1, 1, H, W): mostly strongest in the middle, weak where it is bright."""
    places = np.linspace(0, 1, BRIGHTNESSES)
    bend = float(rng.uniform(-0.4, 1.4))
    logarithms = -bend * (places - 0.46) + rng.normal(0, 0.25, BRIGHTNESSES)
    logarithms[-1] += np.log(rng.uniform(0.3, 1.0))
    logarithms[0] += np.log(rng.uniform(0.4, 1.0))
    strength = np.interp(brightness.numpy(), places, np.exp(logarithms))
    return torch.from_numpy(strength.astype(np.float32))


def stronger_in_texture(
    clean: torch.Tensor, sigma: float, most: tuple[float, float], rng: np.random.Generator
) -> torch.Tensor:
    """How much stronger a camera's noise is at each place than where a picture (1, 3, H, W) is flat: (1, 2, H, W).

    Grey and colour, each up to 1 + its own most. Cameras wipe colour noise off flat places and leave it beside edges,
    so that there is two to eight times as much of it in texture where grey noise is hardly stronger.

    Args:
        sigma: standard deviation of the noise in 0..1.
        most: of grey, and of what colour has beyond grey.
    """
    grey, colour = (_kept_in_texture(clean, sigma, float(rng.uniform(0, part)), rng) for part in most)
    return torch.cat([grey, grey * colour], 1)


def by_grey_and_colour(noise: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Multiply what is grey in noise (B, 3, H, W), and what is colour, by factors (B, 2, H, W) of their own."""
    grey = noise.mean(1, keepdim=True)
    return factors[:, :1] * grey + factors[:, 1:] * (noise - grey)


def _kept_in_texture(clean: torch.Tensor, sigma: float, most: float, rng: np.random.Generator) -> torch.Tensor:
    """1 in flat places, towards 1 + most in texture: (1, 3, H, W) -> (1, 1, H, W).

    A camera's noise reduction takes for texture what rises above the noise, and spares it, its noise included.
    """
    fine = clean.mean(1, keepdim=True)
    fine = fine - blurred(fine, float(rng.uniform(1.0, 2.5)))
    texture = blurred(fine**2, float(rng.uniform(1.0, 3.0))).sqrt()
    return 1 + most * texture / (texture + float(rng.uniform(0.3, 2.0)) * sigma)


def through_jpeg(image: torch.Tensor, quality: int, subsampling: str) -> torch.Tensor:
    """Encode (1, 3, H, W) in 0..1 as JPEG and decode it again."""
    pixels = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    stored = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stored, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(stored) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def halved(image: torch.Tensor) -> torch.Tensor:
    """Mean of each 2×2 cell; (B, C, 2H, 2W) -> (B, C, H, W)."""
    rows = image[..., ::2, :] + image[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def blurred(image: torch.Tensor, radius: float) -> torch.Tensor:
    """Gaussian blur with standard deviation `radius` in pixels; (B, C, H, W) in and out, edges reflected."""
    if radius < 0.2:
        return image
    reach = max(1, round(3 * radius))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / radius) ** 2)
    line = line / line.sum()
    return filtered(filtered(image, line / line.sum(), 3), line / line.sum(), 2)


def filtered(image: torch.Tensor, line: torch.Tensor, axis: int) -> torch.Tensor:
    """Filter (B, C, H, W) along axis 2 or 3 with an odd number of weights, edges reflected."""
    reach, length = len(line) // 2, image.shape[axis]
    sides = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    padded = pad(image, sides, mode="reflect")
    # Sums of shifted copies: many times faster on a CPU than a convolution of few channels.
    total = padded.narrow(axis, 0, length) * line[0]
    for shift, weight in enumerate(line[1:].tolist(), 1):
        total.add_(padded.narrow(axis, shift, length), alpha=weight)
    return total


def smoother_colour(image: torch.Tensor, radius: float, blotches: float = 0.0, kept: float = 1.0) -> torch.Tensor:
    """Blur what is colour and keep what is grey, as a camera's reduction of colour noise does.

    What it leaves is more than blurred: `blotches` times the colour at three times the radius comes on top, and all of
    it is `kept` times as strong.
    """
    grey = image.mean(1, keepdim=True)
    colour = blurred(image - grey, radius)
    if blotches:
        colour = colour + blotches * blurred(colour, 3 * radius)
    return grey + kept * colour


def more_colourful(noise: torch.Tensor, gain: float) -> torch.Tensor:
    """Multiply what is colour in noise (B, 3, H, W) by a gain, and keep what is grey."""
    grey = noise.mean(1, keepdim=True)
    return grey + gain * (noise - grey)


def mosaic_of(shape: torch.Size) -> torch.Tensor:
    """A Bayer mosaic (1, 3, H, W) for images of a shape (B, 3, H, W): 1 where a channel is sampled, else 0."""
    mosaic = torch.zeros(1, *shape[1:])
    for row, column, channel in MOSAIC:
        mosaic[:, channel, row::2, column::2] = 1
    return mosaic


def demosaiced(raw: torch.Tensor, mosaic: torch.Tensor, radius: float) -> torch.Tensor:
    """Fill in what the mosaic left out, 0 in `raw`: known values stay, others are means of their neighbours."""
    line = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / radius) ** 2)
    total, weight = (filtered(filtered(part, line, 3), line, 2) for part in (raw, mosaic))
    return torch.where(mosaic > 0, raw, total / weight)
