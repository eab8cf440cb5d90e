"""The training loop: crop, construct pairs, step, average, judge, save, in the order they happen."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import l1_loss
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from nsp_pipeline.calibration.checkpoint import load_checkpoint, save_checkpoint
from nsp_pipeline.calibration.crops import CropSampler
from nsp_pipeline.calibration.judge import HeldOut, Judgement
from nsp_pipeline.calibration.ranks import Ranks
from nsp_pipeline.calibration.settings import TrainingSettings
from nsp_pipeline.calibration.training_log import TrainingLog
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.pairs import construct_pairs
from nsp_pipeline.core.shuffle import pixel_shuffle_down
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import build_backbone

CHECKPOINT_FILE = "checkpoint.pt"
LOG_EVERY = 50
RECENT = 100
"""Steps that the reported loss is the mean of."""

PACE_STEPS = 20
"""A time limit shortens the schedule by the pace so far, looked at every so many steps."""

TIME_SHARE = 0.95
"""Part of a time limit that steps may take; judging and writing take the rest."""

START_DIVISOR, END_DIVISOR = 25.0, 1e4
"""The one-cycle schedule (Smith and Topin 2018) starts at the rate over the one and ends at the rate over the other."""

PREVIEWS = 4


@dataclass(frozen=True)
class Progress:
    """Where training stands: steps done of steps in all, mean L1 loss (0..1) lately, steps a second."""

    step: int
    steps: int
    loss: float
    steps_per_second: float


@dataclass(frozen=True)
class Trained:
    """A trained network (averaged weights of its best held-out step, on the CPU, in eval mode) and how it came about.

    `judgement` is the network's and `base_judgement` that of the network it started from, on the same held-out pairs;
    None where no photo was held out, or where it started from nothing.
    """

    network: Backbone
    steps: int
    best_step: int
    seconds: float
    loss: float
    judgement: Judgement | None
    base_judgement: Judgement | None


def train(
    images: Sequence[NDArray[np.generic]],
    held_out: Sequence[NDArray[np.generic]],
    settings: TrainingSettings,
    *,
    base: Backbone | None = None,
    device: str = "cpu",
    max_seconds: float | None = None,
    folder: Path | None = None,
    resume: bool = False,
    ranks: Ranks = Ranks(),  # noqa: B008  frozen
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_trouble: Callable[[str], None] = lambda message: None,
) -> Trained:
    """Train a backbone on noisy photos alone: L1 between prediction and target (paper, Eq. 7), Adam, EMA.

    Args:
        images: photos (H, W, 3), uint8, uint16 or float32 in 0..1, no side shorter than `settings.crop`.
        held_out: photos to judge by; the best of the judged steps is returned. May be empty.
        base: network to start from, of the settings' backbone and sizes; None starts from random weights.
        device: torch device to train on.
        max_seconds: the schedule is shortened so that it ends within this time.
        folder: where checkpoints, log and pictures go; None keeps none.
        resume: go on from the folder's checkpoint: on one CPU, to the very weights of an undisturbed run.
        should_stop: asked after every step; True ends training with the network so far.
        on_step: called after every step.
        on_trouble: called with a message when a checkpoint could not be written; training goes on.

    Raises:
        UsageError: nothing to resume, or a checkpoint of other settings or photos.

    The same images, settings and thread count give the same network on one CPU.
    """
    course = _Course(images, held_out, settings, base, device, ranks)
    if resume:
        if folder is None:
            raise UsageError("there is no folder to resume a training from")
        course.restore(load_checkpoint(folder / CHECKPOINT_FILE))
    log = TrainingLog(folder, after_step=course.step) if folder and ranks.first else None
    begun, at_start = time.monotonic(), course.step
    earlier_seconds = course.seconds

    while course.step < course.steps:
        course.advance()
        passed = time.monotonic() - begun
        course.seconds = earlier_seconds + passed
        on_step(Progress(course.step, course.steps, course.loss, (course.step - at_start) / passed))
        if max_seconds is not None and (course.step - at_start) % PACE_STEPS == 0:
            pace = (course.step - at_start) / passed
            affordable = course.step + int((TIME_SHARE * max_seconds - course.seconds) * pace)
            course.shorten(ranks.first_says(affordable))
        late = max_seconds is not None and course.seconds > max_seconds
        stop = bool(ranks.first_says(should_stop() or late))
        judged = stop or course.step == course.steps or course.step % settings.judge_every == 0
        if judged and ranks.first:
            course.judge()
        if log and (judged or course.step % LOG_EVERY == 0):
            log.record(course.row(judged))
        if judged and log and folder:
            if held_out:
                log.picture(course.step, course.previews())
            try:
                save_checkpoint(folder / CHECKPOINT_FILE, course.state())
            except OutputError as error:
                on_trouble(f"{error}; training goes on, and the last checkpoint stays")
        if stop:
            break

    if log:
        log.close()
    return course.result()


class _Course:
    """A training under way: networks, optimizer and counters; everything a checkpoint holds."""

    def __init__(
        self,
        images: Sequence[NDArray[np.generic]],
        held_out: Sequence[NDArray[np.generic]],
        settings: TrainingSettings,
        base: Backbone | None,
        device: str,
        ranks: Ranks,
    ) -> None:
        self._settings = settings
        self._ranks = ranks
        if settings.batch % ranks.count:
            raise UsageError(f"a batch of {settings.batch} cannot be shared by {ranks.count} processes")
        self._device = f"cuda:{ranks.local}" if device == "cuda" and ranks.count > 1 else device
        self._side = settings.crop - settings.crop % settings.s
        self._sampler = CropSampler(images, self._side, self._device)
        self._photos = [list(image.shape) for image in (*images, *held_out)]
        self._held_out = HeldOut(held_out, settings) if held_out else None
        self._previews = [image[: self._side, : self._side] for image in held_out[:PREVIEWS]]

        torch.manual_seed(settings.seed)
        network = build_backbone(settings.backbone, settings.backbone_sizes)
        if base is not None:
            network.load_state_dict(base.state_dict())
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._stepped: nn.Module = self._network
        if ranks.count > 1:
            self._stepped = DistributedDataParallel(self._network)
        if self._device.startswith("cuda"):
            self._stepped = cast(nn.Module, torch.compile(self._stepped))
        self._averaged = AveragedModel(self._network, avg_fn=_running_average(settings.ema_decay))
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)
        self._dice = torch.Generator(self._device)

        self.step = 0
        self.steps = settings.steps
        self.seconds = 0.0
        self._losses: list[float] = []
        self._judgement: Judgement | None = None
        self._best: tuple[int, float, dict[str, torch.Tensor]] | None = None
        self._base_judgement = self._held_out.judge(network) if self._held_out and base is not None else None

    @property
    def loss(self) -> float:
        """Mean loss of the last steps."""
        return sum(self._losses) / len(self._losses)

    def advance(self) -> None:
        """Take one step. Its randomness comes from its number, so a resumed run takes the same one."""
        settings = self._settings
        self.step += 1
        dice = np.random.default_rng([settings.seed, self.step, self._ranks.rank])
        self._dice.manual_seed(int(dice.integers(1 << 62)))
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, settings)
        crops = self._sampler.draw(settings.batch // self._ranks.count, dice)
        loss = _loss(self._stepped, crops, settings, self._dice)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._averaged.update_parameters(self._network)
        self._losses = [*self._losses[1 - RECENT :], loss.item()]

    def shorten(self, steps: int) -> None:
        """End after this many steps in all, if that is sooner."""
        self.steps = min(self.steps, max(steps, self.step + 1))

    def judge(self) -> None:
        """Judge the averaged network, and keep it if it is the best so far."""
        if self._held_out is None:
            return
        self._judgement = self._held_out.judge(self._averaged.module.eval())
        if self._best is None or self._judgement.mean < self._best[1]:
            weights = {key: value.detach().cpu().clone() for key, value in self._averaged.module.state_dict().items()}
            self._best = (self.step, self._judgement.mean, weights)

    def row(self, judged: bool) -> dict[str, float]:
        """The course at this step, for the log."""
        rate = learning_rate(self.step, self.steps, self._settings)
        row = {"step": self.step, "seconds": self.seconds, "learning_rate": rate, "loss": self.loss}
        if judged and self._judgement:
            found = self._judgement
            row |= {"held_out_mse": found.mean, "held_out_l1": found.l1, "drift": found.drift}
            row |= {"leak": found.leak, "edges": found.edges}
        return row

    @torch.inference_mode()
    def previews(self) -> list[list[NDArray[np.float32]]]:
        """Rows of a held-out crop and what the averaged network makes of it, (H, W, 3) in 0..1."""
        t = self._settings.t
        factor = self._settings.pd_factor or t
        network = cast(Backbone, self._averaged.module.eval())
        rows = []
        for pixels in self._previews:
            side = self._side - self._side % (factor * network.multiple)
            noisy = to_unit(pixels[:side, :side])
            phases = torch.from_numpy(pixel_shuffle_down(np.ascontiguousarray(noisy.transpose(2, 0, 1)), factor))
            estimates = network(phases.to(self._device)).float().cpu().numpy()
            whole = pixel_shuffle_down(estimates[0], t) if factor == 1 else estimates
            rows.append([noisy, whole.mean(0).transpose(1, 2, 0)])
        return rows

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values."""
        return {
            "settings": self._settings.model_dump_json(),
            "photos": self._photos,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "losses": self._losses,
            "network": self._network.state_dict(),
            "averaged": self._averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where `state` was taken; raises UsageError when it is of another training."""
        if state["settings"] != self._settings.model_dump_json():
            raise UsageError("the checkpoint was made with other settings; resume with the same recipe and options")
        if state["photos"] != self._photos:
            raise UsageError("the checkpoint was made with other photos; resume with the same ones, or start again")
        self.step, self.steps, self.seconds = state["step"], state["steps"], state["seconds"]
        self._losses = state["losses"]
        self._network.load_state_dict(state["network"])
        self._averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = state["best"]

    def result(self) -> Trained:
        """The best network so far."""
        network = cast(Backbone, self._averaged.module.cpu().eval())
        best_step, judgement = self.step, self._judgement
        if self._best:
            best_step = self._best[0]
            network.load_state_dict(self._best[2])
        if self._held_out and (judgement is None or best_step != self.step):
            judgement = self._held_out.judge(network)
        return Trained(network, self.step, best_step, self.seconds, self.loss, judgement, self._base_judgement)


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """The rate of a step, 1 to `steps`: constant, or up along a cosine in the warm-up and down along one after it."""
    top = settings.learning_rate
    if settings.schedule == "constant":
        return top
    peak = settings.warmup * steps
    if step < peak:
        return _cosine(top / START_DIVISOR, top, step / peak)
    return _cosine(top, top / END_DIVISOR, (step - peak) / max(1.0, steps - peak))


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, way))) / 2


def _running_average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """Exponential moving average whose memory grows to `decay`, so that a short training forgets its random start."""

    def average(mean: torch.Tensor, current: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        warming = (1.0 + float(count)) / (10.0 + float(count))
        return mean.lerp(current, 1.0 - min(decay, warming))

    return average


def _loss(network: nn.Module, crops: torch.Tensor, settings: TrainingSettings, dice: torch.Generator) -> torch.Tensor:
    """Mean L1 over the Cartesian product of inputs and targets of one batch of crops."""
    inputs, targets = construct_pairs(crops, settings.geometry, dice)
    if settings.inputs_per_step:
        # The deal was a shuffle, so the first ones are as random as any.
        inputs = inputs[:, : settings.inputs_per_step]
    flat = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast(flat.device.type, dtype=torch.bfloat16, enabled=settings.bf16):
        predicted = network(flat).float().unflatten(0, inputs.shape[:2])
    pairs = torch.broadcast_tensors(predicted[:, :, None], targets[:, None])  # type: ignore[no-untyped-call]
    return l1_loss(*pairs)
