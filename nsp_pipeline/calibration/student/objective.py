"""What a student learns: clean pictures from photographs of them that were made noisy, and what its teacher sees.

The two sources complement each other. Simulated noise comes with sharp targets, but is only like a camera's. The
teacher, a blind-spot network, was fitted to the very photos, but loses detail that a network which sees every pixel
keeps.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from nsp_pipeline.calibration.simulation.camera_noise import NoisyCamera, halved
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, with_measurement_error
from nsp_pipeline.calibration.simulation.shot_crops import ShotCrops
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.calibration.simulation.tell import told_of_crops
from nsp_pipeline.calibration.student.dead_leaves import paint
from nsp_pipeline.calibration.student.moments import is_past, part_of_the_way
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.crops import CropSampler, to_tensor
from nsp_pipeline.calibration.training.judge import NOISE_LEFT, Judgement
from nsp_pipeline.calibration.training.precision import autocast
from nsp_pipeline.models.backbone import Backbone

PAINTED_SIDE = 512
PALETTE_SIDE = 1024
"""Photos that lend colours and textures to painted pictures are shrunk to about this."""

PREVIEWS, JUDGED = 4, 48
FAINTEST = 0.02
"""Added to a crop's noise (RMS, 0..1) where its loss is weighed, so that near-clean crops do not rule."""

TONED_SHARE = 0.7


@dataclass(frozen=True)
class Material:
    """The photos to learn from: lists of (H, W, 3) pixels, uint8, uint16 or float32 in 0..1.

    `sharp` and `held_out` are clean at twice the resolution of what is trained; `noisy` are photos as they are; `shots`
    is a store of simulated ones.
    """

    sharp: Sequence[NDArray[np.generic]]
    held_out: Sequence[NDArray[np.generic]]
    noisy: Sequence[NDArray[np.generic]] = ()
    shots: ShotStore | None = None


Teacher = Callable[[torch.Tensor], torch.Tensor]
"""Denoises (1, 3, H, W) in 0..1; same shape out."""


class Ahead:
    """Draws the crops of the next steps while the network still learns from those of the one before."""

    def __init__(self, draw: Callable[[int, int, int], list[torch.Tensor]], steps: int = 1) -> None:
        """`draw` takes the size of a batch, the step and the rank; of so many `steps` at once, each in a thread."""
        self._draw, self._steps = draw, steps
        self._begun: dict[int, Future[list[torch.Tensor]]] = {}
        # Crops are small: more threads for one step would only keep each other, and the training, waiting.
        self._pool = ThreadPoolExecutor(steps, initializer=torch.set_num_threads, initargs=(1,))

    def take(self, batch: int, step: int, rank: int) -> list[torch.Tensor]:
        """The crops of a step; those of the next ones are begun."""
        begun, before = self._begun.pop(step, None), self._begun
        self._begun = {
            coming: before.get(coming) or self._pool.submit(self._draw, batch, coming, rank)
            for coming in range(step + 1, step + 1 + self._steps)
        }
        return begun.result() if begun else self._draw(batch, step, rank)


def student_loss(
    network: nn.Module, crops: Sequence[torch.Tensor], settings: StudentSettings, device: str
) -> torch.Tensor:
    """L1 between a student's output and what it should be, in parts of each crop's own noise.

    Args:
        crops: noisy and clean (B, 3, H, W), sharp (B, 3, 2H, 2W), (B, 1, 1, 1) 1 where that is known, else 0, and the
            noise tables.
    """
    noisy, clean, sharp, known, table = (part.to(device) for part in crops)
    weight = 1 / (FAINTEST + ((noisy - clean) ** 2).mean((1, 2, 3), keepdim=True).sqrt())
    with autocast(device, settings):
        image = noisy.contiguous(memory_format=torch.channels_last)
        estimate = network(image, table) if settings.noise_conditioned else network(image)
    estimate = estimate.float()
    fine = (weight * known * (estimate - sharp).abs()).mean()
    coarse = (weight * (halved(estimate) - clean).abs()).mean()
    return torch.add(coarse, fine, alpha=settings.sharp_weight)


def told_tables(
    noisy: torch.Tensor, tables: torch.Tensor, rng: np.random.Generator, settings: StudentSettings
) -> torch.Tensor:
    """What a student is told of crops (B, 3, H, W) with simulated noise, whose true tables (B, 4, 8) are known."""
    tell = with_measurement_error if settings.told == "truth" else partial(told_of_crops, noisy)
    return tell(tables, rng, **settings.table_errors)


class StudentObjective:
    """L1, in parts of each crop's own noise, between the student's output and what it should have been."""

    def __init__(
        self,
        material: Material,
        settings: StudentSettings,
        device: str = "cpu",
        teacher: Teacher | None = None,
        on_prepared: Callable[[int, int], None] = lambda done, total: None,
        by: float | None = None,
    ) -> None:
        """Paint the pictures and ask the teacher.

        Args:
            device: torch device that the student is trained on.
            teacher: makes targets for crops of the noisy photos; None leaves them out.
            on_prepared: called with (pictures and crops made, all of them).
            by: when to be done with it (`time.monotonic`): one picture and one crop are made at least; None takes the
                time that it takes.
        """
        self._settings = settings
        self._device = device
        self._camera = NoisyCamera(settings)
        self.photos = [list(image.shape) for image in (*material.sharp, *material.noisy, *material.held_out)]
        self._shots = ShotCrops(material.shots, settings.crop, settings.told) if material.shots else None
        if material.shots:
            self.photos.append(material.shots.identity)
        side = 2 * settings.crop
        rng = np.random.default_rng([settings.seed, 1])
        asked = settings.teacher_crops if teacher and material.noisy else 0
        total = settings.painted + asked
        palette = [_shrunk(image, max(1.0, max(image.shape[:2]) / PALETTE_SIDE)) for image in material.sharp]
        painted: list[NDArray[np.uint8]] = []
        painted_by = part_of_the_way(by, settings.painted / total) if asked else by
        for done in range(settings.painted):
            if painted and is_past(painted_by):
                break
            painted.append(paint(max(side, PAINTED_SIDE), palette, rng))
            on_prepared(done + 1, total)
        self._painted = CropSampler(painted, side, "cpu") if painted else None
        self._real = CropSampler(material.sharp, side, "cpu") if material.sharp else None
        self._taught: list[tuple[torch.Tensor, torch.Tensor]] = []
        if teacher and asked:
            noisy = CropSampler(material.noisy, settings.crop, "cpu")
            for done in range(asked):
                if self._taught and is_past(by):
                    break
                crop = noisy.draw(1, rng)
                self._taught.append((crop, teacher(crop)))
                on_prepared(settings.painted + done + 1, total)
        self._judged = self._held_out_crops(material.held_out, side)
        self._ahead = Ahead(self._draw)

    def stepped(self, network: Backbone) -> nn.Module:
        """The network itself."""
        return network

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean loss on new crops."""
        return student_loss(network, self._ahead.take(batch, step, rank), self._settings, self._device)

    @torch.inference_mode()
    def judge(self, network: Backbone) -> Judgement | None:
        """What is left of the noise of held-out crops: RMS error as a share of the noisy crop's.

        Not squared: the few crops that go wrong most would choose the checkpoint alone, against what all the others,
        and the mean PSNR of photos, say.
        """
        if not self._judged:
            return None
        left, absolute, biases = [], [], []
        for noisy, clean, table in self._judged:
            difference = halved(self._enlarged(network, noisy, table)) - clean
            left.append(float((difference**2).mean().sqrt() / (FAINTEST + ((noisy - clean) ** 2).mean().sqrt())))
            absolute.append(float(difference.abs().mean()))
            biases.append(difference.mean((0, 2, 3)).numpy())
        drift = float(np.abs(np.mean(biases, 0)).max() * 255)
        return Judgement(np.array(left), float(np.mean(absolute)), drift, float("nan"), float("nan"), what=NOISE_LEFT)

    @torch.inference_mode()
    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """Rows of a noisy crop, what the student makes of it, and the clean one."""
        rows = []
        for noisy, clean, table in self._judged[:PREVIEWS]:
            estimate = halved(self._enlarged(network, noisy, table)).clamp(0, 1)
            rows.append([part[0].permute(1, 2, 0).numpy() for part in (noisy, estimate, clean)])
        return rows

    def _enlarged(self, network: Backbone, noisy: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the network's estimate of a crop, on the CPU; a noise-conditioned network gets the noise table too."""
        noise = (table.to(self._device),) if self._settings.noise_conditioned else ()
        return network(noisy.to(self._device), *noise).float().cpu()

    def _draw(self, batch: int, step: int, rank: int) -> list[torch.Tensor]:
        """noisy, clean (B, 3, H, W), sharp (B, 3, 2H, 2W), (B, 1, 1, 1) whether that is known, and noise tables."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, 3, step, rank])
        shots = int((rng.random(batch) < settings.shots_share).sum()) if self._shots else 0
        taught = int((rng.random(batch - shots) < settings.teacher_share).sum()) if self._taught else 0
        parts, told = [], []
        if self._shots and shots:
            noisy, clean, tables = self._shots.draw_batch(shots, rng, **settings.table_errors)
            parts.append((noisy, clean, *coarse_only(clean)))
            told.append(tables)
        if batch > taught + shots:
            sharp = torch.cat([self._sharp_crop(rng) for _ in range(batch - taught - shots)])
            noisy, clean, sharp, stronger = self._camera.photograph(sharp, rng)
            parts.append((noisy, clean, sharp, torch.ones(batch - taught - shots, 1, 1, 1), stronger))
        for pick in rng.integers(len(self._taught), size=taught) if taught else ():
            noisy, target = self._taught[pick]
            kept = torch.from_numpy(rng.random((1, 1, *noisy.shape[2:])) < 1 / settings.recharge)
            clean = torch.where(kept, noisy, target)
            turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
            noisy, clean = (turned(part, turns, mirrored) for part in (noisy, clean))
            parts.append((noisy, clean, *coarse_only(clean)))
        *columns, stronger = (torch.cat(column) for column in zip(*parts, strict=True))
        tables = noise_tables(columns[0][shots:], columns[1][shots:], stronger[shots:])
        told.append(told_tables(columns[0][shots:], tables, rng, settings))
        return [*columns, torch.cat(told)]

    def _sharp_crop(self, rng: np.random.Generator) -> torch.Tensor:
        painted = self._painted and (not self._real or rng.random() < self._settings.painted_share)
        sampler = self._painted if painted else self._real
        assert sampler
        crop = sampler.draw(1, rng)
        if rng.random() < TONED_SHARE:
            mean = crop.mean((2, 3), keepdim=True)
            crop = (mean + rng.uniform(0.3, 1.1) * (crop - mean)) * rng.uniform(0.4, 1.2) + rng.uniform(0, 0.15)
        return crop.float().clamp(0, 1)

    def _held_out_crops(
        self, images: Sequence[NDArray[np.generic]], side: int
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """The same noisy and clean crops, and their noise tables, for every network that is judged."""
        if not images:
            return []
        rng = np.random.default_rng([self._settings.seed, 2])
        sampler = CropSampler(images, side, "cpu")
        crops = []
        for _ in range(JUDGED):
            noisy, clean, _, stronger = self._camera.photograph(sampler.draw(1, rng), rng)
            crops.append((noisy, clean, noise_tables(noisy, clean, stronger)))
        return crops


def shrunk_to_sharp(images: Sequence[NDArray[np.generic]], factor: float, side: int) -> list[NDArray[np.uint8]]:
    """Shrink photos (H, W, 3) by averaging, which takes their noise away, but none to less than `side`; uint8 out."""
    return [_shrunk(image, max(1.0, min(factor, min(image.shape[:2]) / side))) for image in images]


def _shrunk(image: NDArray[np.generic], factor: float) -> NDArray[np.uint8]:
    pixels = (to_tensor(image).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    size = tuple(max(1, round(side / factor)) for side in (pixels.shape[1], pixels.shape[0]))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def coarse_only(clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Targets (B, 3, 2H, 2W) of which finer detail than `clean` has is not known, that it is not, and even noise."""
    fine = clean.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return fine, torch.zeros(len(clean), 1, 1, 1), torch.ones_like(clean[:, :2])


def turned(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    """An image (B, C, H, W) by so many quarter turns, and mirrored after them."""
    image = torch.rot90(image, turns, (2, 3))
    return image.flip(3) if mirrored else image
