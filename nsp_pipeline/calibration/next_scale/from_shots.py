"""A base for calibrations: next-scale prediction from simulated shots, whose truth is known.

Inputs are dealt from the noisy picture as in a calibration, and the targets are those pixels of the clean one: what
noise a target would have, and share with the inputs, is left out. The network learns what to foresee from neighbours,
and anybody may use it where the scenes are free.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import l1_loss

from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.publish import InferenceChoice, MakeOnnx, Origin, about_photos, publish
from nsp_pipeline.calibration.simulation.store import ShotStore
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.calibration.training.loop import RunOptions, train
from nsp_pipeline.calibration.training.precision import autocast
from nsp_pipeline.core.pairs import construct_pairs
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.spec import InferenceSpec

JUDGED, INPUTS = 64, 4
"""Held-out shots that a network is judged by, and the inputs of each that are tried."""

CHANNELS = 3


class ShotsObjective:
    """L1 between the prediction from a noisy input and the clean target."""

    def __init__(self, shots: ShotStore, held: ShotStore, settings: NextScaleSettings, device: str = "cpu") -> None:
        """Hold the stores; shots are no smaller than the settings' crop."""
        self._shots, self._held, self._settings, self._device = shots, held, settings, device
        self._side = settings.crop - settings.crop % settings.s
        self.photos = [shots.identity, held.identity]
        self._rng = torch.Generator(device)

    def stepped(self, network: Backbone) -> nn.Module:
        """The network itself."""
        return network

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean L1 over the Cartesian product of noisy inputs and clean targets of one batch of crops."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, step, rank])
        self._rng.manual_seed(int(rng.integers(1 << 62)))
        crops = torch.stack([self._crop(rng) for _ in range(batch)]).to(self._device)
        inputs, targets = self._pairs(crops, settings.inputs_per_step)
        flat = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with autocast(self._device, settings):
            predicted = network(flat).float().unflatten(0, inputs.shape[:2])
        return l1_loss(*torch.broadcast_tensors(predicted[:, :, None], targets[:, None]))

    @torch.inference_mode()
    def judge(self, network: Backbone) -> Judgement:
        """Squared error of the prediction from the clean target, on held-out shots."""
        squares, absolutes, biases = [], [], []
        for number in range(min(JUDGED, len(self._held))):
            self._rng.manual_seed(number)
            whole = _picture(self._held, number, slice(0, self._side), slice(0, self._side))
            inputs, targets = self._pairs(whole[None].to(self._device), INPUTS)
            difference = (network(inputs[0]).float()[:, None] - targets).cpu()
            squares.append(float((difference**2).mean()))
            absolutes.append(float(difference.abs().mean()))
            biases.append(difference.mean((0, 1, 3, 4)).numpy())
        drift = float(np.abs(np.mean(biases, 0)).max() * 255)
        return Judgement(np.array(squares), float(np.mean(absolutes)), drift, float("nan"), float("nan"))

    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """None: predictions are at a scale that nobody looks at."""
        return []

    def _pairs(self, crops: torch.Tensor, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy inputs and clean targets (B, N, 3, h, w) of crops (B, 6, H, W), the noisy channels first."""
        inputs, targets = construct_pairs(crops, self._settings.geometry, self._rng)
        inputs = inputs[:, :count, :CHANNELS] if count else inputs[:, :, :CHANNELS]
        return inputs, targets[:, :, CHANNELS:]

    def _crop(self, rng: np.random.Generator) -> torch.Tensor:
        """A crop of any of the shots, turned and mirrored by chance: (6, side, side) in 0..1."""
        number = int(rng.integers(len(self._shots)))
        top, left = (int(place) for place in rng.integers(self._shots.recipe.side - self._side + 1, size=2))
        crop = _picture(self._shots, number, slice(top, top + self._side), slice(left, left + self._side))
        crop = torch.rot90(crop, int(rng.integers(4)), (1, 2))
        return crop.flip(2) if rng.integers(2) else crop


def _picture(store: ShotStore, number: int, rows: slice, columns: slice) -> torch.Tensor:
    """A part of a shot, noisy and clean: (6, h, w) in 0..1."""
    parts = [torch.from_numpy(np.array(shots[number, rows, columns])) for shots in (store.noisy, store.clean)]
    return torch.cat(parts, 2).permute(2, 0, 1).float() / 255


def make_base(
    shots: ShotStore,
    held: ShotStore,
    settings: NextScaleSettings,
    target: Path,
    *,
    origin: Origin,
    make_onnx: MakeOnnx,
    run: RunOptions = RunOptions(),  # noqa: B008  frozen
) -> Profile:
    """Train on shots, and write a blind-spot network's profile for any camera to `target`.

    Raises:
        OutputError: the target exists or cannot be written.
        NspError: the exported graph does not agree with the network; nothing is written then.
    """
    trained = train(ShotsObjective(shots, held, settings, run.torch_device), settings, run=run)
    pairs = {"s": settings.s, "t": settings.t, "n": settings.n, "strategy": str(settings.strategy)}
    fields = {
        **about_photos([]),
        "pairs": pairs | {"clean_targets": True},
        "data": {"origin": origin.description, "licence": origin.licence, "photos": len(shots)},
    }
    inference = InferenceSpec(pd_factor=settings.pd_factor or settings.t)
    return publish(
        target,
        trained,
        settings,
        fields,
        choose=lambda network: InferenceChoice(inference, {}),
        held_out_photos=len(held),
        base=None,
        shot_pairs=None,
        make_onnx=make_onnx,
    )
