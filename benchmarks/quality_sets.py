"""How near profiles come to the truth: white noise, pairs (middles and whole photos), phones, and photos without noise.

    python benchmarks/quality_sets.py standard fast [--white DIR] [--noisy DIR --truth DIR] [--phones DIR] [--photos]
                                      [--look natural]

Each set that is given is denoised through `nsp.Denoiser` with default options, or in another look; mean PSNR in dB and
SSIM of 8 bits, and how many photos come out worse than they were. White: noise of σ 5, 10 and 25 of 255 on the top left
512×512 of clean pictures, rounded and clipped. Pairs: their middle 512×512 and whole. Phones: pairs in one folder.
Without noise: the middle 1200×1200 of the truth, by how much it changes. With --photos, each photo on a line of its
own.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nsp_pipeline as nsp
from nsp_pipeline.core.blend import LOOKS, SMOOTH
from nsp_pipeline.evaluation.datasets.pairs import find_pairs
from nsp_pipeline.evaluation.metrics import psnr, ssim, to_eight_bit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.read import read_frame

SIDE, NOISELESS_SIDE = 512, 1200
SIGMAS = 5, 10, 25

Picture = NDArray[np.uint8]
Denoise = Callable[[Picture], NDArray[np.generic]]
Trial = tuple[str, Picture, Picture]
"""Name, noisy picture, and truth."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles", nargs="+")
    for name in ("white", "noisy", "truth", "phones"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--photos", action="store_true")
    parser.add_argument("--look", choices=LOOKS, default=SMOOTH)
    asked = parser.parse_args()
    for profile in asked.profiles:
        denoise = partial(nsp.Denoiser(profile, engine=asked.engine).denoise, look=asked.look)
        if asked.white:
            for sigma in SIGMAS:
                near(f"{profile}: white σ {sigma}", denoise, white(asked.white, sigma), asked.photos)
        if asked.noisy and asked.truth:
            near(f"{profile}: middles", denoise, pairs(asked.noisy, asked.truth, SIDE), asked.photos)
            near(f"{profile}: whole", denoise, pairs(asked.noisy, asked.truth), asked.photos)
        if asked.phones:
            near(f"{profile}: phones", denoise, pairs(asked.phones, asked.phones), asked.photos)
        if asked.truth:
            unchanged(profile, denoise, asked.truth)


def near(name: str, denoise: Denoise, trials: Iterable[Trial], each: bool) -> None:
    """How near denoised pictures are to the truth."""
    rows = []
    for photo, noisy, clean in trials:
        made = to_eight_bit(denoise(noisy))
        rows.append((psnr(noisy, clean), psnr(made, clean), ssim(made, clean)))
        if each:
            print(f"  {photo}: {rows[-1][0]:.2f} -> {rows[-1][1]:.2f} / {rows[-1][2]:.4f}", flush=True)
    if not rows:
        raise SystemExit(f"{name}: there is no photo")
    before, after, alike = np.mean(rows, 0)
    worse = sum(row[1] < row[0] for row in rows)
    print(
        f"{name}, {len(rows)} photos: {before:.2f} -> {after:.2f} / {alike:.4f}; worse than it was: {worse}", flush=True
    )


def unchanged(profile: str, denoise: Denoise, folder: Path) -> None:
    """What becomes of photos without noise."""
    kept = []
    for path in find_photos([folder]).paths:
        clean = middle(eight_bit(path), NOISELESS_SIDE)
        made = to_eight_bit(denoise(clean))
        kept.append("the same" if (made == clean).all() else f"{psnr(made, clean):.1f}")
    print(f"{profile}: without noise, of themselves: {', '.join(kept)}", flush=True)


def white(folder: Path, sigma: float) -> Iterator[Trial]:
    """Clean pictures with white noise."""
    for seed, path in enumerate(sorted(find_photos([folder]).paths)):
        clean = eight_bit(path)[:SIDE, :SIDE]
        noise = sigma * np.random.default_rng(seed).standard_normal(clean.shape)
        yield path.name, np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), clean


def pairs(noisy: Path, truth: Path, side: int | None = None) -> Iterator[Trial]:
    """Photos with ground truth, or the square in their middle."""
    for pair in find_pairs(noisy, truth):
        before, after = (np.asarray(to_eight_bit(pixels)) for pixels in pair.load())
        yield pair.name, *((before, after) if side is None else (middle(before, side), middle(after, side)))


def eight_bit(path: Path) -> Picture:
    """A photo's pixels."""
    return np.asarray(to_eight_bit(read_frame(path).pixels))


def middle(pixels: Picture, side: int) -> Picture:
    """The square of that side in the middle of (H, W, 3)."""
    top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


if __name__ == "__main__":
    main()
