"""Where RAW is best denoised: developed, demosaiced or on its mosaic, measured on a simulated camera at four ISOs.

    python benchmarks/raw_domains.py CLEAN_PHOTO... [--profile fast] [--side 384]

Clean photos are halved, taken for scenes, and photographed. The truth is what LibRaw develops without noise.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.raw_camera import RawCamera, RawShot, photograph, write_raw
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.denoise.mosaic import denoise_mosaic
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED, UNTOUCHED
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.profiles.choose import find_profile

ISOS = (800, 3200, 12800, 51200)
BORDER = 8
SETTINGS = InferenceSettings()


def scene_of(path: Path, side: int) -> NDArray[np.float64]:
    """The middle of a photo, halved: (side, side, 3) in linear sRGB."""
    pixels = read_frame(path).pixels
    top, left = (size // 2 - side for size in pixels.shape[:2])
    encoded = pixels[top : top + 2 * side, left : left + 2 * side] / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    halved: NDArray[np.float64] = light.reshape(side, 2, side, 2, 3).mean((1, 3))
    return halved


def developed(path: Path, engine: Engine) -> NDArray[Any]:
    return np.asarray(denoise_frame(read_frame(path), engine, SETTINGS).frame.pixels)


def demosaiced(path: Path, engine: Engine) -> NDArray[Any]:
    frame = read_frame(path, development=UNDEVELOPED)
    return develop_frame(denoise_frame(frame, engine, SETTINGS).frame, DEVELOPED).pixels


def raw(path: Path, engine: Engine) -> NDArray[Any]:
    frame = read_frame(path, development=UNTOUCHED)
    return develop_frame(denoise_mosaic(frame, engine, SETTINGS).frame, DEVELOPED).pixels


DOMAINS: tuple[Callable[[Path, Engine], NDArray[Any]], ...] = (developed, demosaiced, raw)


def without_noise(shot: RawShot) -> RawShot:
    """The same shot by a perfect sensor."""
    camera = shot.camera
    levels = np.rint(camera.black + np.minimum(shot.clean_mosaic, 1) * (camera.white - camera.black))
    return RawShot(camera, shot.iso, shot.light, levels.astype(np.uint16), shot.clean_mosaic, shot.truth)


def scores(folder: Path, scene: NDArray[np.float64], iso: int, engine: Engine) -> list[float]:
    """PSNR of the noisy shot and of each domain's result."""
    shot = photograph(RawCamera(), scene, np.random.default_rng(iso), iso=iso, exposure=0.9)
    truth = read_frame(write_raw(folder / "truth.dng", without_noise(shot))).pixels
    noisy = write_raw(folder / "noisy.dng", shot)
    inner = (slice(BORDER, -BORDER),) * 2
    results = [read_frame(noisy).pixels, *(denoise(noisy, engine) for denoise in DOMAINS)]
    errors = (truth[inner].astype(np.float64) - result[inner] for result in results)
    return [psnr_of(float((error**2).mean()), peak=65535.0) for error in errors]


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--profile", default="fast")
@click.option("--side", default=384, help="Of the shots, in pixels.")
def main(photos: tuple[Path, ...], profile: str, side: int) -> None:
    """Print a table of PSNR, mean over the photos."""
    engine = open_profile_engine(
        find_profile(profile), "denoise", "auto", lambda part, mode: open_engine(part, mode=mode, device="cpu")
    )
    print(
        f"{profile} on {engine.info.name}, {len(photos)} scenes of {side}×{side}, PSNR in dB of the developed picture"
    )
    print("| ISO | noisy | " + " | ".join(domain.__name__ for domain in DOMAINS) + " |")
    print("|---|---|" + "---|" * len(DOMAINS))
    with TemporaryDirectory() as folder:
        for iso in ISOS:
            found = np.mean([scores(Path(folder), scene_of(photo, side), iso, engine) for photo in photos], axis=0)
            print(f"| {iso} | " + " | ".join(f"{score:.2f}" for score in found) + " |", flush=True)


if __name__ == "__main__":
    main()
