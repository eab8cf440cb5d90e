"""Small photos, `nsp` with the fake engine as a process, and what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import fake_engine
import numpy as np
from PIL import Image
from run_nsp import REPOSITORY

SCRIPT = Path(fake_engine.__file__)


def save_photo(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32), model: str | None = None) -> Path:
    """Write a small noisy photo (width, height), with a camera's name where asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(20, 236, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    if model:
        exif[272] = model
    image.save(path, exif=exif.tobytes() if model else b"")
    return path


def hashes(folder: Path) -> dict[str, str]:
    """Content hashes of all files below a folder but the run's own record, by path."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".nsp" not in path.relative_to(folder).parts
    }


def strays(folder: Path) -> list[Path]:
    """Temporary files that should not be there."""
    return [path for path in folder.rglob("*") if "nsp-part" in path.name or path.name.endswith(("-journal", "-wal"))]


def start(*args: str | Path, limit: Callable[[], None] | None = None, **environment: str) -> "subprocess.Popen[str]":
    """Start `nsp` with the fake engine as a process; `limit` runs in it first."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        preexec_fn=limit,
    )
