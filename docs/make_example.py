"""Make the example: a folder of noisy photos that this project paints itself.

python docs/make_example.py FOLDER [--clean FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street

SHOTS = {
    "street-1.jpg": (0, 0.004, 0.003),
    "street-2.jpg": (1, 0.008, 0.005),
    "evening/street-3.jpg": (2, 0.002, 0.002),
}
ISO_TAG, EXIF_IFD, MAKE_TAG, MODEL_TAG = 0x8827, 0x8769, 0x010F, 0x0110


def main() -> None:
    """Paint the photos, put a camera's noise on them, and save them as a camera would."""
    parser = argparse.ArgumentParser(description="Make a folder of noisy example photos.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clean", type=Path, help="also save the photos without noise here")
    arguments = parser.parse_args()
    for name, (seed, shot, read) in SHOTS.items():
        clean = night_street(seed=seed)
        save(add_camera_noise(clean, shot=shot, read=read, seed=seed), arguments.folder / name)
        if arguments.clean:
            save(clean, arguments.clean / name)


def save(picture: NDArray[np.float32], path: Path) -> None:
    """Save (H, W, 3) in 0..1 as a JPEG of high quality with the metadata of an imaginary camera."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(from_unit(picture, np.dtype(np.uint8)))
    exif = Image.Exif()
    exif[MAKE_TAG], exif[MODEL_TAG] = "Painted", "Camera"
    exif.get_ifd(EXIF_IFD)[ISO_TAG] = 6400
    image.save(path, quality=95, subsampling=0, exif=exif)


if __name__ == "__main__":
    main()
