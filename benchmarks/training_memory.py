"""Bytes that held photos cost in training: in memory, and mapped from the cache when memory does not suffice.

    python benchmarks/training_memory.py [--photos N]

Each case is a process of its own. It loads photos as `nsp calibrate` does and cuts crops out of all of them. What is
printed is how much its memory grew over that of one that loads nothing: memory of its own (the cache's pages
are the system's, which takes them back when it needs them) per sample, a colour of a pixel.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 2000, 3000

CASE = """
import sys
from pathlib import Path
import numpy as np
from nsp_pipeline.calibration.training.crops import CropSampler
from nsp_pipeline.calibration.training.photos import load_photos
folder, memory, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
paths = sorted(folder.glob("*.jpg"))

def own():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    known = dict(line.split(":") for line in lines[1:])
    return 1024 * (int(known["Anonymous"].split()[0]) + int(known.get("Swap", "0 kB").split()[0]))

# The decoder, and an allocator that has seen a photo come and go, are no part of what a further photo costs.
load_photos(paths[:1], smallest_side=240, memory=1 << 30, seed=0)
before = own()
photos = load_photos(paths, smallest_side=240, memory=memory, seed=0, cache=1 << 40, cache_folder=folder / "cache")
images = [photo.pixels for photo in (*photos.training, *photos.held_out)]
sampler = CropSampler(images, 240, "cpu")
rng = np.random.default_rng(0)
for _ in range(count):
    sampler.draw(4, rng)
samples = sum(image.size for image in images)
mapped = sum(isinstance(image, np.memmap) for image in images)
print(f"{len(images)} photos, {mapped} mapped: {(own() - before) / samples:.3f} bytes of memory a sample, "
      f"{sum(image.nbytes for image in images) / samples:.3f} in memory and cache together")
"""


def main() -> None:
    """Measure both cases and print."""
    parser = argparse.ArgumentParser(description="Measure the memory of held photos.")
    parser.add_argument("--photos", type=int, default=24)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cache").mkdir()
        rng = np.random.default_rng(0)
        for number in range(asked.photos):
            noise = rng.integers(60, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{number:03}.jpg")
        for memory in (1 << 40, 1 << 20):
            subprocess.run([sys.executable, "-c", CASE, str(folder), str(memory), "50"], check=True)


if __name__ == "__main__":
    main()
