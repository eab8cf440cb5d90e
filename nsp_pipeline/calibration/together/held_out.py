"""Crops of pictures kept out of a training, with white noise, of developed light, and of simulated cameras."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nsp_pipeline.calibration.simulation.cameras import take_shot
from nsp_pipeline.calibration.simulation.development_batch import develop_batch
from nsp_pipeline.calibration.simulation.noise_tables import noise_tables
from nsp_pipeline.calibration.simulation.scenes import Scenes
from nsp_pipeline.calibration.simulation.surfaces import surface
from nsp_pipeline.calibration.simulation.tell import tell_tables
from nsp_pipeline.calibration.together.pool import SHOTS

WHITE = (5, 10, 25)
TOGETHER = 8
LEAST = 0.5 / 255


class HeldOut:
    """The same noisy crops, clean ones and true noise tables for all networks, by the kind of their noise."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], side: int, count: int, seed: int) -> None:
        """Make `count` of each kind, on the CPU, of pictures (H, W, 3)."""
        rng, generator = np.random.default_rng([seed, 13]), torch.Generator().manual_seed(seed)
        scenes = Scenes(pictures, [1.0] * len(pictures))
        clean = torch.cat([scenes.draw(side, rng) for _ in range(count)])
        self._kinds = {}
        for sigma in WHITE:
            noisy = clean + sigma / 255 * torch.randn(clean.shape, generator=generator)
            self._kinds[f"white{sigma}"] = _with_tables((noisy.clamp(0, 1) * 255).round() / 255, clean, clean)
        noisy, developed = develop_batch(clean, generator)
        self._kinds["light"] = _with_tables(noisy, developed, noisy)
        sharp = [scenes.draw(2 * side, rng) for _ in range(count)]
        for kind, seen in {"camera": sharp, "surface": [surface(scene, rng) for scene in sharp]}.items():
            shots = [take_shot(scene, SHOTS, rng)[0] for scene in seen]
            noisy, clean, flat = (torch.cat([getattr(shot, of) for shot in shots]) for of in ("noisy", "clean", "flat"))
            self._kinds[kind] = _with_tables(noisy, clean, clean + flat)

    @torch.inference_mode()
    def judge(self, networks: Mapping[str, nn.Module], device: str) -> dict[str, Any]:
        """Mean PSNR of each student, told the truth and (last letter e) told by the estimator; and that one's error."""
        figures: dict[str, Any] = {}
        estimator = networks["estimator"]
        for kind, (noisy, clean, table) in self._kinds.items():
            told = torch.cat([tell_tables(estimator, part.to(device)).cpu() for part in noisy.split(TOGETHER)])
            seen = table[:, :2] > LEAST
            error = (told[:, :2].clamp_min(1e-5) / table[:, :2].clamp_min(1e-5)).log().abs()[seen]
            figures[f"error {kind}"] = float(error.median())
            for name, network in networks.items():
                if name == "estimator":
                    continue
                for letter, tables in (("", table), ("e", told)):
                    square = torch.cat(
                        [
                            ((_estimate(network, image, part, device) - truth) ** 2).mean((1, 2, 3))
                            for image, part, truth in zip(
                                noisy.split(TOGETHER), tables.split(TOGETHER), clean.split(TOGETHER), strict=True
                            )
                        ]
                    )
                    figures[f"{name} {kind}{letter}"] = float(-10 * square.clamp_min(1e-7).log10().mean())
        return figures


def _estimate(network: nn.Module, image: torch.Tensor, table: torch.Tensor, device: str) -> torch.Tensor:
    found: torch.Tensor = network.cell_means(image.to(device), table.to(device))  # type: ignore[operator]
    return found.float().cpu().clamp(0, 1)


def _with_tables(
    noisy: torch.Tensor, clean: torch.Tensor, as_flat: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return noisy, clean, noise_tables(as_flat if as_flat is not clean else noisy, clean, torch.ones(1, 1, 1, 1))
