"""What a profile promises beyond noisy photos with ground truth, each measured on the photos given.

    python benchmarks/promises.py standard fast --clean DIR [--noisy DIR --truth DIR]

Phone noise: clean photos are shrunk, and noise that is correlated over several pixels is put on in linear light behind
a Bayer mosaic, as strong as makes 22 dB of them; beside non-local means whose strength is the measured noise.
Harmless: shrunk photos, which have no noise, against what becomes of them. Half: what --strength 0.5 removes, in parts
of what 1 removes. Enlarging (with --noisy and --truth): photos halved with bicubic, `sr-direct` against the bicubic
enlargement of what non-local means makes of them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.evaluation.datasets.pairs import find_pairs
from nsp_pipeline.evaluation.metrics import psnr, ssim
from nsp_pipeline.evaluation.synthetic import add_camera_noise
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

SIDE = 512
SHRINK = 3
PHONE_DB = 22.0
BLUR = 1.0
"""Standard deviation, in pixels of the mosaic, of the blur that correlates the noise of a phone."""

Picture = NDArray[np.uint8]


def main() -> None:
    """Measure and print a line for each promise and profile."""
    parser = argparse.ArgumentParser(description="Measure what profiles promise.")
    parser.add_argument("profiles", nargs="+")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--noisy", type=Path)
    parser.add_argument("--truth", type=Path)
    asked = parser.parse_args()
    scenes = [shrunken(read_frame(path).pixels) for path in find_photos([asked.clean]).paths]
    for name in asked.profiles:
        engine = open_profile_engine(find_profile(name), "denoise", "auto", _opened)
        phone(name, engine, scenes)
        harmless(name, engine, scenes)
        half(name, engine, scenes)
        engine.close()
        if asked.noisy and asked.truth:
            enlarging(name, asked.noisy, asked.truth)


def phone(name: str, engine: Engine, scenes: list[Picture]) -> None:
    """Strong noise, correlated over several pixels."""
    rows = []
    for seed, scene in enumerate(scenes):
        noisy = as_phone(scene, seed)
        sigma = estimate_noise(noisy).sigma
        rows.append([psnr(found, scene) for found in (noisy, denoised(engine, noisy), non_local_means(noisy, sigma))])
    before, ours, theirs = np.mean(rows, 0)
    print(f"{name}: phone noise {before:.2f} dB -> {ours:.2f} ({ours - before:+.2f}); non-local means {theirs:.2f}")


def harmless(name: str, engine: Engine, scenes: list[Picture]) -> None:
    """Photos without noise."""
    kept = [psnr(denoised(engine, scene), scene) for scene in scenes]
    print(f"{name}: without noise, {np.mean(kept):.1f} dB of itself on average, {min(kept):.1f} at the least")


def half(name: str, engine: Engine, scenes: list[Picture]) -> None:
    """Half of the removal at half strength."""
    shares = []
    for seed, scene in enumerate(scenes):
        noisy = as_phone(scene, seed)
        whole, part = (denoised(engine, noisy, strength) - noisy.astype(np.float64) for strength in (1.0, 0.5))
        shares.append(float((part * whole).sum() / (whole**2).sum()))
    print(f"{name}: strength 0.5 removes {np.mean(shares):.3f} of what 1 removes")


def enlarging(name: str, noisy_folder: Path, truth_folder: Path) -> None:
    """Halved photos, enlarged."""
    engine, rows = open_profile_engine(find_profile(name), "sr-direct", "auto", _opened), []
    for _, small, truth in halved_pairs(noisy_folder, truth_folder):
        ours = np.asarray(denoise_pixels(small, engine, InferenceSettings("sr-direct")).pixels, dtype=np.uint8)
        cleaned = Image.fromarray(non_local_means(small, estimate_noise(small).sigma))
        size = truth.shape[1], truth.shape[0]
        theirs = np.asarray(cleaned.resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)
        rows.append([value for found in (ours, theirs) for value in (psnr(found, truth), ssim(found, truth))])
    means = [f"{scores[0]:.2f} dB / {scores[1]:.4f}" for scores in np.mean(rows, 0).reshape(2, 2)]
    print(f"{name}: sr-direct {means[0]}; non-local means and bicubic {means[1]}")
    engine.close()


def halved_pairs(noisy_folder: Path, truth_folder: Path) -> Iterator[tuple[str, Picture, Picture]]:
    """Photos with ground truth, the middle of each halved with bicubic, and the truth of it at full size."""
    for pair in find_pairs(noisy_folder, truth_folder):
        noisy, truth = (middle(pixels, 2 * SIDE) for pixels in pair.load())
        height, width = (side // 2 for side in noisy.shape[:2])
        noisy, truth = (pixels[: 2 * height, : 2 * width] for pixels in (noisy, truth))
        small = Image.fromarray(np.ascontiguousarray(noisy)).resize((width, height), Image.Resampling.BICUBIC)
        yield pair.name, np.asarray(small), truth


def _opened(profile: Profile, mode: str) -> Engine:
    return open_engine(profile, mode=mode)


def denoised(engine: Engine, picture: Picture, strength: float | None = None) -> Picture:
    """What `nsp denoise` makes of it."""
    return np.asarray(denoise_pixels(picture, engine, InferenceSettings(strength=strength)).pixels, dtype=np.uint8)


def as_phone(scene: Picture, seed: int) -> Picture:
    """Put noise on that leaves PHONE_DB, its strength found by halving the interval."""
    clean = scene.astype(np.float32) / np.float32(255)
    weak, strong = 0.0, 1.0
    for _ in range(12):
        shot = (weak + strong) / 2
        noisy = add_camera_noise(clean, shot=shot, read=shot / 4, seed=seed, blur=BLUR)
        found = np.rint(noisy * 255).astype(np.uint8)
        weak, strong = (shot, strong) if psnr(found, scene) > PHONE_DB else (weak, shot)
    return found


def non_local_means(picture: Picture, sigma: float) -> Picture:
    """OpenCV's, as strong as the measured noise."""
    found = cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(picture[..., ::-1]), None, sigma, sigma)
    return np.asarray(found[..., ::-1], dtype=np.uint8)


def shrunken(pixels: NDArray[np.generic]) -> Picture:
    """A photo made free of noise by averaging, of even sides, and its middle."""
    picture = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    size = picture.width // SHRINK // 2 * 2, picture.height // SHRINK // 2 * 2
    return middle(np.asarray(picture.resize(size, Image.Resampling.BOX)), SIDE)


def middle(pixels: NDArray[np.generic], side: int) -> Picture:
    """The square of that side, or what there is of it, in the middle of (H, W, 3)."""
    top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
    return np.asarray(pixels[top : top + side, left : left + side], dtype=np.uint8)


if __name__ == "__main__":
    main()
