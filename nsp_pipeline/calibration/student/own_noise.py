"""What a student learns of one camera: to take that camera's own noise off that camera's own pictures.

The pictures are what the student that training starts from makes of the photos, partly shrunk, which makes them crisp.
The noise is real: cut out of flat places of each photo and laid over the pictures (simulation/real_noise.py), with the
noise table that networks are told of that photo. So the student learns what the estimator's words mean for this camera.
Half of the crops have noise of simulated cameras all the same, as in the student's first training: what is wrong in the
other half would else be learnt at the cost of what was right. A teacher, a blind-spot network that was trained on the
photos, may make targets for pieces of the photos themselves.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from nsp_pipeline.calibration.simulation.camera_noise import (
    NoisyCamera,
    by_grey_and_colour,
    halved,
    stronger_in_texture,
)
from nsp_pipeline.calibration.simulation.noise_range import ANY_SIGMA, SOFT_ALREADY
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables, with_measurement_error
from nsp_pipeline.calibration.student.any_noise import draw_levels, make_noisy, varied
from nsp_pipeline.calibration.student.moments import is_past, part_of_the_way
from nsp_pipeline.calibration.student.objective import Ahead, Teacher, coarse_only, student_loss, told_tables, turned
from nsp_pipeline.calibration.student.own_judge import OwnJudge, Pictured, Real, estimate
from nsp_pipeline.calibration.student.own_means import with_own_means
from nsp_pipeline.calibration.student.own_photos import OwnPhoto, look_at
from nsp_pipeline.calibration.student.pictures import PictureStore
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.errors import UsageError
from nsp_pipeline.machine.cpus import usable_cpus
from nsp_pipeline.models.backbone import Backbone

WINDOWS, JUDGED_WINDOWS = 40, 12
"""Pieces of the photos that serve as pictures, in training and in judging."""

MARGIN, SOFTEST = 16, 2.4
"""Pixels around a picture twice as large as its crop, and the most that it is softened by."""

OTHER, FAINTER, LOUDER = 0.6, 0.15, 1.4
"""Share of the crops whose noise is not as strong as the photo's, and how strong it is then, in parts of it, told and
all: else a student of strong noise forgets how little to do where there is hardly any."""

ADAPTED, MOST_KEPT = 0.75, (1.5, 9.0)
"""Share of the crops that have more noise in texture than in flat places, as cameras leave it, and how much more: of
grey, and of colour beyond it."""

TAUGHT_SHARE = 0.5
"""Part of the time for preparations that looking at the photos may take where a teacher is asked after that."""

DRAWN_AHEAD = 6
"""Steps whose crops are drawn at once where a GPU trains, each by one core: a simulated crop takes that about 13 ms."""

JUDGED_SIDE, JUDGED, PREVIEWS = 160, 48, 3
"""Side of the crops that are judged, how many of either kind there are, and how many of the photo are shown."""

BETWEEN, MOST_BETWEEN = 24, 8
"""Crops of photos that are learnt from, of so many at most, which tell how much photos differ: the few kept out
cannot."""

NO_NOISE = (
    "the noise of these photos cannot be measured: none has enough flat places that are neither black nor white. Add "
    "photos with a wall, a sky or something else that is smooth, or use the profile that ships as it is"
)


def smallest_side(crop: int) -> int:
    """The shorter side that a photo must have at least to be learnt from in crops of this side, in pixels."""
    return 2 * crop + MARGIN


class OwnNoiseObjective:
    """L1, in parts of each crop's own noise, between the student's output and what it should have been."""

    def __init__(
        self,
        photos: tuple[Sequence[NDArray[np.generic]], Sequence[NDArray[np.generic]]],
        settings: StudentSettings,
        first: Backbone,
        device: str = "cpu",
        teacher: Teacher | None = None,
        on_prepared: Callable[[int, int], None] = lambda done, total: None,
        by: float | None = None,
    ) -> None:
        """Cut the noise out of the photos, and denoise pieces of them.

        Args:
            photos: to learn from, and others to judge by, of which there may be none; (H, W, 3) uint8, uint16 or
                float32 in 0..1.
            first: the student that training starts from.
            device: torch device that the student is trained on.
            teacher: makes targets for crops of the photos; None leaves them out.
            on_prepared: called with (pieces denoised, all of them).
            by: when to be done with it (see look_at); None takes the time that it takes.

        Raises UsageError where no photo shows its noise.
        """
        self._settings, self._device = settings, device
        self.photos = [list(photo.shape) for part in photos for photo in part]
        rng = np.random.default_rng([settings.seed, 1])
        first = first.to(device).eval()
        total = WINDOWS + JUDGED_WINDOWS * bool(photos[1])
        looked = part_of_the_way(by, TAUGHT_SHARE if teacher else 1.0)
        first_part = part_of_the_way(looked, WINDOWS / total)
        seen = look_at(photos[0], first, WINDOWS, rng, lambda done: on_prepared(min(done, total), total), first_part)
        kept = look_at(
            photos[1], first, JUDGED_WINDOWS, rng, lambda done: on_prepared(min(total, WINDOWS + done), total), looked
        )
        self._noises = [photo.noise.on(device) for photo in seen if photo.noise]
        if not self._noises:
            raise UsageError(NO_NOISE)
        pictures = [picture for photo in seen for picture in photo.pictures()]
        self._native = PictureStore(pictures, settings.crop, device)
        self._twice = PictureStore(pictures, 2 * settings.crop, device)
        self._sharp = PictureStore(pictures, smallest_side(settings.crop), device)
        ranges = _ranges(settings, [noise.table for noise in self._noises])
        self._camera, self._again = NoisyCamera(ranges), NoisyCamera(ranges.model_copy(update=SOFT_ALREADY))
        self._taught = _teach(seen, teacher, settings, rng, by) if teacher else []
        self._judge, self._shown = self._held_out(first, kept, seen), _shown(kept)
        self._ahead = Ahead(self._draw, 1 if device == "cpu" else min(DRAWN_AHEAD, usable_cpus()))

    @property
    def judged_crops(self) -> int:
        """Crops that a network is judged by."""
        return len(self._judge) if self._judge else 0

    def stepped(self, network: Backbone) -> nn.Module:
        """The network itself."""
        return network

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean loss on new crops."""
        return student_loss(network, self._ahead.take(batch, step, rank), self._settings, self._device)

    def judge(self, network: Backbone) -> Judgement | None:
        """Compare with the student that training starts from, on photos kept out, in dB; see OwnJudge."""
        return self._judge.judge(network) if self._judge else None

    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """Rows of a piece of a photo kept out: as it is, by the student that training starts from, and by this one."""
        rows = []
        for noisy, before, table, own_means in self._shown:
            made = estimate(network, noisy, table)
            after = with_own_means(noisy, made) if own_means else made
            rows.append([part[0].permute(1, 2, 0).numpy() for part in (noisy, before, after.clamp(0, 1))])
        return rows

    def _draw(self, batch: int, step: int, rank: int) -> list[torch.Tensor]:
        """See `student_loss`; all on the device that is trained on, where it can be made there."""
        settings, device = self._settings, self._device
        rng = np.random.default_rng([settings.seed, 3, step, rank])
        generator = torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))
        taught = int((rng.random(batch) < settings.teacher_share).sum()) if self._taught else 0
        simulated = int((rng.random(batch - taught) < settings.simulated_share).sum())
        own = batch - taught - simulated
        native = int((rng.random(own) < settings.unshrunk_share).sum())
        parts = [self._with_target(rng) for _ in range(taught)]
        if native:
            clean = self._native.draw(native, generator)
            parts += [(*self._with_noise(crop[None], rng), *coarse_only(crop[None])[:2]) for crop in clean]
        if shrunk := own - native:
            for sharp in varied(self._sharp.draw(shrunk, generator), generator, softest=SOFTEST, reach=MARGIN // 2):
                noisy, clean, table = self._with_noise(halved(sharp[None]), rng)
                parts.append((noisy, clean, table, sharp[None], torch.ones(1, 1, 1, 1)))
        parts = [
            (noisy, clean, with_measurement_error(table, rng, **settings.table_errors), *rest)
            for noisy, clean, table, *rest in parts
        ]
        if simulated:
            parts += self._simulated(simulated, rng, generator)
        noisy, clean, told, sharp, known = (
            torch.cat([part.to(device) for part in column]) for column in zip(*parts, strict=True)
        )
        return [noisy, clean, sharp, known, told]

    def _with_noise(
        self, clean: torch.Tensor, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A picture (1, 3, H, W) with the noise of any of the photos, rounded to 8 bits, the picture, and the table."""
        noise = self._noises[int(rng.integers(len(self._noises)))]
        gain = float(np.exp(rng.uniform(*np.log((FAINTER, LOUDER))))) if rng.random() < OTHER else 1.0
        drawn = gain * noise.draw(clean, rng)
        if rng.random() < ADAPTED:
            drawn = by_grey_and_colour(drawn, stronger_in_texture(clean, noise.told.sigma / 255, MOST_KEPT, rng))
        return ((clean + drawn).clamp(0, 1) * 255).round() / 255, clean, gain * noise.table

    def _simulated(
        self, count: int, rng: np.random.Generator, generator: torch.Generator
    ) -> list[tuple[torch.Tensor, ...]]:
        """Pictures as large as the photos, and shrunk ones, with simulated noise: as the others, with what is told."""
        native = int((rng.random(count) < self._settings.unshrunk_share).sum())
        made: list[tuple[torch.Tensor, ...]] = []
        if native:
            crops = self._native.draw(native, generator)
            enlarged = crops.repeat_interleave(2, 2).repeat_interleave(2, 3)
            noisy, clean, tables = self._photographed(enlarged, self._again, rng, generator)[:3]
            made.append((noisy, clean, tables, *coarse_only(clean)[:2]))
        if shrunk := count - native:
            crops = self._twice.draw(shrunk, generator)
            noisy, clean, tables, sharp = self._photographed(crops, self._camera, rng, generator)
            made.append((noisy, clean, tables, sharp, torch.ones(shrunk, 1, 1, 1)))
        return made

    def _photographed(
        self, sharp: torch.Tensor, camera: NoisyCamera, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[torch.Tensor, ...]:
        """Pictures (B, 3, 2H, 2W) with simulated noise at half their size: noisy, clean, what is told, and sharp."""
        stronger = torch.ones(1, 1, 1, 1)
        if self._settings.simulated_noise == "any":
            clean = halved(sharp)
            noisy = make_noisy(clean, draw_levels(clean, generator), generator)
            noisy, clean, sharp = noisy.cpu(), clean.cpu(), sharp.cpu()  # as all that follows on from a camera
        else:
            # A simulated camera stays on the processor: it saves its pictures with a real JPEG encoder, and draws its
            # properties crop by crop with numpy's generator.
            noisy, clean, sharp, stronger = camera.photograph(sharp.cpu(), rng)
        tables = noise_tables(noisy, clean, stronger)
        return noisy, clean, told_tables(noisy, tables, rng, self._settings), sharp

    def _with_target(self, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """A piece of a photo, and what the teacher takes for clean in it but for a share of pixels that stay noisy."""
        noisy, target, table = self._taught[int(rng.integers(len(self._taught)))]
        side = self._settings.crop
        top, left = (int(rng.integers(length - side + 1)) for length in noisy.shape[2:])
        noisy, target = (part[..., top : top + side, left : left + side] for part in (noisy, target))
        kept = torch.from_numpy(rng.random((1, 1, side, side)) < 1 / self._settings.recharge)
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        noisy, clean = (turned(part, turns, mirrored) for part in (noisy, torch.where(kept, noisy, target)))
        return noisy, clean, table, *coarse_only(clean)[:2]

    def _held_out(self, first: Backbone, kept: Sequence[OwnPhoto], seen: Sequence[OwnPhoto]) -> OwnJudge | None:
        """What networks are judged by: other draws of noise, on photos kept out; None where none was."""
        rng = np.random.default_rng([self._settings.seed, 2])
        own = [photo.noise for photo in kept if photo.noise] or [photo.noise for photo in seen if photo.noise]
        pieces = [
            (piece, clean, number, photo)
            for number, photo in enumerate(kept)
            for piece, clean in zip(photo.pieces, photo.denoised, strict=True)
        ]
        if not pieces:
            return None
        pictured, real = [], []
        for number in range(JUDGED):
            noise = own[int(rng.integers(len(own)))]
            piece, clean, which, photo = pieces[number % len(pieces)]
            picture = _shrunk(clean, rng) if number % 2 else clean
            picture = _crop(picture, first.multiple, rng)
            drawn = noise.draw(picture, rng)
            stronger = stronger_in_texture(picture, noise.told.sigma / 255, MOST_KEPT, rng)
            noisy = ((picture + by_grey_and_colour(drawn, stronger)).clamp(0, 1) * 255).round() / 255
            pictured.append(Pictured(noisy, picture, noise.table, which, noise.told.own_means))
            both = _crop(torch.cat([piece, clean]), first.multiple, rng)
            probe = (photo.noise or noise).draw(both[:, 3:], rng)
            real.append(Real(both[:, :3], probe, photo.table, which, photo.own_means))
        between = _between(seen, len(kept), first.multiple, rng)
        return OwnJudge(first, pictured, real, between, unsmoothed=self._settings.simulated_noise == "any")


def _between(seen: Sequence[OwnPhoto], number: int, multiple: int, rng: np.random.Generator) -> list[Real]:
    """Crops of several photos that are learnt from, numbered from `number` on."""
    noises = [photo.noise for photo in seen if photo.noise]
    usable = [photo for photo in seen if photo.pieces]
    chosen = usable[:: -(-len(usable) // MOST_BETWEEN)]
    crops = []
    for which, photo in enumerate(chosen, number):
        for place in range(BETWEEN // len(chosen)):
            at = place % len(photo.pieces)
            both = _crop(torch.cat([photo.pieces[at], photo.denoised[at]]), multiple, rng)
            noise = photo.noise or noises[int(rng.integers(len(noises)))]
            probe = noise.draw(both[:, 3:], rng)
            crops.append(Real(both[:, :3], probe, photo.table, which, photo.own_means))
    return crops


def _ranges(settings: StudentSettings, tables: Sequence[torch.Tensor]) -> StudentSettings:
    """Let simulated noise be up to twice as strong as any photo's, if the settings say nothing."""
    strongest = 2 * 255 * max(float(table[0, 0].max()) for table in tables)
    least = settings.least_sigma or ANY_SIGMA[0]
    most = settings.most_sigma or min(max(strongest, 2 * least), 2 * ANY_SIGMA[1])
    return settings.model_copy(update={"least_sigma": least, "most_sigma": most})


def _teach(
    seen: Sequence[OwnPhoto],
    teacher: Teacher,
    settings: StudentSettings,
    rng: np.random.Generator,
    by: float | None,
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Pieces of the photos, what a teacher takes for clean in them, and the photo's noise table; till time is up."""
    pieces = [(piece, photo.table) for photo in seen for piece in photo.pieces]
    taught: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for number in range(settings.teacher_crops):
        if taught and is_past(by):
            break
        piece, table = pieces[number % len(pieces)]
        side = min(2 * settings.crop, *piece.shape[1:])
        top, left = (int(rng.integers(length - side + 1)) for length in piece.shape[1:])
        noisy = piece[None, :, top : top + side, left : left + side].contiguous()
        taught.append((noisy, teacher(noisy), table))
    return taught


def _shown(kept: Sequence[OwnPhoto]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, bool]]:
    """The middles of pieces of photos kept out, as they are and denoised, and their noise tables and own_means."""
    shown = []
    for photo in kept[:PREVIEWS]:
        if photo.pieces:
            side = min(JUDGED_SIDE, *photo.pieces[0].shape[1:])
            top, left = ((length - side) // 2 // 16 * 16 for length in photo.pieces[0].shape[1:])
            noisy, clean = (
                part[0][None, :, top : top + side, left : left + side] for part in (photo.pieces, photo.denoised)
            )
            shown.append((noisy, clean, photo.table, photo.own_means))
    return shown


def _shrunk(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A picture (3, H, W) by a half to two thirds smaller, none below a crop that is judged."""
    factor = max(1.0, min(float(rng.uniform(2, 3)), min(picture.shape[1:]) / JUDGED_SIDE))
    size = [round(side / factor) for side in picture.shape[1:]]
    return interpolate(picture[None], size=size, mode="area")[0]


def _crop(picture: torch.Tensor, multiple: int, rng: np.random.Generator) -> torch.Tensor:
    """(C, H, W) -> (1, C, JUDGED_SIDE, JUDGED_SIDE), or less of small pictures."""
    height, width = (min(JUDGED_SIDE, side) // multiple * multiple for side in picture.shape[1:])
    top, left = (
        int(rng.integers(side - length + 1)) for side, length in zip(picture.shape[1:], (height, width), strict=True)
    )
    return picture[None, :, top : top + height, left : left + width].contiguous()
