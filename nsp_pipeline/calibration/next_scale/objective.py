"""Next-scale prediction as a objective: a blind-spot network learns to foresee the finer scale of noisy photos."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import l1_loss

from nsp_pipeline.calibration.next_scale.held_out import HeldOut
from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
from nsp_pipeline.calibration.training.apply import denoised
from nsp_pipeline.calibration.training.crops import CropSampler, to_tensor
from nsp_pipeline.calibration.training.judge import Judgement
from nsp_pipeline.calibration.training.precision import autocast
from nsp_pipeline.core.pairs import construct_pairs
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.profiles.spec import InferenceSpec

PREVIEWS = 4


class NextScaleObjective:
    """L1 between the prediction from an input and its target (paper, Eq. 7), crops cut from noisy photos."""

    def __init__(
        self,
        images: Sequence[NDArray[np.generic]],
        held_out: Sequence[NDArray[np.generic]],
        settings: NextScaleSettings,
        device: str = "cpu",
    ) -> None:
        """Prepare the photos.

        Args:
            images: photos (H, W, 3), uint8, uint16 or float32 in 0..1, no side shorter than `settings.crop`.
            held_out: photos to judge by; may be empty.
            device: torch device that the network is trained on.
        """
        self._settings = settings
        self._side = settings.crop - settings.crop % settings.s
        self._sampler = CropSampler(images, self._side, device)
        self.photos = [list(image.shape) for image in (*images, *held_out)]
        self._held_out = HeldOut(held_out, settings) if held_out else None
        self._previews = [image[: self._side, : self._side] for image in held_out[:PREVIEWS]]
        self._dice = torch.Generator(device)

    @property
    def judged_crops(self) -> int:
        """Crops of held-out photos that a network is judged by."""
        return len(self._held_out) if self._held_out else 0

    def stepped(self, network: Backbone) -> nn.Module:
        """The network itself."""
        return network

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean L1 over the Cartesian product of inputs and targets of one batch of crops."""
        settings = self._settings
        rng = np.random.default_rng([settings.seed, step, rank])
        self._dice.manual_seed(int(rng.integers(1 << 62)))
        crops = self._sampler.draw(batch, rng)
        inputs, targets = construct_pairs(crops, settings.geometry, self._dice)
        if settings.inputs_per_step:
            # The deal was a shuffle, so the first ones are as random as any.
            inputs = inputs[:, : settings.inputs_per_step]
        flat = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with autocast(flat.device.type, settings):
            predicted = network(flat).float().unflatten(0, inputs.shape[:2])
        pairs = torch.broadcast_tensors(predicted[:, :, None], targets[:, None])
        return l1_loss(*pairs)

    def judge(self, network: Backbone) -> Judgement | None:
        """Judge on the pairs of the held-out photos."""
        return self._held_out.judge(network) if self._held_out else None

    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """Rows of a held-out crop and its denoised version."""
        inference = InferenceSpec(pd_factor=self._settings.pd_factor or self._settings.t)
        rows = []
        for pixels in self._previews:
            side = self._side - self._side % (inference.pd_factor * network.multiple)
            noisy = to_tensor(pixels[:side, :side])
            clean = denoised(network, noisy[None], inference)[0]
            rows.append([part.permute(1, 2, 0).numpy() for part in (noisy, clean)])
        return rows
