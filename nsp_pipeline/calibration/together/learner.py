"""A network that learns: its weights, their running average, and a step of the optimizer, which a GPU replays.

Small networks wait for the processor that launches their kernels. So a GPU records a step once, as a CUDA graph, and
replays it with other crops: nothing in a step may ask the GPU for a value. And since one small network leaves most of
a GPU idle, each has a stream of its own, beside those of others.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from nsp_pipeline.calibration.together.muon import MuonWithAdam

CLIP = 0.5
SCALE = 2.0**12
"""Losses are multiplied by it, so that gradients of half precision are not too small."""

BETAS, SMOOTHED = (0.9, 0.99), 0.02
REHEARSALS = 3
"""Steps before the one that is recorded: memory and algorithms are settled by then."""


class Learner:
    """A network, its running average, and its optimizer."""

    def __init__(
        self, network: nn.Module, loss: Callable[..., torch.Tensor], rate: float, decay: float, device: str
    ) -> None:
        """`loss` gives the loss of the network, which is its first argument, on what `learn` is given."""
        self.network = network.to(device)
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        self.loss = torch.full((), float("nan"), device=device)
        """Running mean of the losses."""
        self._loss_of, self._rate, self._decay, self._steps = loss, rate, decay, 0
        self._on_gpu = device.startswith("cuda")
        self._scale = SCALE if self._on_gpu else 1.0
        self._parameters: list[torch.Tensor] = list(self.network.parameters())
        # A graph reads them anew each time, where a number would be recorded for good.
        self._rate_now, self._moved = torch.zeros((), device=device), torch.ones((), device=device)
        rates: Any = self._rate_now
        self._optimizer = MuonWithAdam(self.network, rates, betas=BETAS, fused=self._on_gpu, capturable=self._on_gpu)
        self._stream = torch.cuda.Stream() if self._on_gpu else None
        self._inputs: list[torch.Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None

    def learn(self, inputs: Sequence[torch.Tensor], rate_share: float) -> None:
        """Take one step down the loss on these inputs, at this share of the highest rate; shapes stay the same.

        On a GPU the step is only on its way when this returns, and inputs are read until `catch_up`.
        """
        self._steps += 1
        if self._stream is None:
            self._adjust(rate_share)
            self._step(inputs)
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._adjust(rate_share)
            if self._graph is None:
                self._record(inputs, self._stream)
                return
            for held, new in zip(self._inputs, inputs, strict=True):
                held.copy_(new)
            self._graph.replay()

    def catch_up(self) -> None:
        """Let what comes after this on the GPU wait for all steps."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)

    def state(self) -> dict[str, Any]:
        """All that goes on with the next step, as tensors, which that changes, and plain values."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state(),
            "loss": self.loss,
            "steps": self._steps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state` was taken; before the first step, which a GPU records."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.restore(state["optimizer"])
        self.loss.copy_(state["loss"])
        self._steps = state["steps"]

    def _adjust(self, rate_share: float) -> None:
        self._rate_now.fill_(self._rate * rate_share)
        self._moved.fill_(1 - min(self._decay, (1 + self._steps) / (10 + self._steps)))

    def _record(self, inputs: Sequence[torch.Tensor], stream: "torch.cuda.Stream") -> None:
        self._inputs = [part.clone() for part in inputs]
        for _ in range(REHEARSALS):
            self._step(self._inputs)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream):
            self._step(self._inputs)

    def _step(self, inputs: Sequence[torch.Tensor]) -> None:
        self._optimizer.zero_grad()
        loss = self._loss_of(self.network, *inputs)
        (loss * self._scale).backward()
        with torch.no_grad():
            self._tame()
            self._optimizer.step()
            averaged: Any = list(self.average.parameters())
            moves: Any = torch._foreach_sub(self._parameters, averaged)
            torch._foreach_mul_(moves, self._moved)
            torch._foreach_add_(averaged, moves)
            value = loss.detach()
            mean = torch.where(self.loss.isnan(), value, torch.lerp(self.loss, value, SMOOTHED))
            self.loss.copy_(torch.where(value.isfinite(), mean, self.loss))

    def _tame(self) -> None:
        """Undo the scale, and shorten the gradient to CLIP.

        One that half precision did not hold is taken for none: the weights still move by the optimizer's momentum.
        """
        gradients = [part.grad for part in self._parameters if part.grad is not None]
        torch._foreach_mul_(gradients, 1 / self._scale)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        for gradient in gradients:
            gradient.nan_to_num_(0.0, 0.0, 0.0)
        torch._foreach_mul_(gradients, torch.where(norm.isfinite(), (CLIP / (norm + 1e-6)).clamp(max=1), 0.0))
