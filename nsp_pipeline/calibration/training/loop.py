"""The training loop: step, average, judge, save, in the order they happen; what is learnt is a objective's affair."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from nsp_pipeline.calibration.training.checkpoint import load_checkpoint, save_checkpoint
from nsp_pipeline.calibration.training.judge import Judgement, Verdict, compare
from nsp_pipeline.calibration.training.log import TrainingLog
from nsp_pipeline.calibration.training.ranks import Ranks
from nsp_pipeline.calibration.training.settings import TrainingSettings
from nsp_pipeline.errors import OutputError, UsageError
from nsp_pipeline.models.backbone import Backbone

CHECKPOINT_FILE = "checkpoint.pt"
LOG_EVERY = 50
RECENT = 100
"""Steps that the reported loss is the mean of."""

PACE_STEPS, FIRST_LOOKS = 20, (1, 2, 5, 10)
"""A time limit fits the schedule to the pace so far, looked at every so many steps, and sooner at first."""

TIME_SHARE = 0.95
"""Part of a time limit that steps may take; judging and writing take the rest."""

PREPARING_SHARE = 0.4
"""Part of what is left of a time limit that may pass before the first step, with what is learnt from."""

KNOWING_SHARE = 0.1
"""The same for what a profile says of its camera's noise."""

START_DIVISOR, END_DIVISOR = 25.0, 1e4
"""The one-cycle schedule (Smith and Topin 2018) starts at the rate over the one and ends at the rate over the other."""


class Objective(Protocol):
    """What a network is to learn, from which photos, and how well it does on others."""

    @property
    def photos(self) -> list[list[int]]:
        """Shapes of all photos, by which a checkpoint knows that it belongs to the same photos."""

    def stepped(self, network: Backbone) -> nn.Module:
        """The module that the loss is computed with: the network itself, or a part or another way through it."""

    def loss(self, network: nn.Module, batch: int, step: int, rank: int) -> torch.Tensor:
        """Mean loss on `batch` new crops of what `stepped` gave; the step and the process's rank say which crops."""

    def judge(self, network: Backbone) -> Judgement | None:
        """Judge a network on photos kept out of training; None where there are none."""

    def previews(self, network: Backbone) -> list[list[NDArray[np.float32]]]:
        """Rows of a held-out crop and what the network makes of it, (H, W, 3) in 0..1; may be empty."""


@dataclass(frozen=True)
class Progress:
    """How far a training is: steps done, steps in all, recent mean L1 loss (0..1), and steps a second."""

    step: int
    steps: int
    loss: float
    steps_per_second: float
    gain: Verdict | None = None
    """How the network last judged compares with the base, in dB; None where that is not known."""

    @property
    def seconds_left(self) -> float:
        """How long the other steps take at this pace."""
        return (self.steps - self.step) / max(self.steps_per_second, 1e-9)


@dataclass(frozen=True)
class RunOptions:
    """How a training is run, apart from what decides its result: where, how long, from which checkpoint."""

    device: str = "cpu"
    folder: Path | None = None
    """Existing folder for checkpoints, log and pictures; None keeps none."""
    resume: bool = False
    """Go on from the folder's checkpoint: on one CPU, to the very weights of an undisturbed run."""
    max_seconds: float | None = None
    """The schedule is fitted to end within this time, judging included, at no more than the settings' steps."""
    ranks: Ranks = field(default_factory=Ranks)
    should_stop: Callable[[], bool] = lambda: False
    """Asked after every step; True ends training with the network so far."""
    on_step: Callable[[Progress], None] = lambda progress: None
    on_trouble: Callable[[str], None] = lambda message: None
    """Called with a message when a checkpoint could not be written; training goes on."""
    on_picture: Callable[[Path], None] = lambda path: None
    """Called with the first picture of held-out crops that is written; the next ones lie beside it."""
    since: float | None = None
    """When `max_seconds` began (`time.monotonic`); None: when the training does, or did before it was resumed."""

    @property
    def torch_device(self) -> str:
        """The device of this process: among several, each takes the GPU of its number."""
        return f"cuda:{self.ranks.local}" if self.device == "cuda" and self.ranks.count > 1 else self.device

    def prepared_by(self, share: float = PREPARING_SHARE) -> float | None:
        """When what is learnt from should be prepared, if that begins now (`time.monotonic`); None without a limit."""
        begun = time.monotonic()
        left = _time_limit(self, begun)
        return None if left is None else begun + share * left


@dataclass(frozen=True)
class Trained:
    """A trained network (averaged weights of its best held-out step, on the CPU, in eval mode) and how it came about.

    `judgement` is the network's and `base_judgement` that of the network it started from, on the same held-out pairs;
    None where no photo was held out, or where it started from nothing. Of several processes only the first one's is
    judged, and holds the best step's weights.
    """

    network: Backbone
    steps: int
    best_step: int
    seconds: float
    loss: float
    judgement: Judgement | None
    base_judgement: Judgement | None
    history: tuple[tuple[int, float], ...] = ()
    """Step and held-out error of each checkpoint."""


def train(
    objective: Objective,
    settings: TrainingSettings,
    *,
    base: Backbone | None = None,
    run: RunOptions = RunOptions(),
) -> Trained:
    """Train a backbone with Adam, and return the best of the averaged weights (EMA) on held-out photos.

    Args:
        objective: what to learn, prepared on the torch device of `run`.
        base: network to start from, of the settings' backbone and sizes; None starts from random weights.

    Raises:
        UsageError: nothing to resume, or a checkpoint of other settings or photos.

    The same objective, settings and thread count give the same network on one CPU. Where time is up before a network
    could be trained and judged, that is the base, after no step and without a judgement.
    """
    begun = time.monotonic()
    training = _Training(objective, settings, base, run)
    if run.resume:
        if run.folder is None:
            raise UsageError("there is no folder to resume a training from")
        training.restore(load_checkpoint(run.folder / CHECKPOINT_FILE))
    log = TrainingLog(run.folder, after_step=training.step) if run.folder and run.ranks.first else None
    pictured = False
    at_start, earlier_seconds = training.step, training.seconds
    limit = _time_limit(run, begun)
    if limit is not None and base is not None and not training.step:
        late = time.monotonic() - begun + training.judge_seconds > limit
        if run.ranks.first_says(late):
            return training.result()

    while training.step < training.steps:
        training.advance()
        passed = time.monotonic() - begun
        training.seconds = earlier_seconds + passed
        pace = (training.step - at_start) / passed
        run.on_step(Progress(training.step, training.steps, training.loss, pace, training.gain))
        done = training.step - at_start
        if limit is not None and (done in FIRST_LOOKS or done % PACE_STEPS == 0):
            left = TIME_SHARE * limit - training.seconds - training.judge_seconds
            training.fit_schedule(run.ranks.first_says(training.step + int(left * done / passed)))
        late = limit is not None and training.seconds + training.judge_seconds > limit
        stop = bool(run.ranks.first_says(run.should_stop() or late))
        judged = stop or training.step == training.steps or training.step % settings.judge_every == 0
        if judged and run.ranks.first:
            training.judge()
        if log and run.folder and (judged or training.step % LOG_EVERY == 0):
            # The checkpoint last: a resumed training takes away what was logged after it, and lacks nothing before.
            try:
                if (picture := _note(log, training, judged)) and not pictured:
                    pictured = True
                    run.on_picture(picture)
            except OutputError as error:
                run.on_trouble(f"{error}; training goes on")
            try:
                if judged:
                    save_checkpoint(run.folder / CHECKPOINT_FILE, training.state())
            except OutputError as error:
                run.on_trouble(f"{error}; training goes on, and the last checkpoint stays")
        if stop:
            break

    return training.result()


def _time_limit(run: RunOptions, begun: float) -> float | None:
    """Seconds that this training may take, from `begun` on; at least none, however long what went before it took."""
    if run.max_seconds is None or run.since is None:
        return run.max_seconds
    return max(0.0, run.max_seconds - (begun - run.since))


def _note(log: TrainingLog, training: "_Training", judged: bool) -> Path | None:
    """Log the losses at this step, and after an evaluation pictures of held-out crops, whose file is returned."""
    log.record(training.row(judged))
    previews = training.previews() if judged else []
    return log.picture(training.step, previews) if previews else None


class _Training:
    """A training under way: networks, optimizer and counters; everything a checkpoint holds."""

    def __init__(
        self, objective: Objective, settings: TrainingSettings, base: Backbone | None, run: RunOptions
    ) -> None:
        ranks, device = run.ranks, run.torch_device
        self._objective = objective
        self._settings = settings
        self._ranks = ranks
        if settings.batch % ranks.count:
            raise UsageError(f"a batch of {settings.batch} cannot be shared by {ranks.count} processes")

        torch.manual_seed(settings.seed)
        network = cast(Backbone, settings.build())
        if base is not None:
            network.load_state_dict(base.state_dict())
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._stepped = objective.stepped(self._network)
        if ranks.count > 1:
            self._stepped = DistributedDataParallel(self._stepped)
        if device.startswith("cuda"):
            # Not on a CPU: 95 s to compile the network of `camera-scratch`, and steps no more than 6 % quicker.
            self._stepped = cast(nn.Module, torch.compile(self._stepped))
        self._averaged = AveragedModel(self._network, avg_fn=_running_average(settings.ema_decay))
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)

        self.step = 0
        self.steps = settings.steps
        self.seconds = 0.0
        self._processor_seconds, self._begun = 0.0, time.process_time()
        self._losses: list[float] = []
        self._judgement: Judgement | None = None
        self._history: list[tuple[int, float]] = []
        self._best: tuple[int, tuple[bool, float], dict[str, torch.Tensor]] | None = None
        self.judge_seconds = 0.0
        """What a judgement takes, as far as is known."""
        self._base_judgement = self._judged(self._network) if base is not None and ranks.first else None

    @property
    def processor_seconds(self) -> float:
        """What this process has used for the training, all threads together, and those that it was resumed from."""
        return self._processor_seconds + time.process_time() - self._begun

    @property
    def loss(self) -> float:
        """Mean loss of the last steps; NaN before the first."""
        return sum(self._losses) / len(self._losses) if self._losses else math.nan

    def advance(self) -> None:
        """Take one step. Its randomness comes from its number, so a resumed run takes the same one."""
        settings = self._settings
        self.step += 1
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, settings)
        loss = self._objective.loss(self._stepped, settings.batch // self._ranks.count, self.step, self._ranks.rank)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._settings.clip:
            clip_grad_norm_(self._network.parameters(), self._settings.clip)
        self._optimizer.step()
        self._averaged.update_parameters(self._network)
        self._losses = [*self._losses[1 - RECENT :], loss.item()]

    def fit_schedule(self, steps: int) -> None:
        """End after this many steps in all, or the settings' own where those are fewer."""
        self.steps = min(self._settings.steps, max(steps, self.step + 1))

    def judge(self) -> None:
        """Judge the averaged network, and keep it if it is the best so far."""
        self._judgement = self._judged(cast(Backbone, self._averaged.module.eval()))
        if self._judgement is None:
            return
        self._history.append((self.step, self._judgement.mean))
        # In dB beside the base, what a profile would be refused for comes after all that it would not.
        refused = self.gain is not None and not self.gain.accepted
        rank = (refused or self._judgement.rank[0], self._judgement.rank[1])
        if self._best is None or rank < self._best[1]:
            weights = {key: value.detach().cpu().clone() for key, value in self._averaged.module.state_dict().items()}
            self._best = (self.step, rank, weights)

    def _judged(self, network: Backbone) -> Judgement | None:
        """Judge a network, and remember how long it took."""
        begun = time.monotonic()
        judgement = self._objective.judge(network)
        self.judge_seconds = time.monotonic() - begun
        return judgement

    @property
    def gain(self) -> Verdict | None:
        """How the network compares with the base, where that is judged in dB."""
        if self._judgement is None or not self._judgement.relative:
            return None
        return self._verdict

    @property
    def _verdict(self) -> Verdict | None:
        """The same, however it is judged."""
        if self._judgement is None or self._base_judgement is None:
            return None
        return compare(self._judgement, self._base_judgement)

    def row(self, judged: bool) -> dict[str, float]:
        """The figures of this step, for the log."""
        rate = learning_rate(self.step, self.steps, self._settings)
        row = {"step": self.step, "seconds": self.seconds, "learning_rate": rate, "loss": self.loss}
        row["megapixels"] = self.step * self._settings.pixels_a_step / 1e6
        row["processor_hours"] = self.processor_seconds / 3600
        if judged and self._judgement:
            found = self._judgement
            row |= {"held_out_mse": found.mean, "held_out_l1": found.l1, "drift": found.drift}
            row |= {"leak": found.leak, "edges": found.edges, **found.psnr}
            row |= {"gain": found.claim.gain, "gain_error": found.claim.error} if found.claim else {}
            row |= {"accepted": float(verdict.accepted)} if (verdict := self._verdict) else {}
        return row

    def previews(self) -> list[list[NDArray[np.float32]]]:
        """What the averaged network makes of held-out crops."""
        return self._objective.previews(cast(Backbone, self._averaged.module.eval()))

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values."""
        return {
            "settings": self._settings.model_dump_json(),
            "photos": self._objective.photos,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "losses": self._losses,
            "network": self._network.state_dict(),
            "averaged": self._averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "history": self._history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to where `state` was taken; raises UsageError when it is of another training."""
        if not _same(self._settings, state["settings"]):
            raise UsageError("the checkpoint was made with other settings; resume with the same recipe and options")
        if state["photos"] != self._objective.photos:
            raise UsageError("the checkpoint was made with other photos; resume with the same ones, or start again")
        self.step, self.steps, self.seconds = state["step"], state["steps"], state["seconds"]
        self._processor_seconds, self._begun = state["processor_seconds"], time.process_time()
        self._losses = state["losses"]
        self._network.load_state_dict(state["network"])
        self._averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = state["best"]
        self._history = [*state["history"]]

    def result(self) -> Trained:
        """The best network so far."""
        network = cast(Backbone, self._averaged.module.cpu().eval())
        best_step, judgement = self.step, self._judgement
        if self._best and self._ranks.first:
            best_step = self._best[0]
            network.load_state_dict(self._best[2])
        if self._ranks.first and self.step and (judgement is None or best_step != self.step):
            judgement = self._objective.judge(network)
        return Trained(
            network,
            self.step,
            best_step,
            self.seconds,
            self.loss,
            judgement,
            self._base_judgement,
            tuple(self._history),
        )


def _same(settings: TrainingSettings, stored: str) -> bool:
    """Whether a checkpoint's settings are these; what an older nsp did not know of has its default."""
    try:
        return type(settings).model_validate_json(stored) == settings
    except ValidationError:
        return False


def learning_rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """The rate of a step, 1 to `steps`: constant, or up along a cosine in the warm-up and down along one after it.

    A trapezoid's warm-up is a share of the settings' own steps, wherever the training ends, and between the two its
    rate is constant (Zhai et al. 2022, Hägele et al. 2024).
    """
    top = settings.learning_rate
    if settings.schedule == "constant":
        return top
    if settings.schedule == "trapezoid":
        rising = _cosine(top / START_DIVISOR, top, step / max(1.0, settings.warmup * settings.steps))
        fall = settings.cooldown * steps
        return min(rising, _cosine(top, top / END_DIVISOR, max(0.0, step - steps + fall) / fall))
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
