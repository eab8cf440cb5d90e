"""Clean pictures one by one, with an engine that stays open.

    python examples/plain_loop.py PICTURE... FOLDER

Pillow reads and writes the files here, so metadata and bit depth are what Pillow makes of them; `nsp denoise` and
nsp.denoise_folder keep both.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import nsp_pipeline as nsp


def main(pictures: list[Path], folder: Path) -> None:
    """Clean every picture into the folder."""
    folder.mkdir(exist_ok=True)
    with nsp.Denoiser("fast") as denoiser:
        print(f"on {denoiser.info.provider}, {denoiser.info.precision}")
        for path in pictures:
            with Image.open(path) as opened:
                noisy = np.asarray(opened.convert("RGB"))
            clean = denoiser.denoise(noisy)
            Image.fromarray(clean).save(folder / path.name)
            before, after = nsp.measure_noise(noisy).sigma, nsp.measure_noise(clean).sigma
            print(f"{path}: noise {before:.1f} -> {after:.1f}")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
