"""Make the README's before/after picture: a painted photo with camera noise, and what `nsp denoise` makes of it.

python docs/make_picture.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street

LEFT, TOP, WIDTH, HEIGHT = 700, 250, 480, 400
GAP = 8


def main() -> None:
    """Paint, denoise with default options, put the same 100 % crop of both side by side."""
    noisy = from_unit(add_camera_noise(night_street(seed=1), shot=0.006, read=0.004, seed=1), np.dtype(np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.png", Path(folder) / "after.png"
        Image.fromarray(noisy).save(before)
        subprocess.run([sys.executable, "-m", "nsp_pipeline", "denoise", before, after], check=True)
        picture = Image.new("RGB", (2 * WIDTH + GAP, HEIGHT), "white")
        for place, path in enumerate((before, after)):
            crop = Image.open(path).crop((LEFT, TOP, LEFT + WIDTH, TOP + HEIGHT))
            picture.paste(crop, (place * (WIDTH + GAP), 0))
    picture.save(Path(__file__).parent / "before-after.jpg", quality=92, subsampling=0)


if __name__ == "__main__":
    main()
