"""What it is worth to know a camera's noise from its other photos, on photos with ground truth.

    python benchmarks/camera_noise.py standard --noisy DIR --clean DIR [--from-pairs] [--edited] [--photos N]

The noise of each camera is learnt from its photos in --noisy that have no ground truth, as `nsp calibrate` does. Then
the photos that have one are denoised, whole and their middle 512×512, by the noise that is estimated in each alone and
by both. With --from-pairs the noise is learnt from the noisy photos of the pairs themselves, of photos that state no
camera. With --edited each photo is also halved and brightened, truth and all, as a program would that keeps the EXIF.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.camera_noise import CameraNoise, camera_noise
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.evaluation.datasets.pairs import find_pairs
from nsp_pipeline.evaluation.metrics import psnr, ssim, to_eight_bit
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.metadata.camera_names import camera_name
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

SIDE = 512
BRIGHTER = 0.6
"""Exponent of the curve that brightens."""

Picture = NDArray[np.uint8]
Scores = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Measure, and print a line for each photo and the means."""
    parser = argparse.ArgumentParser(description="Measure what knowing a camera's noise is worth.")
    parser.add_argument("profile")
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--from-pairs", action="store_true")
    parser.add_argument("--edited", action="store_true")
    parser.add_argument("--photos", type=int, help="of each camera at most so many are learnt from")
    asked = parser.parse_args()
    pairs = find_pairs(asked.noisy, asked.clean)
    measured = {pair.noisy for pair in pairs}
    photos = [path for path in find_photos([asked.noisy]).paths if (path in measured) == asked.from_pairs]
    cameras = learnt([path for path in photos if "clean" not in path.stem], asked.photos)
    engine = open_profile_engine(find_profile(asked.profile), "denoise", "auto", _opened)
    scores: Scores = {}
    for pair in pairs:
        noisy, clean = (to_eight_bit(pixels) for pixels in pair.load())
        camera = read_camera(pair.noisy)
        known = cameras.get(camera_name(camera, {}))
        for what, seen, truth in ways(noisy, clean, edited=asked.edited):
            line = compare(seen, truth, engine, known.at(camera.iso) if known else None)
            print(f"{pair.noisy.stem:26} {what:22} {line[0]}")
            for way, score in line[1].items():
                scores.setdefault(f"{what:22} {way}", []).append(score)
    for name, found in scores.items():
        decibels, likeness = np.mean(found, axis=0)
        print(f"mean of {len(found):2}  {name:38} {decibels:.2f} / {likeness:.4f}")
    engine.close()


def learnt(photos: list[Path], most: int | None) -> dict[str | None, CameraNoise]:
    """The noise of each camera, from all of its photos or the first ones."""
    by_camera: dict[str | None, list[Frame]] = {}
    for path in photos:
        frame = read_frame(path)
        by_camera.setdefault(camera_name(frame.camera, {}), []).append(frame)
    found = {}
    for name, every in by_camera.items():
        frames = every[:most]
        noise = camera_noise([(frame.camera.iso, estimate_noise(frame.pixels, usual=False)) for frame in frames])
        if noise:
            found[name] = noise
            print(f"{name}: {len(frames)} photos, ISO {noise.isos}")
    return found


def ways(noisy: Picture, clean: Picture, *, edited: bool) -> Iterator[tuple[str, Picture, Picture]]:
    """The photo whole and its middle, and both edited."""
    edits: dict[str, Callable[[Picture], Picture]] = {"": lambda pixels: pixels}
    if edited:
        edits |= {"halved ": halved, "brightened ": brightened}
    for name, edit in edits.items():
        seen, truth = edit(noisy), edit(clean)
        yield f"{name}whole", seen, truth
        if min(seen.shape[:2]) > SIDE:
            yield f"{name}middle", middle(seen), middle(truth)


def compare(
    noisy: Picture, clean: Picture, engine: Engine, prior: NoisePrior | None
) -> tuple[str, dict[str, tuple[float, float]]]:
    """PSNR and SSIM without and with what is known of the camera, as a line and by way."""
    own = estimate_noise(noisy)
    both = estimate_noise(noisy, prior=prior)
    frame = Frame(noisy, None, Kind.PNG, Metadata(), Camera())
    scores = {}
    for way, noise in (("estimated", own), ("with the camera's", both)):
        made = np.asarray(denoise_frame(frame, engine, InferenceSettings(), noise=noise).frame.pixels)
        scores[way] = psnr(made, clean), ssim(made, clean)
    parts = [f"{value:.2f} / {likeness:.4f}" for value, likeness in scores.values()]
    share = "-" if both.known_share is None else f"{both.known_share:.0%}"
    return f"{parts[0]} -> {parts[1]}   sigma {own.sigma:.2f} -> {both.sigma:.2f}, known {share}", scores


def middle(pixels: Picture) -> Picture:
    """The middle SIDE×SIDE."""
    top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])


def halved(pixels: Picture) -> Picture:
    """Means of 2×2 pixels."""
    height, width = (side // 2 for side in pixels.shape[:2])
    cells = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))
    return np.asarray(np.rint(cells), dtype=np.uint8)


def brightened(pixels: Picture) -> Picture:
    """As a curve that lifts the shadows."""
    return np.asarray(np.rint(255 * (np.arange(256) / 255) ** BRIGHTER), dtype=np.uint8)[pixels]


def _opened(part: Profile, mode: str) -> Engine:
    return open_engine(part, mode=mode, precision="fp32")


if __name__ == "__main__":
    main()
