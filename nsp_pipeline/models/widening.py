"""A network grown wider: it starts with all that a narrower one has learnt, and gives the same pictures."""

import torch
from torch import nn

from nsp_pipeline.models.backbone import Backbone


def can_widen(narrow: Backbone, wide: Backbone) -> bool:
    """Whether both are built alike of layers that can be widened, and no part of `wide` is narrower."""
    if not wide.widens:
        return False
    parts, others = dict(narrow.named_parameters()), dict(wide.named_parameters())
    return parts.keys() == others.keys() and all(
        len(part.shape) == len(others[name].shape)
        and all(few <= many for few, many in zip(part.shape, others[name].shape, strict=True))
        for name, part in parts.items()
    )


@torch.no_grad()
def widen(narrow: Backbone, wide: Backbone) -> None:
    """Fill `wide`, in place, so that it gives what `narrow` gives (Net2Net, Chen et al. 2016).

    Channels that `narrow` lacks keep the random weights that they are computed with; the channels that it has do not
    see them at first. `can_widen` must be true.
    """
    old = dict(narrow.named_modules())
    for name, module in wide.named_modules():
        for key, part in module.named_parameters(recurse=False):
            source = getattr(old[name], key)
            if part.dim() == 1:
                part[: len(source)] = source
                continue
            # A transposed convolution's weights are (inputs, outputs, ...), all others' (outputs, inputs, ...).
            first, second = (1, 0) if isinstance(module, nn.ConvTranspose2d) else (0, 1)
            outputs = part.narrow(first, 0, source.shape[first])
            outputs.zero_()
            outputs.narrow(second, 0, source.shape[second]).copy_(source)
