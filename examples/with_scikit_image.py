"""nsp between scikit-image's own steps: read as floats, denoise, brighten the shadows, write.

pip install scikit-image
python examples/with_scikit_image.py PICTURE FOLDER
"""

import sys
from pathlib import Path

from skimage.exposure import adjust_gamma
from skimage.io import imread, imsave
from skimage.util import img_as_float, img_as_ubyte

import nsp_pipeline as nsp


def main(picture: Path, folder: Path) -> None:
    """Clean and brighten one picture into the folder."""
    folder.mkdir(exist_ok=True)
    noisy = img_as_float(imread(picture))
    clean = nsp.denoise(noisy)
    brighter = adjust_gamma(clean, 0.8)  # after denoising: before it, noise would no longer be what a camera makes
    imsave(folder / f"{picture.stem}.png", img_as_ubyte(brighter))
    before, after = nsp.measure_noise(noisy).sigma, nsp.measure_noise(clean).sigma
    print(f"{picture}: noise {before:.1f} -> {after:.1f} of 255")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
