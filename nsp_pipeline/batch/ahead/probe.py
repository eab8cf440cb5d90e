"""A few seconds of the real work, on a piece of a real photo: what a photo will take here, in time and on the disk."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, TypeVar

import numpy as np

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.raw_photo import read_to_denoise
from nsp_pipeline.batch.settings import RunSettings
from nsp_pipeline.core.tiling import plan_tiles
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.denoise.tiles import tile_shape, tile_side
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, is_undeveloped, write_frame
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.windows import FEW as FEW_WINDOWS
from nsp_pipeline.noise.windows import MOST as MOST_WINDOWS
from nsp_pipeline.noise.windows import SIDE as WINDOW_SIDE

WARM_SIDE = 256
LEAST_SIDE, ENCODED_SIDE = 16, 1024

TWICE = 1 + FEW_WINDOWS / MOST_WINDOWS
"""The noise is estimated before and, from fewer windows, after."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Probe:
    """What photos like one that was tried take, by one profile and engine.

    Reading, developing and writing are in seconds a megapixel, computing in seconds a megapixel that tiles read,
    `each` in seconds a photo. `written` is in bytes: a photo's, and those of each megapixel. `reach` is how many
    pixels blending looks at around its own, on top of the network's halo: more where a tone curve has bent the noise.
    """

    info: EngineInfo
    settings: InferenceSettings
    files: float
    computing: float
    each: float
    written: tuple[float, float]
    reach: int

    def seconds(self, megapixels: float) -> float:
        """For a photo of that size."""
        work = self.computing * self._read_by_tiles(megapixels) + self.each
        # A device of its own computes while the processors read and write.
        apart = "CPU" not in self.info.provider
        return max(work, self.files * megapixels) if apart else work + self.files * megapixels

    def bytes(self, megapixels: float) -> float:
        """On the disk, for a photo of that size."""
        return self.written[0] + self.written[1] * megapixels

    def _read_by_tiles(self, megapixels: float) -> float:
        multiple = self.info.multiple
        # Most photos are 3:2.
        wide = round(1000 * math.sqrt(1.5 * megapixels))
        width, height = (max(multiple, side // multiple * multiple) for side in (wide, wide * 2 // 3))
        shape = tile_shape(self.info, self.settings.tile, self.reach, (height, width))
        halo = (0 if self.info.tiling == "blended" else self.reach) + self.info.halo
        tiles = plan_tiles(height, width, tile=shape, halo=halo, multiple=multiple)
        return sum((tile.rows.stop - tile.rows.start) * (tile.cols.stop - tile.cols.start) for tile in tiles) / 1e6


def probe(task: Task, settings: RunSettings, engine: Engine) -> Probe:
    """Read a photo, denoise a piece of it, and write that to memory.

    Raises PhotoError and OSError where the photo cannot be read, and as `denoise_frame` does.
    """
    frame, reading = _timed(lambda: read_to_denoise(task, settings, read_frame))
    megapixels = frame.pixels.shape[0] * frame.pixels.shape[1] / 1e6
    noise, estimating = _timed(lambda: estimate_noise(_as_picture(frame).pixels))
    reach = settings.inference.reach_for(noise)
    # A tile that tells how fast tiles are: those of a whole photo may be larger, and take longer.
    side = tile_side(engine.info, settings.inference.tile, reach)
    piece = _middle(_as_picture(frame), side + 2 * (engine.info.halo + reach))
    denoise_frame(_middle(piece, WARM_SIDE), engine, settings.inference)
    made, computing = _timed(lambda: denoise_frame(piece, engine, settings.inference))
    computing = max(0.0, computing - TWICE * estimating * _windows(piece) / _windows(frame))
    result, developing = frame, 0.0
    if is_undeveloped(frame) and task.job.kind is not OutputKind.DNG:
        result, developing = _timed(lambda: develop_frame(frame, settings.development_of(task)))
    written, writing = _written(result if is_undeveloped(frame) else made.frame, task, settings)
    area = engine.info.scale**2
    return Probe(
        engine.info,
        settings.inference,
        files=(reading + developing) / megapixels + 2 * writing * area,
        computing=computing * 1e6 / (piece.pixels.shape[0] * piece.pixels.shape[1]),
        each=TWICE * estimating,
        written=(written[0], written[1] * area),
        reach=reach,
    )


def _timed(step: Callable[[], Value]) -> tuple[Value, float]:
    began = time.monotonic()
    return step(), time.monotonic() - began


def _as_picture(frame: Frame) -> Frame:
    """A mosaic as red, green and blue: what networks see of it at a time."""
    source = frame.metadata.source
    if isinstance(source, RawSource) and source.mosaic:
        return replace(frame, pixels=np.ascontiguousarray(frame.pixels[..., :3]))
    return frame


def _windows(frame: Frame) -> float:
    """How much of a photo the noise estimator looks at, in its windows."""
    height, width = frame.pixels.shape[:2]
    return float(min(MOST_WINDOWS, height * width / WINDOW_SIDE**2))


def _middle(frame: Frame, side: int) -> Frame:
    height, width = frame.pixels.shape[:2]
    down, across = min(height, side), min(width, side)
    top, left = (height - down) // 2, (width - across) // 2
    rows, columns = slice(top, top + down), slice(left, left + across)
    alpha = None if frame.alpha is None else frame.alpha[rows, columns]
    return replace(frame, pixels=np.ascontiguousarray(frame.pixels[rows, columns]), alpha=alpha)


def _written(frame: Frame, task: Task, settings: RunSettings) -> tuple[tuple[float, float], float]:
    """Bytes that a file has whatever its size, and bytes and seconds for each megapixel more."""
    small, large = (_middle(frame, side) for side in (LEAST_SIDE, ENCODED_SIDE))
    least, most = BytesIO(), BytesIO()
    how: dict[str, Any] = {
        "kind": task.job.kind,
        "bit_depth": settings.encoding.bit_depth,
        "quality": settings.encoding.quality,
    }
    write_frame(small, least, **how)
    _, seconds = _timed(lambda: write_frame(large, most, **how))
    sizes = [part.pixels.shape[0] * part.pixels.shape[1] / 1e6 for part in (small, large)]
    lengths = [len(file.getvalue()) for file in (least, most)]
    each = (lengths[1] - lengths[0]) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else lengths[1] / sizes[1]
    return (max(0.0, lengths[0] - each * sizes[0]), each), seconds / sizes[1]
