"""Make the README's before/after picture: a photograph with a camera's noise, and what `nsp denoise` makes of it.

python docs/make_picture.py seeding_by_Clements_Engelhardt.jpg

The photograph is CC0; docs/pictures.md says where it comes from, and what is done to it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.frames.read import read_frame

ISO, SHRUNK = 6400, 2
LEFT, TOP, WIDTH, HEIGHT = 300, 60, 480, 400
GAP = 8
OUT = Path(__file__).parent / "before-after.jpg"


def main() -> None:
    """Shrink, photograph, denoise with default options, put the same 100 % crop of both side by side."""
    parser = argparse.ArgumentParser(description="Make the README's picture.")
    parser.add_argument("photo", type=Path)
    scene = shrunk(light_of(to_unit(read_frame(parser.parse_args().photo).pixels)))
    shot = photograph(RawCamera(), scene, np.random.default_rng(1), iso=ISO)
    with tempfile.TemporaryDirectory() as folder:
        raw, before, after = (Path(folder) / name for name in ("shot.dng", "before.jpg", "after.jpg"))
        write_raw(raw, shot, DngOptions())
        developed = from_unit(to_unit(read_frame(raw).pixels), np.dtype(np.uint8))
        Image.fromarray(developed).save(before, quality=97, subsampling=0)
        subprocess.run([sys.executable, "-m", "nsp_pipeline", "denoise", "-v", before, after], check=True)
        picture = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), "white")
        for place, path in enumerate((before, after)):
            crop = Image.open(path).crop((LEFT, TOP, LEFT + WIDTH, TOP + HEIGHT))
            picture.paste(crop, (place * (WIDTH + GAP), 0))
    picture.save(OUT, quality=92, subsampling=0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{developed.shape[0] * developed.shape[1] / 1e6:.1f} megapixels, {used.ru_utime:.1f} s of processor time")


def light_of(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of an sRGB picture in 0..1."""
    return np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4).astype(np.float32)


def shrunk(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of every square of pixels, (H, W, 3), with even sides for the mosaic."""
    height, width = (side // (2 * SHRUNK) * 2 for side in light.shape[:2])
    squares = light[: height * SHRUNK, : width * SHRUNK].reshape(height, SHRUNK, width, SHRUNK, 3)
    return np.asarray(squares.mean((1, 3)), dtype=np.float32)


if __name__ == "__main__":
    main()
