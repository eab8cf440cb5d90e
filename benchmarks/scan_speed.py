"""Seconds that grouping 10,000 photos by their metadata takes.

    python benchmarks/scan_speed.py [--photos N] [--megapixels N]

The files are JPEGs of four cameras and five ISO, each as large as a photo: what follows the metadata must not be read.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from nsp_pipeline.calibration.archive.groups import group_photos
from nsp_pipeline.frames.find import find_photos

KINDS = 20


def main() -> None:
    """Make the files, group them, and print seconds."""
    parser = argparse.ArgumentParser(description="Time the scan of an archive.")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--megapixels", type=float, default=0.3, help="of each; the disk must hold them all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = fill(folder, asked.photos, asked.megapixels)
        begun = time.perf_counter()
        groups, refused = group_photos(find_photos([folder]).paths, {})
        seconds = time.perf_counter() - begun
    print(f"{asked.photos} photos, {size / 1e6:.0f} MB, {len(groups)} groups, {len(refused)} refused: {seconds:.1f} s")


def fill(folder: Path, count: int, megapixels: float) -> int:
    """Save JPEGs; returns their bytes in all."""
    side = int((megapixels * 1e6) ** 0.5)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    contents = []
    for kind in range(KINDS):
        exif = Image.Exif()
        exif[271], exif[272] = b"Maker", f"Camera {kind % 4}".encode()
        exif.get_ifd(0x8769)[34855] = 100 << kind // 4
        picture.save(folder / "kind.jpg", exif=exif)
        contents.append((folder / "kind.jpg").read_bytes())
    (folder / "kind.jpg").unlink()
    for number in range(count):
        place = folder / f"{number // 500:03}"
        place.mkdir(exist_ok=True)
        (place / f"{number:05}.jpg").write_bytes(contents[number % KINDS])
    return sum(len(contents[number % KINDS]) for number in range(count))


if __name__ == "__main__":
    main()
