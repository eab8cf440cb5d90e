"""Drawings: flat colours, straight edges, gradients and letters, without any noise; and nothing else."""

import numpy as np
import torch
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def draw_picture(side: int, rng: np.random.Generator) -> torch.Tensor:
    """A drawing (1, 3, side, side) in 0..1: shapes, lines, letters and patterns, edges smooth or in steps."""
    scale = int(rng.integers(1, 3))
    canvas = Image.new("RGB", (side * scale, side * scale), _colour(rng))
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.3:
        _fill_with_gradient(canvas, rng)
    for _ in range(int(rng.integers(3, 40))):
        _draw_one(draw, canvas.width, rng)
    if rng.random() < 0.3:
        _draw_pattern(draw, canvas.width, rng)
    if scale > 1:
        canvas = canvas.resize((side, side), Image.Resampling.BOX)
    return torch.from_numpy(np.array(canvas)).permute(2, 0, 1)[None].float() / 255


def _draw_one(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    left, top = rng.uniform(-0.1, 1, 2) * width
    across, down = np.exp(rng.uniform(np.log(4), np.log(width / 2), 2))
    box = (float(left), float(top), float(left + across), float(top + down))
    kind = int(rng.integers(5))
    if kind == 0:
        draw.rectangle(box, fill=_colour(rng), outline=_colour(rng), width=int(rng.integers(1, 4)))
    elif kind == 1:
        draw.ellipse(box, fill=_colour(rng))
    elif kind == 2:
        draw.line(box, fill=_colour(rng), width=int(rng.integers(1, 6)))
    elif kind == 3:
        corners = [tuple(point) for point in rng.uniform(0, 1, (int(rng.integers(3, 7)), 2)) * width]
        draw.polygon(corners, fill=_colour(rng))
    else:
        words = "".join(chr(int(code)) for code in rng.integers(33, 123, int(rng.integers(3, 40))))
        draw.text((box[0], box[1]), words, fill=_colour(rng), font_size=float(rng.uniform(8, 40)))


def _draw_pattern(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    """Stripes or a chequer of a few pixels, the finest of which look like noise."""
    (left, top), (right, bottom) = (map(int, corner) for corner in np.sort(rng.integers(0, width, (2, 2)), axis=0))
    step, colour = int(rng.integers(1, 9)), _colour(rng)
    both = rng.random() < 0.5
    for row in range(top, bottom, step):
        if (row // step) % 2:
            continue
        if not both:
            draw.rectangle((left, row, right, row + step - 1), fill=colour)
            continue
        for column in range(left, right, 2 * step):
            draw.rectangle((column, row, column + step - 1, row + step - 1), fill=colour)


def _fill_with_gradient(canvas: Image.Image, rng: np.random.Generator) -> None:
    first, second = (np.array(_colour(rng), np.float32) for _ in range(2))
    way = np.linspace(0, 1, canvas.width, dtype=np.float32)[None, :, None]
    colours = np.broadcast_to(first + way * (second - first), (canvas.height, canvas.width, 3))
    picture = Image.fromarray(np.rint(colours).astype(np.uint8))
    canvas.paste(picture.rotate(90 * int(rng.integers(4))))


def _colour(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.3:
        grey = int(rng.integers(256))
        return grey, grey, grey
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue
