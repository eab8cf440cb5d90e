"""A photo made by the program itself, and the noise of a camera put on it: for the example, tests and benchmarks.

The noise goes where a camera's does: onto linear light behind a Bayer mosaic, before demosaicing and tone curve, so
that it comes out correlated between neighbouring pixels and colours, and strongest in the shadows.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from nsp_pipeline.core.depth import from_unit, to_unit

WORDS = ("CINEMA", "BAR", "HOTEL", "JAZZ", "OPEN", "24 h")
BRICK, COURSE, JOINT = 30, 12, 2
"""Width and height of a brick with its joints, and width of a joint: what a lens draws is never one pixel wide."""


def night_street(height: int = 800, width: int = 1200, seed: int = 0) -> NDArray[np.float32]:
    """Paint a street at night with windows, signs, brickwork, cobbles and leaves: (H, W, 3) sRGB in 0..1."""
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(_eight_bit(_sky(height, width)))
    draw = ImageDraw.Draw(picture)
    horizon = int(height * 0.72)
    left = 0
    while left < width:
        house = int(rng.integers(width // 9, width // 5))
        top = int(rng.integers(height // 8, height // 3))
        _house(draw, (left, top, left + house, horizon), rng)
        left += house
    canvas = to_unit(np.asarray(picture))
    canvas[horizon:] = _cobbles(height - horizon, width, rng)
    canvas = _leaves(canvas, rng)
    canvas += _lamps(height, width, horizon, rng)
    return np.clip(canvas, 0.0, 1.0).astype(np.float32)


def add_camera_noise(
    clean: NDArray[np.float32], *, shot: float, read: float, seed: int, blur: float = 0.0
) -> NDArray[np.float32]:
    """Photograph a clean picture with a noisy Bayer sensor.

    Args:
        clean: (H, W, 3) sRGB in 0..1, H and W even.
        shot, read: variance of the noise in linear light is shot·x + read².
        seed: same seed, same noise.
        blur: standard deviation in pixels of a blur that correlates the noise; its variance stays.

    Returns:
        (H, W, 3) sRGB in 0..1: mosaic, noise, bilinear demosaicing and tone curve applied.
    """
    linear = _to_linear(clean)
    mosaic = np.zeros(clean.shape[:2], dtype=np.float32)
    seen = np.zeros(clean.shape, dtype=np.float32)
    for channel, places in enumerate((((0, 0),), ((0, 1), (1, 0)), ((1, 1),))):
        for y, x in places:
            mosaic[y::2, x::2] = linear[y::2, x::2, channel]
            seen[y::2, x::2, channel] = 1
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, mosaic.shape).astype(np.float32)
    mosaic += (_correlated(noise, blur) if blur else noise) * np.sqrt(shot * mosaic + read * read)
    return np.clip(_to_srgb(_demosaiced(mosaic, seen)), 0.0, 1.0)


def _correlated(noise: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
    """Blur noise (H, W) as if it went on beyond its borders, and bring it back to variance 1."""
    height, width = noise.shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    kept = np.exp(-2 * (np.pi * blur * frequency) ** 2)
    blurred = np.fft.irfft2(np.fft.rfft2(noise) * kept, s=noise.shape)
    return np.asarray(blurred / blurred.std(), dtype=np.float32)


def _demosaiced(mosaic: NDArray[np.float32], seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear: every missing colour is the weighted mean of its nearest neighbours of that colour."""
    planes = []
    for channel in range(3):
        value, weight = (_tent(plane) for plane in (mosaic * seen[..., channel], seen[..., channel]))
        planes.append(np.where(seen[..., channel] > 0, mosaic, value / weight))
    return np.stack(planes, 2).astype(np.float32)


def _tent(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(plane, 1, mode="reflect")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:], dtype=np.float32)


def _to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    positive = np.maximum(linear, 0)
    return np.where(positive <= 0.0031308, positive * 12.92, 1.055 * positive ** (1 / 2.4) - 0.055).astype(np.float32)


def _eight_bit(picture: NDArray[np.float32]) -> NDArray[np.generic]:
    return from_unit(picture, np.dtype(np.uint8))


def _sky(height: int, width: int) -> NDArray[np.float32]:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    deep, glow = np.array([0.05, 0.07, 0.16], np.float32), np.array([0.38, 0.24, 0.22], np.float32)
    return np.broadcast_to(deep + (glow - deep) * down**2, (height, width, 3)).copy()


def _house(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    wall = tuple(int(value) for value in rng.integers(55, 120, 3))
    draw.rectangle(box, fill=wall)
    _bricks(draw, box, wall, rng)
    across = max(2, (right - left) // 46)
    pitch = (right - left) / across
    for floor in range(top + 16, bottom - 70, 58):
        for column in range(across):
            x = int(left + column * pitch + pitch * 0.25)
            lit = rng.random() < 0.55
            warm = (250, int(rng.integers(180, 235)), int(rng.integers(90, 160)))
            draw.rectangle((x, floor, x + int(pitch * 0.5), floor + 34), fill=warm if lit else (24, 28, 40))
            draw.line((x, floor + 17, x + int(pitch * 0.5), floor + 17), fill=wall, width=2)
            draw.line((x + int(pitch * 0.25), floor, x + int(pitch * 0.25), floor + 34), fill=wall, width=2)
    sign = WORDS[int(rng.integers(len(WORDS)))]
    neon = tuple(int(value) for value in rng.integers(90, 256, 3))
    draw.rectangle((left + 10, bottom - 56, right - 10, bottom - 22), fill=(16, 14, 22))
    draw.text((left + 18, bottom - 54), sign, fill=neon, font=ImageFont.load_default(26))


def _bricks(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], wall: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Lay bricks over a wall: joints darker than it, and each brick a little lighter or darker than the next."""
    left, top, right, bottom = box
    draw.rectangle(box, fill=_shaded(wall, 0.62))
    for row, y in enumerate(range(top, bottom, COURSE)):
        for x in range(left - row % 2 * BRICK // 2, right, BRICK):
            corner = (min(x + BRICK - JOINT - 1, right), min(y + COURSE - JOINT - 1, bottom))
            if corner[0] >= left:
                draw.rectangle((max(x, left), y, *corner), fill=_shaded(wall, float(rng.uniform(0.92, 1.08))))


def _shaded(colour: tuple[int, ...], by: float) -> tuple[int, ...]:
    return tuple(round(value * by) for value in colour)


def _cobbles(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows of round stones that grow towards the viewer, each of its own shade, dark between them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    near = y / max(1, height)
    row = (np.log1p(1.6 * near) / np.log(2.6) * height / 22).astype(np.float32)
    course = np.floor(row)
    across = (x - width / 2) / (20 + 22 * near) + 0.5 * (course % 2)
    up, along = row - course - 0.5, across - np.floor(across) - 0.5
    round_off = np.clip(1.15 - 4 * (up**2 + along**2), 0.25, 1.0)
    shades = rng.uniform(0.75, 1.25, (64, 256)).astype(np.float32)
    own = shades[course.astype(int) % 64, np.floor(across).astype(int) % 256]
    grain = rng.normal(0, 0.006, (height, width)).astype(np.float32)
    shade = (0.07 + 0.24 * round_off * own * (0.5 + 0.5 * near) + grain)[..., None]
    return np.asarray(shade * np.array([1.0, 0.93, 0.86], np.float32), dtype=np.float32)


def _leaves(canvas: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Hang a tree into the upper corner: many small strokes of several greens."""
    height, width = canvas.shape[:2]
    picture = Image.fromarray(_eight_bit(canvas))
    draw = ImageDraw.Draw(picture)
    for _ in range(2600):
        x = width - abs(rng.normal(0, width * 0.11))
        y = abs(rng.normal(0, height * 0.16))
        turn, length = rng.uniform(0, np.pi), rng.uniform(4, 11)
        green = (int(rng.integers(15, 60)), int(rng.integers(50, 130)), int(rng.integers(15, 50)))
        draw.line((x, y, x + length * np.cos(turn), y + length * np.sin(turn)), fill=green, width=2)
    return to_unit(np.asarray(picture))


def _lamps(height: int, width: int, horizon: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Light of three street lamps, falling off smoothly."""
    light = Image.new("L", (width, height))
    draw = ImageDraw.Draw(light)
    for place in (0.15, 0.5, 0.83):
        x, y = int(width * place + rng.integers(-20, 20)), int(horizon - height * 0.2)
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=255)
    wide = to_unit(np.asarray(light.filter(ImageFilter.GaussianBlur(height / 14))))
    near = to_unit(np.asarray(light.filter(ImageFilter.GaussianBlur(2))))
    glow = (4.0 * wide + 0.9 * near)[..., None]
    warm = np.array([1.0, 0.85, 0.55], np.float32)
    return np.asarray(glow * warm, dtype=np.float32)
