"""The NSP authors' checkpoints (`.pth`): read without running anything in them, recognised, and checked key by key."""

import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.models.backbone import Backbone
from nsp_pipeline.models.registry import build_backbone

LARGEST = 1 << 30
"""Bytes of a checkpoint; TBSN's with the optimizer's state are 160 MB."""

WRAPPERS = ("model_state_dict", "state_dict")
"""Keys under which training scripts keep the weights."""

FIRST_KEYS = {"dbsn": "branch1.body.0.weight", "tbsn": "patch_embed.proj.weight"}
"""A key that only checkpoints of this backbone have."""

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A backbone with the weights of a checkpoint, in eval mode on the CPU, and what builds it."""

    backbone: str
    sizes: dict[str, Any]
    network: Backbone


def load_checkpoint(path: Path, backbone: str | None = None) -> Checkpoint:
    """Read an authors' checkpoint; its keys say which backbone it is when that is not given, its shapes the sizes.

    Raises ProfileError, naming the file and the keys, for anything but the complete weights of one backbone.
    """
    state = read_state(path)
    name = backbone or _guess(path, state)
    if FIRST_KEYS[name] not in state:
        other = next((known for known, key in FIRST_KEYS.items() if key in state), None)
        hint = f"; it looks like one of {other}" if other else ""
        raise ProfileError(f"{path}: not a checkpoint of {name}: it has no {FIRST_KEYS[name]}{hint}")
    try:
        sizes = _SIZES[name](state)
    except _SizeError as error:
        raise ProfileError(f"{path}: not a checkpoint of {name}: {error}") from None
    # First without memory: a checkpoint's shapes are a claim until all of them fit.
    with torch.device("meta"):
        _compare(path, name, build_backbone(name, sizes).state_dict(), state)
    network = build_backbone(name, sizes).eval()
    for key, mask in network.named_buffers():
        if key in state and not torch.equal(state[key].float(), mask):
            raise ProfileError(f"{path}: {key} is not the mask of {name}: these weights are of another network")
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()})
    return Checkpoint(name, sizes, network)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by key, wrappers and a `module.` in front of every key taken off.

    Raises ProfileError for files that are no checkpoint, carry code, or hold values that are no weights.
    """
    content = _unpickled(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise ProfileError(f"{path}: holds no weights by name (looked for {', '.join(WRAPPERS)} and for bare ones)")
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    for key, value in content.items():
        _require_weights(path, key, value)
    return dict(content)


def _unpickled(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise ProfileError(f"{path}: {size >> 20} MiB is too much for a checkpoint (at most {LARGEST >> 20})")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols, which say nothing to the person
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ProfileError:
        raise
    except pickle.UnpicklingError as error:
        wanted = re.search(
            r"(?:GLOBAL|Unsupported (?:global|class|operand)|Can only \S+ \S+).*?([\w.]+\.[\w.]+)", str(error)
        )
        if wanted:
            raise ProfileError(
                f"{path}: holds more than weights: loading it would run {wanted[1]}. Nothing of it was run or read"
            ) from None
        raise ProfileError(f"{path}: not a PyTorch checkpoint, or a damaged one") from None
    except Exception as error:  # a pickle that is not what it claims to be can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProfileError(f"{path}: not a PyTorch checkpoint, or a damaged one ({reason})") from None


def _require_weights(path: Path, key: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise ProfileError(f"{path}: {key} is no tensor but {type(value).__name__}; this is not a table of weights")
    plain = value.layout == torch.strided and value.is_floating_point()
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ProfileError(f"{path}: {key} is no plain tensor of numbers")
    if not key.endswith("mask") and not value.isfinite().all():
        raise ProfileError(f"{path}: {key} holds values that are not finite: the training that made it had failed")


def _guess(path: Path, state: State) -> str:
    for name, key in FIRST_KEYS.items():
        if key in state:
            return name
    some = ", ".join(list(state)[:3])
    raise ProfileError(f"{path}: its keys ({some} ...) are those of no backbone known here: {', '.join(FIRST_KEYS)}")


def _compare(path: Path, name: str, expected: State, state: State) -> None:
    missing = [key for key in expected if key not in state]
    strange = [key for key in state if key not in expected]
    wrong = [
        f"{key} is {tuple(state[key].shape)} where {tuple(expected[key].shape)} fits"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    complaints = [
        f"{len(found)} {what}: {', '.join(found[:3])}{' ...' if len(found) > 3 else ''}"
        for what, found in (("missing", missing), ("unexpected", strange), ("of the wrong shape", wrong))
        if found
    ]
    if complaints:
        raise ProfileError(f"{path}: not the weights of a {name} of this size: {'; '.join(complaints)}")


class _SizeError(Exception):
    """A key that says a size is missing, or its shape makes no sense."""


def _side(state: State, key: str, dimension: int, divisor: int = 1) -> int:
    """One side of a tensor, divided."""
    if key not in state:
        raise _SizeError(f"it has no {key}")
    shape = tuple(state[key].shape)
    if dimension >= len(shape) or not shape[dimension] or shape[dimension] % divisor:
        raise _SizeError(f"{key} has the shape {shape}")
    return shape[dimension] // divisor


def _count(state: State, pattern: str) -> int:
    """How many different numbers stand in the keys that match; `_compare` sees whether they are consecutive."""
    found = {match[1] for key in state if (match := re.match(pattern, key))}
    if not found:
        raise _SizeError(f"it has no keys like {pattern.replace('(', '').replace(')', '')}")
    return len(found)


def _scale(state: State, shuffled: str, narrow: str) -> int:
    """t, from the layer before the pixel shuffle and the one after it."""
    ratio = _side(state, shuffled, 0, _side(state, narrow, 1))
    if math.isqrt(ratio) ** 2 != ratio:
        raise _SizeError(f"{shuffled} and {narrow} fit no pixel shuffle")
    return math.isqrt(ratio)


def _dbsn_sizes(state: State) -> dict[str, Any]:
    return {
        "base_channels": _side(state, "head.0.weight", 0),
        "modules": _count(state, r"branch1\.body\.(\d+)\.body\.0\.weight"),
        "scale": _scale(state, "tail.2.weight", "tail.5.weight"),
        "local_mean_skip": False,
    }


def _tbsn_sizes(state: State) -> dict[str, Any]:
    levels = ("encoder_level1", "encoder_level2", "latent")
    head_dim = _side(state, f"{levels[0]}.0.spatial_attn.rel_pos_emb.rel_height", 1)
    return {
        "channels": _side(state, FIRST_KEYS["tbsn"], 0),
        "blocks": [_count(state, rf"{level}\.(\d+)\.norm1\.body\.weight") for level in levels],
        "refinement_blocks": _count(state, r"refinement\.(\d+)\.norm1\.body\.weight"),
        "channel_heads": [_side(state, f"{level}.0.channel_attn.temperature", 0) for level in levels],
        "spatial_heads": [_side(state, f"{level}.0.spatial_attn.qkv.weight", 0, 3 * head_dim) for level in levels],
        "head_dim": head_dim,
        "scale": _scale(state, "output.2.weight", "output.5.weight"),
    }


_SIZES = {"dbsn": _dbsn_sizes, "tbsn": _tbsn_sizes}
