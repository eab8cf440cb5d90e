"""Train students of several sizes and the estimator on the same batches: drawing a crop costs as much as learning it.

Students are told of most crops what the estimator, trained beside them, says at that moment. Several trainings may
follow each other, for networks of several kinds: pictures are brought to the GPU once, and shots are made all the time.

A training that was killed goes on from where it was last judged: weights, averages, optimizers, the state of what draws
crops, and the way that the learning rate has gone. On a CPU, by steps and not by time, that ends at the very weights of
an undisturbed training, unless it learns from shots: which of them are there at a step depends on how fast the workers
were, so that no two trainings see the same ones. A resumed one begins with other shots than the first did.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from nsp_pipeline.calibration.simulation.tell import MOST_ESTIMATED, tell_tables, told_between
from nsp_pipeline.calibration.student.pictures import PictureStore
from nsp_pipeline.calibration.together.crops import DRAWN, MARGIN, Crops, draw_crops, joined
from nsp_pipeline.calibration.together.held_out import HeldOut
from nsp_pipeline.calibration.together.learner import Learner
from nsp_pipeline.calibration.together.objective import estimator_loss, student_loss, white_loss
from nsp_pipeline.calibration.together.pool import ShotPool, processor_hours
from nsp_pipeline.calibration.together.resume import Identity, Kept, place
from nsp_pipeline.calibration.together.teachers import Photos, Teachers, take_tables_as_coarse_white
from nsp_pipeline.calibration.training.precision import half_precision
from nsp_pipeline.core.noise import UNKNOWN
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.noise_net import NoiseNet
from nsp_pipeline.models.unet import UNet

SIZES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "fast": ((16, 32, 64), (1, 1, 2)),
    "standard": ((56, 80, 144), (1, 1, 2)),
    "quality": ((96, 128, 192), (1, 2, 2)),
}
"""Channels and pairs of each student (see models/unet.py)."""

SHRINKS = (1.0, 1.41, 2.0, 2.83, 4.0)
"""Clean scenes are learnt from at their own size and smaller."""

UNKNOWN_SHARE, TOLD_ERROR = 0.05, 0.05
"""Of this share of the crops nothing is told; what is told is off by so much beside the estimator's own errors."""

MSE_WEIGHT = 0.25
"""Of the squared error of white noise beside the other, which makes textured places count for more."""

ESTIMATOR_RATE = 1e-3


@dataclass(frozen=True)
class TogetherSettings:
    """How a training is run; `counts` are crops of a batch with any noise, of developed light, and of shots."""

    seconds: float = math.inf
    steps: int | None = None
    """The training ends with the time or after so many steps, whichever comes first."""
    counts: tuple[int, int, int] = (36, 48, 60)
    parts: int = 1
    """Crops are drawn many at once, and learnt from in so many steps."""
    side: int = 192
    workers: int = 12
    pooled: int = 40_000
    students: Sequence[str] = tuple(SIZES)
    learning_rate: float = 2e-3
    ema_decay: float = 0.999
    judge_every: float = 60.0
    """Seconds between two judgements, after each of which weights are saved."""
    judged: int = 24
    """Held-out crops of each kind."""
    noise: str = "any"
    """What any noise is: a key of DRAWN."""
    estimator_first: float = 0.06
    """Share of the time after which the estimator is believed."""
    refresh_every: float = 2.0
    """Seconds between two times that new shots are fetched from the workers."""
    base: Path | None = None
    """Folder with students' weights to start from, NAME.safetensors."""
    estimator: Path | None = None
    """Weights of the estimator to start from."""
    keep_estimator: bool = False
    """Whether the estimator stays as it is."""
    teachers: tuple[Path, Path] | None = None
    """Weights of two networks whose results students learn instead of the clean pictures (see teachers.py). Students
    in `base` are then networks for white noise."""
    photo_crops: int = 0
    """Crops of a batch that come from photos as they are; only with teachers, and an estimator that stays."""
    taken_again: bool = False
    """Whether shots are of pictures that cameras made, at full size."""
    warmup: float = 0.02
    fall: float = 0.06
    """Shares of the time in which the rate rises, and at whose end it begins to fall to nothing."""
    seed: int = 0

    @property
    def crops(self) -> int:
        """Of a batch."""
        return sum(self.counts) + self.photo_crops


Save = Callable[[Mapping[str, nn.Module], dict[str, Any]], None]
"""Called with the averaged networks by name, and the figures of their judgement."""


def train_together(
    scenes: Sequence[NDArray[np.uint8]],
    held_out: Sequence[NDArray[np.uint8]],
    stages: Sequence[tuple[TogetherSettings, Save]],
    device: str,
    *,
    say: Callable[[str], None],
    photos: Sequence[NDArray[np.uint8]] = (),
    taken: Sequence[NDArray[np.uint8]] = (),
    checkpoint: Path | None = None,
    begun_before: Mapping[str, Any] | None = None,
) -> None:
    """Train one stage after the other, each until its time is over; the start counts to the first.

    Args:
        scenes: clean pictures (H, W, 3) uint8; those smaller than two crops are left out.
        held_out: others to judge by.
        stages: of crops of one side; what a stage saves, the next may start from.
        photos: (H, W, 3) uint8, no side shorter than a crop: what `photo_crops` are cut from.
        taken: pictures that cameras made, without noise, (H, W, 3) uint8.
        checkpoint: file that says at each judgement where the training is; it is removed at the end.
        begun_before: what such a file holds of a training to go on with. Its start counts no more.

    Raises:
        UsageError: the crops of a batch cannot be shared by its parts, photos have no teachers, nothing
            was taken that is to be taken again, or what was begun before is another training.
    """
    for settings, _ in stages:
        if settings.crops % settings.parts:
            raise UsageError(f"{settings.crops} crops cannot be learnt from in {settings.parts} equal parts")
        if settings.photo_crops and not (photos and settings.teachers and settings.keep_estimator):
            raise UsageError("crops of photos need photos, teachers, and an estimator that stays as it is")
        if settings.taken_again and not taken:
            raise UsageError("there is no picture that a camera made to be taken again")
    identity = Identity.of([asdict(settings) for settings, _ in stages], (scenes, held_out, photos, taken))
    at, state = place(begun_before, identity) if begun_before else (0, None)
    kept = Kept(checkpoint, identity, say)
    begun, first, left = time.monotonic(), stages[0][0], stages[at:]
    kinds = {settings.taken_again for settings, _ in left if settings.counts[2]}
    after = (at, state["step"] if state else 0)
    pools = {
        again: ShotPool(scenes, first.side, first.workers, first.seed, taken if again else (), after)
        for again in sorted(kinds)
    }
    try:
        hours = processor_hours(pools.values())
        judged = HeldOut(held_out, first.side, first.judged, first.seed)
        for pool in pools.values():
            pool.open_on(device, first.pooled)
        say(f"held-out crops are made after {time.monotonic() - begun:.0f} s")
        store = PictureStore(_copies(scenes, 2 * first.side + MARGIN), 2 * first.side + MARGIN, device)
        say(f"pictures are in place after {time.monotonic() - begun:.0f} s")
        seen = Photos.estimated(photos) if any(settings.photo_crops for settings, _ in left) else None
        if begun_before:
            begun = time.monotonic()
        for number, (settings, save) in enumerate(left, at):
            training = _Together(store, pools.get(settings.taken_again), judged, settings, device, hours, seen)
            if state:
                training.restore(state)
            training.run(begun, save, say, partial(kept.keep, number))
            kept.keep(number + 1, None)
            state = None
            begun, hours = time.monotonic(), processor_hours(pools.values())
            gc.collect()  # what has ended: its networks and graphs hold each other
        kept.remove()
    finally:
        for pool in pools.values():
            pool.close()


@dataclass(frozen=True)
class _Batch:
    """What the estimator, and what students learn from."""

    of_noise: tuple[torch.Tensor, ...]
    of_pictures: tuple[torch.Tensor, ...]

    @classmethod
    def cut(cls, crops: Crops, told: torch.Tensor, mine: slice) -> "_Batch":
        noisy = crops.noisy[mine].contiguous(memory_format=torch.channels_last)
        pictures = (noisy, crops.clean[mine], crops.sharp[mine], crops.known[mine], told[mine])
        return cls((noisy, crops.levels[mine]), pictures)


class _Together:
    def __init__(
        self,
        store: PictureStore,
        pool: ShotPool | None,
        judged: HeldOut,
        settings: TogetherSettings,
        device: str,
        hours: Callable[[], float],
        photos: Photos | None = None,
    ) -> None:
        """`hours` tells what processors have used since the stage began, or was resumed."""
        self._store, self._pool, self._judged = store, pool, judged
        self._photos = photos if settings.photo_crops else None
        self._teachers = Teachers(*settings.teachers, device) if settings.teachers else None
        self._settings, self._device = settings, device
        torch.manual_seed(settings.seed)
        self._rng = torch.Generator(device).manual_seed(settings.seed)
        self._students = {
            name: Learner(
                self._student(name).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
                self._student_loss,
                settings.learning_rate,
                settings.ema_decay,
                device,
            )
            for name in settings.students
        }
        estimator = NoiseNet((16, 32, 48, 64, 64))
        if settings.estimator:
            _load(estimator, settings.estimator)
        self._estimator = Learner(estimator, estimator_loss, ESTIMATOR_RATE, 0.998, device)
        self._learners = [*([] if settings.keep_estimator else [self._estimator]), *self._students.values()]
        self._batches: list[_Batch] = []
        self._drawn = self.step = 0
        self._hours, self._hours_before = hours, 0.0
        self._seconds = 0.0
        self._limit: float | None = None

    def _student(self, name: str) -> UNet:
        student = UNet(*SIZES[name], 2, True)
        if self._settings.base:
            _load(student, self._settings.base / f"{name}.safetensors")
            if self._teachers:
                take_tables_as_coarse_white(student)
        return student

    def run(
        self, begun: float, save: Save, say: Callable[[str], None], keep: Callable[[Mapping[str, Any]], None]
    ) -> None:
        """Step until the time is over, and judge and save now and then, and `keep` the state."""
        settings = self._settings
        while self._pool and settings.counts[2] and self._pool.made < 2 * sum(settings.counts):
            self._pool.refresh()
            time.sleep(0.1)
        last = fetched = time.monotonic()
        first, started = last - self._seconds, last - begun
        say(f"training {'goes on' if self.step else 'begins'} after {started:.0f} s")
        # One that goes on keeps its way: what its own start takes comes on top.
        self._limit = limit = settings.seconds - started if self._limit is None else self._limit
        while True:
            way = (time.monotonic() - first) / limit
            if settings.steps:
                way = max(way, self.step / settings.steps)
            self._advance(min(1.0, way))
            if self._pool and time.monotonic() - fetched >= settings.refresh_every:
                self._pool.refresh()
                fetched = time.monotonic()
            done = time.monotonic() - first >= limit or self.step >= (settings.steps or math.inf)
            if done or time.monotonic() - last >= settings.judge_every:
                self._seconds = time.monotonic() - first
                figures = self._figures()
                say("  ".join(f"{key} {value:.4g}" for key, value in figures.items()))
                save(self._averages(), figures)
                last = time.monotonic()
                if done:
                    return
                self._seconds = last - first
                # Last of all: a resumed training takes away what was logged after it, and lacks nothing before.
                keep(self._state())

    def _state(self) -> dict[str, Any]:
        """All that goes on with the next step, as tensors and plain values."""
        self._catch_up()
        return {
            "step": self.step,
            "drawn": self._drawn,
            "seconds": self._seconds,
            "limit": self._limit,
            "processor_hours": self._processor_hours,
            "rng": self._rng.get_state(),
            "learners": [learner.state() for learner in self._learners],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where a state of the same settings was taken."""
        self.step, self._drawn = state["step"], state["drawn"]
        self._seconds, self._limit, self._hours_before = state["seconds"], state["limit"], state["processor_hours"]
        self._rng.set_state(state["rng"])
        for learner, learnt in zip(self._learners, state["learners"], strict=True):
            learner.restore(learnt)

    @property
    def _processor_hours(self) -> float:
        return self._hours_before + self._hours()

    def _averages(self) -> dict[str, nn.Module]:
        return {name: learner.average for name, learner in {**self._students, "estimator": self._estimator}.items()}

    def _figures(self) -> dict[str, Any]:
        self._catch_up()
        pixels = self._drawn * self._settings.crops * self._settings.side**2
        figures: dict[str, Any] = {"seconds": self._seconds, "processor_hours": self._processor_hours}
        figures |= {"step": self.step, "megapixels": pixels / 1e6}
        figures |= {"shots": self._pool.made} if self._pool else {}
        learners = {"estimator": self._estimator, **self._students}
        figures |= {
            f"loss {name}": float(learner.loss) for name, learner in learners.items() if learner in self._learners
        }
        return figures | self._judged.judge(self._averages(), self._device)

    def _advance(self, way: float) -> None:
        """Draw crops, and learn from them, part after part."""
        settings = self._settings
        rate = min(1.0, way / settings.warmup)
        if way > settings.fall:
            rate = (1 + math.cos(math.pi * (way - settings.fall) / (1 - settings.fall))) / 2
        with torch.no_grad():
            crops = draw_crops(self._store, self._pool, settings.counts, self._rng, DRAWN[settings.noise])
            if self._photos:
                crops = joined([crops, self._photos.draw(settings.photo_crops, settings.side, self._rng)])
            self._estimator.catch_up()
            told = self._told(crops, way)
            if self._teachers:
                crops = self._teachers.taught(crops, sum(settings.counts))
        self._drawn += 1
        self._catch_up()
        # Every so-many-th: crops of one kind lie side by side. Kept until all have learnt from them.
        parts = [slice(part, None, settings.parts) for part in range(settings.parts)]
        self._batches = [_Batch.cut(crops, told, part) for part in parts]
        for learner in self._learners:
            for batch in self._batches:
                learner.learn(batch.of_noise if learner is self._estimator else batch.of_pictures, rate)
        self.step += settings.parts

    def _catch_up(self) -> None:
        for learner in self._learners:
            learner.catch_up()

    def _told(self, crops: Crops, way: float) -> torch.Tensor:
        """What a student is told of each crop (B, 4, 8)."""
        told, rng = crops.table, self._rng
        share, kind = torch.rand(2, len(told), 1, 1, generator=rng, device=told.device)
        if self._settings.estimator or way > self._settings.estimator_first:
            told = told_between(told, tell_tables(self._estimator.average, crops.noisy), MOST_ESTIMATED * share)
        error = torch.randn(*told.shape[:2], 1, generator=rng, device=told.device)
        told = told * torch.exp(TOLD_ERROR * error)
        return torch.where(kind < UNKNOWN_SHARE, torch.full_like(told, UNKNOWN), told)

    def _student_loss(
        self,
        network: nn.Module,
        noisy: torch.Tensor,
        clean: torch.Tensor,
        sharp: torch.Tensor,
        known: torch.Tensor,
        told: torch.Tensor,
    ) -> torch.Tensor:
        with half_precision(self._device):
            estimate = network(noisy, told)
        estimate = estimate.float()
        loss = student_loss(estimate, noisy, clean, sharp, known)
        return loss + MSE_WEIGHT * white_loss(estimate, noisy, clean) if self._settings.noise == "white" else loss


def _load(network: nn.Module, path: Path) -> None:
    network.load_state_dict({key: part.float() for key, part in load_file(path).items()})


def _copies(scenes: Sequence[NDArray[np.uint8]], side: int) -> list[NDArray[np.uint8]]:
    copies = []
    for scene in scenes:
        height, width = scene.shape[:2]
        for shrink in SHRINKS:
            size = (int(width / shrink), int(height / shrink))
            if min(size) >= side:
                copies.append(np.array(Image.fromarray(scene).resize(size, Image.Resampling.BOX)))
    return copies
