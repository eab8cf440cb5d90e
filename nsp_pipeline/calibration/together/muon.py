"""Muon: a step that moves a layer's weights as far in every direction, however small the gradient is there.

Jordan et al. 2024, with the scale of Liu et al. 2025, by which one learning rate serves it and Adam. A U-Net that has
far to go gets there in a third of the steps (docs/quality.md).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import nn

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Of x + x³ + x⁵, applied over and over: brings all singular values between 0 and 1 near 1."""

ROUNDS, MOMENTUM, AS_ADAM = 5, 0.95, 0.2
"""AS_ADAM is about the root mean square of what Adam adds to a weight, in parts of the learning rate."""

ENDS = ("head", "noise_head", "tail")
"""Layers from and to pixels: their weights are Adam's, as biases are."""


def kernels(network: nn.Module) -> list[torch.Tensor]:
    """The weights of a network's convolutions between features: (outputs, inputs, ...), or transposed."""
    return [
        weight
        for name, weight in network.named_parameters()
        if weight.dim() == 4 and name.partition(".")[0] not in ENDS
    ]


class Muon(torch.optim.Optimizer):
    """Changes kernels in place; the learning rate may be a tensor, which a recorded step reads anew."""

    def __init__(self, weights: Iterable[torch.Tensor], lr: float | torch.Tensor) -> None:
        super().__init__(weights, {"lr": lr})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step down the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[int, ...], list[torch.Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[tuple(weight.flatten(1).shape)].append(weight)
            for shape, weights in alike.items():
                # Those of one shape at once: they are small.
                turned = orthogonal(torch.stack([self._direction(weight).flatten(1) for weight in weights]))
                far = group["lr"] * (AS_ADAM * max(shape) ** 0.5)
                for weight, direction in zip(weights, turned, strict=True):
                    weight.sub_(far * direction.view(weight.shape))
        return loss

    def _direction(self, weight: torch.Tensor) -> torch.Tensor:
        """The gradient, smoothed with those before, and this one counted once more (Nesterov)."""
        state: dict[str, torch.Tensor] = self.state[weight]
        gradient: torch.Tensor = weight.grad  # type: ignore[assignment]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        state["mean"].lerp_(gradient, 1 - MOMENTUM)
        return torch.lerp(gradient, state["mean"], MOMENTUM)


class MuonWithAdam:
    """Muon for a network's kernels and Adam for all else of it, to be used as one optimizer is."""

    def __init__(self, network: nn.Module, lr: float | torch.Tensor, **of_adam: Any) -> None:
        """`of_adam`: what else torch.optim.Adam is given."""
        between = kernels(network)
        chosen = {id(weight) for weight in between}
        rest = [part for part in network.parameters() if id(part) not in chosen]
        adam = torch.optim.Adam(rest, lr=lr, **of_adam)
        self._both: list[torch.optim.Optimizer] = [adam, Muon(between, lr)] if between else [adam]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for one in self._both:
            one.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take one step down the gradients."""
        for one in self._both:
            one.step()

    def state(self) -> list[dict[str, Any]]:
        """What both know of steps before, by the number of the weight."""
        return [one.state_dict()["state"] for one in self._both]

    def restore(self, state: Sequence[dict[str, Any]]) -> None:
        """Go back to where `state` was taken; learning rates are left to whoever gave them."""
        for one, of_weights in zip(self._both, state, strict=True):
            rates = [group["lr"] for group in one.param_groups]
            one.load_state_dict({"state": of_weights, "param_groups": one.state_dict()["param_groups"]})
            for group, rate in zip(one.param_groups, rates, strict=True):
                # PyTorch puts a copy in its place, which nobody would change any more.
                group["lr"] = rate


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (N, R, C) with the same singular vectors, and values mostly of 0.7 to 1.2; those of 0 stay 0."""
    first, third, fifth = QUINTIC
    found: torch.Tensor = matrices / (matrices.flatten(1).norm(dim=1) + 1e-7).view(-1, 1, 1)
    tall = found.shape[1] > found.shape[2]
    if tall:
        found = found.mT
    for _ in range(ROUNDS):
        square = found @ found.mT
        found = first * found + (third * square + fifth * square @ square) @ found
    return found.mT if tall else found
