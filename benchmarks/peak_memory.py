"""Peak memory of `nsp denoise` with default options: one 24-megapixel photo against three and six.

    python benchmarks/peak_memory.py

Each run is a process of its own; what is printed is the largest resident set the system saw of it. The photos are
made in yet another one: a process starts with the high-water mark of the one that it was forked from.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street

HEIGHT, WIDTH = 4000, 6000


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        maker = get_context("spawn").Process(target=make_photo, args=(photos / "0.jpg",))
        maker.start()
        maker.join()
        one, seconds = peak(photos, Path(folder) / "one")
        for count in range(1, 6):
            shutil.copy(photos / "0.jpg", photos / f"{count}.jpg")
            if count == 2:
                three, _ = peak(photos, Path(folder) / "three")
        six, _ = peak(photos, Path(folder) / "six")
    megapixels = HEIGHT * WIDTH / 1e6
    print(f"one photo of {megapixels:.0f} MP     {one / 2**20:7.0f} MiB peak, {seconds / megapixels:.2f} s/MP")
    print(f"three photos of {megapixels:.0f} MP  {three / 2**20:7.0f} MiB peak")
    print(f"six photos of {megapixels:.0f} MP    {six / 2**20:7.0f} MiB peak")
    print(f"ratio, six to three  {six / three:7.2f}")


def make_photo(path: Path) -> None:
    """Save a street at night with a camera's noise."""
    picture = add_camera_noise(night_street(HEIGHT, WIDTH), shot=0.01, read=0.005, seed=0)
    Image.fromarray(from_unit(picture, np.dtype(np.uint8))).save(path, quality=95)


def peak(photos: Path, output: Path) -> tuple[int, float]:
    """Run `nsp denoise` and return its peak resident memory in bytes and its wall time in seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "nsp_pipeline", "denoise", photos, output], stderr=subprocess.PIPE
    )
    assert process.stderr
    messages = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(messages)
    return usage.ru_maxrss * 1024, time.perf_counter() - begun


if __name__ == "__main__":
    main()
