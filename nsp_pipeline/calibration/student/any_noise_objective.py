"""What a student's base learns: to take noise of any kind off clean pictures, told how much there is.

Beside noise drawn in a moment it may learn from a store of simulated shots, told of them what the estimator says.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.simulation.shot_crops import ShotCrops
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.calibration.student.any_noise import REACH, draw_levels, make_noisy, varied
from nsp_pipeline.calibration.student.objective import FAINTEST, told_tables
from nsp_pipeline.calibration.student.pictures import SHRINKS, PictureStore, clean_copies
from nsp_pipeline.calibration.student.settings import StudentSettings
from nsp_pipeline.calibration.training.judge import NOISE_LEFT, Judgement
from nsp_pipeline.calibration.training.precision import autocast
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.backbone import Backbone

WHITE = (5, 10, 25)
"""White noise, in 8-bit steps, that held-out crops are judged with; each has its column in the log."""

JUDGED, JUDGED_SIDE, TOGETHER, PREVIEWS = 12, 192, 4, 4
"""Held-out crops for each kind of noise, their side, how many a network is given at once, and how many are shown."""


class CellMeans(nn.Module):
    """A network's estimate at the photo's own size alone: what is larger costs more and is the next training's."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in 0..1 and the noise table, if the network takes one -> (B, 3, H, W)."""
        return self.network.cell_means(image, *noise)


class AnyNoiseObjective:
    """L1, in parts of each crop's own noise, between the student's cell means and the clean crop."""

    def __init__(
        self,
        clean: Sequence[NDArray[np.generic]],
        held_out: Sequence[NDArray[np.generic]],
        settings: StudentSettings,
        device: str = "cpu",
        shots: ShotStore | None = None,
    ) -> None:
        """Shrink the photos and hold what comes of them.

        Args:
            clean: photos (H, W, 3) with little noise to learn from, uint8, uint16 or float32 in 0..1.
            held_out: others to judge by; those too small to be judged by are left out.
            device: torch device that the student is trained on; crops are cut and made noisy there.
            shots: simulated ones, of which the settings' `shots_share` of the crops come.

        Raises UsageError when all photos are too small or too noisy, and see `ShotCrops`.
        """
        self._settings = settings
        self._device = device
        self.photos = [list(photo.shape) for photo in (*clean, *held_out)]
        self._shots = ShotCrops(shots, settings.crop, settings.told) if shots else None
        if shots:
            self.photos.append(shots.identity)
        side = settings.crop + 2 * REACH
        pictures = [copy for photo in clean for copy in clean_copies(photo, side)]
        if not pictures:
            raise UsageError(
                f"the clean photos are too small or too noisy to learn from: shrunk to half, one must have a shorter "
                f"side of {side} pixels, that is {round(SHRINKS[0] * side)} as it is, and little noise"
            )
        self._store = PictureStore(pictures, side, device)
        self._judged = self._held_out_crops(
            [copy for photo in held_out for copy in clean_copies(photo, JUDGED_SIDE + 2 * REACH)]
        )

    def stepped(self, network: Backbone) -> nn.Module:
        """The network at the photo's own size."""
        return CellMeans(network)

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean loss on new crops."""
        seed = np.random.SeedSequence([self._settings.seed, 3, step, rank])
        errors = np.random.default_rng(seed)
        shots = int((errors.random(batch) < self._settings.shots_share).sum()) if self._shots else 0
        parts = [self._made_noisy(batch - shots, seed, errors)] if batch > shots else []
        if self._shots and shots:
            parts.append(self._shots.draw_batch(shots, errors, **self._settings.table_errors))
        noisy, clean, told = (
            torch.cat([crops.to(self._device) for crops in part]) for part in zip(*parts, strict=True)
        )
        weight = 1 / (FAINTEST + ((noisy - clean) ** 2).mean((1, 2, 3), keepdim=True).sqrt())
        with autocast(self._device, self._settings):
            image = noisy.contiguous(memory_format=torch.channels_last)
            estimate = network(image, told) if self._settings.noise_conditioned else network(image)
        loss: torch.Tensor = (weight * (estimate.float() - clean).abs()).mean()
        return loss

    def _made_noisy(
        self, count: int, seed: np.random.SeedSequence, errors: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Crops with noise of any kind, the clean ones, and what is told of them."""
        rng = torch.Generator(self._device).manual_seed(int(seed.generate_state(1)[0]))
        clean = varied(self._store.draw(count, rng), rng)
        noisy = make_noisy(clean, draw_levels(clean, rng), rng)
        tables = noise_tables(noisy, clean, torch.ones_like(clean[:, :1])).cpu()
        return noisy, clean, told_tables(noisy.cpu(), tables, errors, self._settings)

    @torch.inference_mode()
    def judge(self, network: Backbone) -> Judgement | None:
        """What is left of the noise of held-out crops, RMS error as a share of the noisy crop's, and PSNR on white."""
        if not self._judged:
            return None
        left, absolute, biases, psnr = [], [], [], {}
        for kind, (noisy, clean, table) in self._judged.items():
            difference = self._estimate(network, noisy, table) - clean
            square = (difference**2).mean((1, 2, 3))
            left.append(square.sqrt() / (FAINTEST + ((noisy - clean) ** 2).mean((1, 2, 3)).sqrt()))
            absolute.append(float(difference.abs().mean()))
            biases.append(difference.mean((0, 2, 3)).numpy())
            if kind != "any":
                psnr[kind] = float(-10 * square.log10().mean())
        drift = float(np.abs(np.mean(biases, 0)).max() * 255)
        shares = torch.cat(left).double().numpy()
        return Judgement(shares, float(np.mean(absolute)), drift, float("nan"), float("nan"), psnr, NOISE_LEFT)

    @torch.inference_mode()
    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """Rows of a noisy crop, what the student makes of it, and the clean one."""
        if not self._judged:
            return []
        noisy, clean, table = (part[:PREVIEWS] for part in self._judged["any"])
        parts = noisy, self._estimate(network, noisy, table), clean
        return [[crop.permute(1, 2, 0).numpy() for crop in row] for row in zip(*parts, strict=True)]

    def _estimate(self, network: Backbone, noisy: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """What a network makes of crops, some at a time; from the CPU and back."""
        estimates = []
        for image, told in zip(noisy.split(TOGETHER), table.split(TOGETHER), strict=True):
            noise = (told.to(self._device),) if self._settings.noise_conditioned else ()
            estimates.append(network.cell_means(image.to(self._device), *noise).float().cpu())
        return torch.cat(estimates).clamp(0, 1)

    def _held_out_crops(
        self, pictures: Sequence[NDArray[np.uint8]]
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Noisy and clean crops and their noise tables, the same for every network, by the kind of their noise."""
        if not pictures:
            return {}
        rng = torch.Generator().manual_seed(self._settings.seed)
        store = PictureStore(pictures, JUDGED_SIDE + 2 * REACH, "cpu")
        crisp = store.draw(JUDGED, rng)[..., REACH:-REACH, REACH:-REACH]
        any_clean = varied(store.draw(JUDGED, rng), rng)
        kinds = {"any": (make_noisy(any_clean, draw_levels(any_clean, rng), rng), any_clean)}
        for sigma in WHITE:
            noisy = crisp + sigma / 255 * torch.randn(crisp.shape, generator=rng)
            kinds[f"white_{sigma}"] = (noisy.clamp(0, 1) * 255).round() / 255, crisp
        everywhere = torch.ones_like(crisp[:, :1])
        return {kind: (noisy, clean, noise_tables(noisy, clean, everywhere)) for kind, (noisy, clean) in kinds.items()}
