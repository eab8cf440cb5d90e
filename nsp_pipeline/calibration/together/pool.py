"""Simulated shots made by all processor cores while a GPU learns from them."""

import ctypes
import multiprocessing as mp
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from nsp_pipeline.calibration.estimator.drawings import draw_picture
from nsp_pipeline.calibration.simulation.cameras import ShotRange, plainly, take_again, take_shot
from nsp_pipeline.calibration.simulation.noise_range import SOFT_ALREADY, NoiseRange
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, patch_levels
from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.shot import Shot, stored
from nsp_pipeline.calibration.simulation.surfaces import surface
from nsp_pipeline.calibration.together.weave import weave
from nsp_pipeline.core.noise import PATCH, TABLE_NODES, TABLE_ROWS

KINDS = {"camera": 0.43, "surface": 0.2, "drawn": 0.05, "enlarged": 0.06, "woven": 0.13, "busy": 0.13}
"""Shares of the shots: of simulated cameras, some of which see a textured surface; and plain noise on drawings (or
none), enlarged, on textures, and on the busiest of BUSIEST_OF pieces of a scene."""

BUSIEST_OF, CALMEST = 5, 0.1
"""How busy a piece is, this share of its patches tells that vary least."""

SHOTS = ShotRange(camera_share=0.7, developed_share=0.15, processed_share=0.4)
AGAIN = ShotRange(
    none_share=0.0,
    camera_share=1.0,
    developed_share=0.0,
    processed_share=0.0,
    camera=NoiseRange.model_validate({"jpeg_share": 0.0, "clean_share": 0.0, "most_sigma": 14.0, **SOFT_ALREADY}),
)
"""Cameras that such pictures are taken with once more: these are soft as they are."""

PLAIN_SIGMA, WOVEN_SIGMA = (0.3, 65.0), (0.7, 20.0)
AHEAD, REUSED = 512, 3
"""Shots that are made before any is wanted, and how often each is wanted before there must be another: on a processor,
what makes shots takes the time of what learns from them."""

RING = 128
"""Shots that a worker may be ahead of who reads them."""

NAMES = "noisy", "clean", "table", "levels"


@dataclass(frozen=True)
class PooledShots:
    """Shots on a device: noisy and clean (N, 3, S, S) uint8, true noise tables (N, 4, 8), levels (N, 4, S/16, S/16)."""

    noisy: torch.Tensor
    clean: torch.Tensor
    table: torch.Tensor
    levels: torch.Tensor


class ShotPool:
    """Workers make shots without end; the newest `size` of them lie on the device."""

    def __init__(
        self,
        scenes: Sequence[NDArray[np.uint8]],
        side: int,
        workers: int,
        seed: int,
        taken: Sequence[NDArray[np.uint8]] = (),
        after: Sequence[int] = (),
    ) -> None:
        """Start the workers. They are forked: before anything touches a GPU.

        Args:
            scenes: clean pictures (H, W, 3).
            side: of the shots, a multiple of 32.
            taken: pictures that cameras made, without noise; where there are any, all shots are of these: one of ten
                of something else, crisper, is enough to spoil what is learnt of them.
            after: where a training was that goes on, in numbers: its shots are others than those it began with.
        """
        self._side, self._workers = side, workers
        self._rings = [_Ring(side) for _ in range(workers)]
        context: Any = mp.get_context("fork")
        self._processes = [
            context.Process(target=_make, args=(ring, scenes, taken, side, [seed, 11, number, *after]), daemon=True)
            for number, ring in enumerate(self._rings)
        ]
        for process in self._processes:
            process.start()
        self.made = self._drawn = 0

    def open_on(self, device: str, size: int) -> None:
        """Give the shots a place on a device."""
        side, patches = self._side, self._side // PATCH
        self._held = PooledShots(
            torch.zeros(size, 3, side, side, dtype=torch.uint8, device=device),
            torch.zeros(size, 3, side, side, dtype=torch.uint8, device=device),
            torch.zeros(size, TABLE_ROWS, TABLE_NODES, device=device),
            torch.zeros(size, TABLE_ROWS, patches, patches, device=device),
        )

    def refresh(self) -> None:
        """Fetch what was made since the last time; workers rest where crops are not drawn as fast."""
        if self.made > AHEAD + self._drawn / REUSED:
            return
        for ring in self._rings:
            for parts in ring.fetch():
                place = self.made % len(self._held.noisy)
                for name, part in zip(NAMES, parts, strict=True):
                    getattr(self._held, name)[place].copy_(torch.from_numpy(part), non_blocking=False)
                self.made += 1

    def draw(self, count: int, rng: torch.Generator) -> PooledShots:
        """Any of the shots that are there."""
        self._drawn += count
        here = min(self.made, len(self._held.noisy))
        pick = torch.randint(here, (count,), generator=rng, device=self._held.noisy.device)
        return PooledShots(*(getattr(self._held, name)[pick] for name in NAMES))

    @property
    def processor_seconds(self) -> float:
        """What the workers have used so far."""
        return sum(ring.processor_seconds for ring in self._rings)

    def close(self) -> None:
        """Stop the workers."""
        for process in self._processes:
            process.terminate()


def processor_hours(pools: Collection[ShotPool]) -> Callable[[], float]:
    """What tells the processor hours of this process and all workers from now on."""

    def seconds() -> float:
        return time.process_time() + sum(pool.processor_seconds for pool in pools)

    begun = seconds()
    return lambda: (seconds() - begun) / 3600


class _Ring:
    """Shots of one worker in shared memory, how many were written and read, and in what time of a processor."""

    def __init__(self, side: int) -> None:
        patches = side // PATCH
        shapes = {
            "noisy": ((3, side, side), np.uint8),
            "clean": ((3, side, side), np.uint8),
            "table": ((TABLE_ROWS, TABLE_NODES), np.float32),
            "levels": ((TABLE_ROWS, patches, patches), np.float32),
        }
        self._arrays = {name: _shared((RING, *shape), np.dtype(kind)) for name, (shape, kind) in shapes.items()}
        self._counts = _shared((3,), np.dtype(np.int64))
        self._reader = os.getpid()

    @property
    def processor_seconds(self) -> float:
        return float(self._counts[2]) / 1e9

    def put(self, parts: Sequence[NDArray[np.generic]]) -> None:
        written, read, _ = self._counts
        while written - read >= RING:
            time.sleep(0.01)
            read = self._counts[1]
            self._end_with_the_reader()
        for name, part in zip(NAMES, parts, strict=True):
            self._arrays[name][written % RING] = part
        self._counts[0], self._counts[2] = written + 1, time.process_time_ns()
        self._end_with_the_reader()

    def _end_with_the_reader(self) -> None:
        """A training that is killed cannot stop its workers."""
        if os.getppid() != self._reader:
            sys.exit()

    def fetch(self) -> list[list[NDArray[Any]]]:
        written, read, _ = self._counts
        found = [[self._arrays[name][place % RING].copy() for name in NAMES] for place in range(read, written)]
        self._counts[1] = written
        return found


def _shared(shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """An array of zeros that forked processes see as well."""
    memory: Any = RawArray(ctypes.c_uint8, int(np.prod(shape)) * kind.itemsize)
    return np.frombuffer(memory, dtype=kind).reshape(shape)


def _make(
    ring: _Ring,
    images: Sequence[NDArray[np.uint8]],
    taken: Sequence[NDArray[np.uint8]],
    side: int,
    seed: list[int],
) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    scenes = Scenes(images, [1.0] * len(images))
    pictures = Scenes(taken, [1.0] * len(taken), at_full_size=True) if taken else None
    while True:
        shot = take_again(pictures.draw(side, rng), AGAIN, rng) if pictures else _shot(scenes, side, rng)
        table = noise_tables(shot.clean + shot.flat, shot.clean, torch.ones(1, 1, 1, 1))
        noisy, clean = ((part[0].clamp(0, 1) * 255).round().byte().numpy() for part in (shot.noisy, shot.clean))
        ring.put((noisy, clean, table[0].numpy(), patch_levels(shot.flat)[0].numpy()))


def _shot(scenes: Scenes, side: int, rng: np.random.Generator) -> Shot:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "camera":
        return take_shot(scenes.draw(2 * side, rng), SHOTS, rng)[0]
    if kind == "surface":
        return take_shot(surface(scenes.draw(2 * side, rng), rng), SHOTS, rng)[0]
    if kind == "enlarged":
        small = plainly(scenes.draw(side // 2, rng), _log_uniform(PLAIN_SIGMA, rng), rng)
        noisy, clean, flat = (_enlarged(part) for part in (small.noisy, small.clean, small.flat))
        shot = Shot(noisy.clamp(0, 1), clean.clamp(0, 1), flat)
    elif kind == "busy":
        clean = max((scenes.draw(side, rng) for _ in range(BUSIEST_OF)), key=_busyness)
        white = rng.standard_normal(tuple(clean.shape), dtype=np.float32)
        noisy = (clean + _log_uniform(WOVEN_SIGMA, rng) * torch.from_numpy(white)).clamp(0, 1)
        shot = Shot(noisy, clean, noisy - clean)
    elif kind == "woven":
        shot = plainly(weave(side, rng), _log_uniform(WOVEN_SIGMA, rng), rng)
    else:
        clean = draw_picture(side, rng)
        some = rng.random() < 0.5
        shot = plainly(clean, _log_uniform(PLAIN_SIGMA, rng), rng) if some else Shot(clean, clean, 0 * clean)
    return stored(shot, rng, jpeg_share=0.3, quality=(80, 100))


def _busyness(picture: torch.Tensor) -> float:
    """Variance of grey in the calmer patches of a picture (1, 3, S, S)."""
    grey = picture.mean(1, keepdim=True)
    variance = avg_pool2d(grey**2, PATCH) - avg_pool2d(grey, PATCH) ** 2
    return float(variance.flatten().quantile(CALMEST))


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits)))) / 255


def _enlarged(image: torch.Tensor) -> torch.Tensor:
    return interpolate(image, scale_factor=2.0, mode="bicubic", align_corners=False)
