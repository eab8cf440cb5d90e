"""Checkpoints of a training: complete or not there, and never code."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from nsp_pipeline.atomic_file import appearing
from nsp_pipeline.errors import UsageError

FORMAT = 3


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the name shows the old checkpoint until the new one is on the disk.

    Raises OutputError when it cannot be written; the old one stays.
    """
    with appearing(path, "the checkpoint") as partial:
        # By way of memory: of a file that cannot be written PyTorch says where in its own code it noticed, and not why.
        stored = io.BytesIO()
        torch.save({"format": FORMAT, **state}, stored)
        partial.write_bytes(stored.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything in it.

    Raises UsageError when it is not there, damaged, or of another version.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no training to resume; leave --resume out to start one") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{path}: the checkpoint is damaged ({reason}); delete it to start again") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of this version of nsp; delete it to start again")
    return state
