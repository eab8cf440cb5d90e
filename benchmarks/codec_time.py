"""Seconds that reading and writing a photo take on two processors, beside what denoising it takes.

    python benchmarks/codec_time.py [--profile fast] [--megapixels 24] [--kind jpeg --kind tiff --kind dng]

Reading; denoising; writing, which includes developing RAW; and checking, for which what was written is read again.
Processor time is measured, and counted as if the engine had two processors and everything else one, as in a run. The
last column is what reading, or writing and checking, takes of what denoising takes: above 1 it would hold the run up.
"""

import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.calibration.simulation.raw_camera import RawCamera, photograph, write_raw
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, is_undeveloped, verify_written, write_frame
from nsp_pipeline.profiles.choose import find_profile

OUTPUTS = {
    "jpeg": (OutputKind.KEEP, OutputKind.PNG, OutputKind.TIFF, OutputKind.JXL, OutputKind.AVIF),
    "tiff": (OutputKind.KEEP, OutputKind.JPEG, OutputKind.PNG, OutputKind.JXL, OutputKind.AVIF),
    "dng": (OutputKind.DNG, OutputKind.KEEP, OutputKind.JPEG),
}
Value = TypeVar("Value")
PROCESSORS = 2
PANES = 4
"""The picture is painted once, and stands so many times in each direction."""


def used() -> float:
    """Processor seconds so far, of this process and those it started."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(step: Callable[[], Value]) -> tuple[Value, float]:
    begun = used()
    value = step()
    return value, used() - begun


def photo_of(kind: str, folder: Path, clean: NDArray[np.float32]) -> Path:
    """A noisy photo of 8-bit JPEG, of 16-bit TIFF, or of a sensor with 14 bits."""
    path = folder / f"photo.{kind}"
    if kind == "dng":
        light = np.where(clean <= 0.04045, clean / 12.92, ((clean + 0.055) / 1.055) ** 2.4)
        shot = photograph(RawCamera(), light, np.random.default_rng(0), iso=3200, exposure=0.9)
        return write_raw(path, shot)
    noisy = add_camera_noise(clean, shot=0.004, read=0.004, seed=0)
    if kind == "jpeg":
        Image.fromarray(from_unit(noisy, np.dtype(np.uint8))).save(path, quality=92)
    else:
        tifffile.imwrite(path, from_unit(noisy, np.dtype(np.uint16)), photometric="rgb", compression="deflate")
    return path


def measure(path: Path, outputs: tuple[OutputKind, ...], engine: Engine) -> None:
    """Print a line for each kind of output."""
    development = UNDEVELOPED if path.suffix == ".dng" else DEVELOPED
    frame, reading = timed(lambda: read_frame(path, development=development))
    inferred, denoising = timed(lambda: denoise_frame(frame, engine, InferenceSettings()))
    denoising /= PROCESSORS
    written = path.with_name("written")
    for kind in outputs:
        finished, writing = timed(partial(write, inferred.frame, written, kind))
        _, checking = timed(partial(verify_written, written, finished, kind=kind, bit_depth=None))
        print(
            f"| {path.suffix[1:]} → {kind} | {reading:.1f} | {denoising:.1f} | {writing:.1f} | {checking:.1f} "
            f"| {written.stat().st_size / 1e6:.0f} | {reading / denoising:.2f} "
            f"| {(writing + checking) / denoising:.2f} |",
            flush=True,
        )


def write(result: Frame, target: Path, kind: OutputKind) -> Frame:
    """Develop a result where it is to be, and write it; returns what was written."""
    finished = develop_frame(result, DEVELOPED) if is_undeveloped(result) and kind is not OutputKind.DNG else result
    write_frame(finished, target, kind=kind, bit_depth=None, quality=None)
    return finished


@click.command()
@click.option("--profile", default="fast")
@click.option("--megapixels", default=24.0)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(OUTPUTS)), default=list(OUTPUTS))
def main(profile: str, megapixels: float, kinds: tuple[str, ...]) -> None:
    """Print a table of seconds."""
    engine = open_engine(find_profile(profile), mode="denoise", device="cpu")
    height = round((megapixels * 1e6 / 1.5) ** 0.5 / PANES / 2) * 2
    clean = np.tile(night_street(height, round(height * 0.75) * 2), (PANES, PANES, 1))
    print(f"{clean.shape[1]}×{clean.shape[0]}, {profile} on {engine.info.name}, seconds")
    print("| | read | denoise | write | check | MB | read ÷ denoise | write + check ÷ denoise |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            measure(photo_of(kind, Path(folder), clean), OUTPUTS[kind], engine)


if __name__ == "__main__":
    main()
