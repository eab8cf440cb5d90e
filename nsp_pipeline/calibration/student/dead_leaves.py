"""Pictures painted from overlapping shapes, as sharp targets that belong to nobody.

The dead-leaves model (Matheron 1968; Lee, Mumford and Huang 2001): shapes of power-law sizes that hide one another have
the edges, contrasts and scale invariance of photographs; denoisers learn from them nearly as much as from photographs
(Achddou, Gousseau and Ladjal 2021). Colours are drawn from real photos; shapes carry shading, grain of any coarseness,
stripes or real texture; part of a picture lies out of focus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from nsp_pipeline.core.depth import from_unit, to_unit

OVERSIZE = 2
"""Painted this many times larger and shrunk, so that edges are as soft as a lens makes them."""

SMALLEST, LARGEST = 3.0, 0.35
"""Radii of shapes: pixels of the large picture, and share of its side."""

TEXTURED, STRIPED, SHADED = 0.45, 0.1, 0.6


@dataclass(frozen=True)
class _Scheme:
    """Colours of one picture: drawn from photos, then moved towards one of them, as light and haze do."""

    palette: Sequence[NDArray[np.uint8]]
    key: NDArray[np.float32]
    contrast: float

    def colour(self, rng: np.random.Generator) -> NDArray[np.float32]:
        return self.toned(to_unit(_colour(self.palette, rng)))

    def toned(self, colours: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.key + np.float32(self.contrast) * (colours - self.key), dtype=np.float32)


def paint(side: int, palette: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint one picture.

    Args:
        side: of the picture, in pixels.
        palette: photos (H, W, 3) that colours and textures are taken from; each at least 64 pixels a side.
        rng: same state, same picture.

    Returns:
        (side, side, 3).
    """
    large = side * OVERSIZE
    scheme = _Scheme(palette, to_unit(_colour(palette, rng)), float(rng.uniform(0.15, 1.0)))
    canvas = Image.fromarray(_filling((large, large), scheme, rng))
    for radius in _radii(large, rng):
        centre = rng.uniform(-0.1, 1.1, 2) * large
        outline = _outline(centre, radius, rng)
        left, top = np.floor(outline.min(0)).astype(int).clip(0, large - 1)
        right, bottom = np.ceil(outline.max(0)).astype(int).clip(1, large)
        if right - left < 2 or bottom - top < 2:
            continue
        mask = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], fill=255)
        leaf = Image.fromarray(_filling((int(bottom - top), int(right - left)), scheme, rng))
        canvas.paste(leaf, (int(left), int(top)), mask)
    _draw_lines(canvas, scheme, rng)
    picture = canvas.resize((side, side), Image.Resampling.BOX)
    if rng.random() < 0.3:
        picture = _out_of_focus(picture, rng)
    return np.array(picture)


def _radii(large: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Radii of a density ∝ r^-(1 + steepness) between the limits."""
    low, high = SMALLEST * rng.uniform(1, 4), LARGEST * large
    steepness = rng.uniform(0.6, 2.0)
    share = rng.random(int(rng.integers(150, 900)))
    radii = (low**-steepness - share * (low**-steepness - high**-steepness)) ** (-1 / steepness)
    # Towards larger shapes come earlier: small detail stays in sight, as on things that lie in front.
    order = np.argsort(-np.log(radii) + rng.normal(0, 0.8, len(radii)))
    return np.asarray(radii[order])


def _outline(centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Corners (N, 2) of an ellipse, a polygon or a bar, turned at random."""
    kind = rng.random()
    corners = 40 if kind < 0.45 else int(rng.integers(3, 8))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    if kind >= 0.45:
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind < 0.75 else np.pi / 4 + np.arange(4) * np.pi / 2
    stretch = np.array([1.0, rng.uniform(0.08, 1.0)])
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius * stretch
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray(points @ rotation.T + centre)


def _filling(shape: tuple[int, int], scheme: _Scheme, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Fill (H, W) with a colour, shaded, grained, striped or with the texture of a photo."""
    colour = scheme.colour(rng)
    light = np.ones(shape, np.float32)
    y, x = (axis / max(shape) for axis in np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32))
    if rng.random() < SHADED:
        down, across = rng.normal(0, 0.35, 2)
        light += np.float32(down) * (y - 0.5) + np.float32(across) * (x - 0.5)
    kind = rng.random()
    if kind < TEXTURED:
        light *= 1 + np.float32(rng.uniform(0.02, 0.35)) * _grain(shape, rng)
    elif kind < TEXTURED + STRIPED:
        turn, pitch = rng.uniform(0, np.pi), max(shape) / rng.uniform(5, 60)
        waves = np.sin((x * np.cos(turn) + y * np.sin(turn)) * max(shape) * np.float32(2 * np.pi / max(pitch, 5)))
        light *= 1 + np.float32(rng.uniform(0.05, 0.5)) * np.sign(waves)
    elif kind < 0.8:
        return _piece(shape, scheme, rng)
    return np.asarray(from_unit(np.clip(colour * light[..., None], 0, 1), np.dtype(np.uint8)), dtype=np.uint8)


def _colour(palette: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    photo = palette[int(rng.integers(len(palette)))]
    return np.asarray(photo[int(rng.integers(photo.shape[0])), int(rng.integers(photo.shape[1]))])


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cloudy texture of standard deviation about 1, its spectrum a power law."""
    side = 1 << (max(16, *shape) - 1).bit_length()
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency ** -rng.uniform(0.3, 1.8)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(side, side))[: shape[0], : shape[1]]
    return np.asarray(field / max(field.std(), 1e-6), dtype=np.float32)


def _piece(shape: tuple[int, int], scheme: _Scheme, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A piece of a photo, at its own size where it is large enough, of changed contrast and colour."""
    photo = scheme.palette[int(rng.integers(len(scheme.palette)))]
    height, width = (min(side, have) for side, have in zip(shape, photo.shape[:2], strict=True))
    top, left = int(rng.integers(photo.shape[0] - height + 1)), int(rng.integers(photo.shape[1] - width + 1))
    piece = to_unit(photo[top : top + height, left : left + width])
    mean = piece.mean((0, 1))
    tinted = scheme.toned(mean * rng.uniform(0.5, 1.4, 3)) + (piece - mean) * np.float32(rng.uniform(0.4, 1.4))
    pixels = np.asarray(from_unit(np.clip(tinted, 0, 1).astype(np.float32), np.dtype(np.uint8)), dtype=np.uint8)
    if (height, width) == shape:
        return pixels
    repeats = -(-shape[0] // height), -(-shape[1] // width), 1
    return np.tile(pixels, repeats)[: shape[0], : shape[1]]


def _draw_lines(canvas: Image.Image, scheme: _Scheme, rng: np.random.Generator) -> None:
    """Hair, wires, grass: thin strokes, some straight bundles and some single ones."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(0, 8))):
        start, turn = rng.uniform(0, 1, 2) * canvas.width, rng.uniform(0, 2 * np.pi)
        colour = tuple(int(value) for value in from_unit(np.clip(scheme.colour(rng), 0, 1), np.dtype(np.uint8)))
        for _ in range(int(rng.integers(1, 40))):
            origin = start + rng.normal(0, 40, 2)
            length = rng.uniform(10, canvas.width / 3)
            end = origin + length * np.array([np.cos(turn), np.sin(turn)])
            draw.line((*origin, *end), fill=colour, width=int(rng.integers(1, 5)))
            turn += rng.normal(0, 0.05)


def _out_of_focus(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur one side of the picture, more the further from a line through it."""
    soft = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.8, 5.0))))
    ramp = np.linspace(0, 1, picture.width)[None].repeat(picture.height, 0)
    share = np.rot90(np.clip(ramp * 4 - rng.uniform(0, 3), 0, 1), int(rng.integers(4)))
    mask = Image.fromarray((share * 255).astype(np.uint8))
    return Image.composite(soft, picture, mask)
