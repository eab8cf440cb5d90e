"""Photos of a smooth scene with noise of known strength."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def clean_scene(height: int, width: int) -> NDArray[np.float64]:
    """Waves of colour, (H, W, 3), values from 60 to 196 of 255."""
    rows, cols = np.linspace(0, 3, height)[:, None, None], np.linspace(0, 4, width)[None, :, None]
    return 128 + 68 * np.sin(rows + cols * np.arange(1, 4))


def noisy_scene(seed: int, height: int = 48, width: int = 64, sigma: float = 15.0) -> NDArray[np.uint8]:
    """The scene with white noise of that standard deviation, 8 bits."""
    noise = np.random.default_rng(seed).normal(0, sigma, (height, width, 3))
    return np.rint(clean_scene(height, width) + noise).clip(0, 255).astype(np.uint8)


def save_archive(
    folder: Path,
    count: int,
    *,
    iso: int | None = None,
    size: tuple[int, int] = (64, 48),
    camera: tuple[str, str] = ("Maker", "Maker One"),
) -> Path:
    """Fill a folder with noisy photos (width, height); with an ISO they are JPEGs of one camera."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        image = Image.fromarray(noisy_scene(seed, size[1], size[0]))
        if iso is None:
            image.save(folder / f"{seed}.png")
            continue
        exif = Image.Exif()
        exif[271], exif[272] = (word.encode() for word in camera)  # Pillow takes ASCII alone
        exif.get_ifd(0x8769)[34855] = iso + 100 * seed
        image.save(folder / f"{seed}.jpg", quality=98, exif=exif)
    return folder
