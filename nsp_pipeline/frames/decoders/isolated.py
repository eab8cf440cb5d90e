"""Decoders that a damaged file can crash run in a process of their own: then one photo fails, and not the night's run.

LibRaw is one, and so are some decoders of compressed TIFF (on some broken streams, LZW in imagecodecs leaves its
buffer). The two processes speak over a pipe: a line of JSON, extra bytes, pixels. What a decoder
prints is thrown away.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import PhotoError

PACKAGE_ROOT = Path(__file__).parents[2]
LONGEST_RUN = 600.0
"""Seconds after which a decoder is taken to hang."""


@dataclass(frozen=True)
class Answer:
    """What a decoder delivers: facts, extra bytes, and pixels of any shape and type."""

    facts: dict[str, Any]
    extra: bytes
    pixels: NDArray[Any]


def ask(path: Path, module: str, *arguments: str) -> Answer:
    """Let a module of this package decode a photo in a process of its own.

    Raises PhotoError with the reason that the module gives, or because it crashed or hung.
    """
    # -P and PYTHONPATH: the module is this package's, wherever the program was started.
    command = [sys.executable, "-P", "-m", module, str(path.resolve()), *arguments]
    inherited = os.environ.get("PYTHONPATH")
    search = os.pathsep.join([str(PACKAGE_ROOT), *([inherited] if inherited else [])])
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=silent, stdout=subprocess.PIPE, stderr=silent, env={**os.environ, "PYTHONPATH": search}
    ) as process:
        timer = Timer(LONGEST_RUN, process.kill)
        timer.start()
        try:
            return _received(path, process)
        finally:
            timer.cancel()
            process.kill()


def _received(path: Path, process: "subprocess.Popen[bytes]") -> Answer:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise PhotoError(path, f"the file is damaged: its decoder crashed (code {process.wait()})")
    header = json.loads(line)
    if header["refused"]:
        raise PhotoError(path, header["refused"])
    extra = process.stdout.read(header["extra"])
    pixels = np.empty(header["shape"], header["dtype"])
    flat = pixels.reshape(-1).view(np.uint8)
    filled = 0
    while filled < len(flat):
        count = process.stdout.readinto(flat[filled:].data)  # type: ignore[attr-defined]
        if not count:
            raise PhotoError(path, f"the file is damaged: its decoder crashed (code {process.wait()})")
        filled += count
    return Answer(header["facts"], extra, pixels)


def answer(facts: dict[str, Any], extra: bytes, pixels: NDArray[Any]) -> None:
    """Send what was decoded to the process that asked."""
    header = {"refused": None, "facts": facts, "extra": len(extra), "shape": pixels.shape, "dtype": pixels.dtype.str}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + extra)
    sys.stdout.buffer.write(np.ascontiguousarray(pixels).data)


def refuse(reason: str) -> None:
    """Send the reason why nothing could be decoded."""
    sys.stdout.buffer.write(json.dumps({"refused": reason}).encode() + b"\n")
