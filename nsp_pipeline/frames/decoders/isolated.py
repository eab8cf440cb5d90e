"""Decoders that a damaged file can crash run in a process of their own: then one photo fails, and not the night's run.

LibRaw is one, and so are some decoders of compressed TIFF (on some broken streams, LZW in imagecodecs leaves its
buffer). The decoding process answers over its standard output: a line of JSON, extra bytes, pixels. What else it says,
on either output, is kept as its words. Only an answer is a verdict on the file: a process that dies, hangs or cannot be
started has failed us, whatever the reason, and says nothing about the photo.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread, Timer
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError, DecoderFailedError, PhotoError
from nsp_pipeline.machine.disk_array import Allocate, pieces

PACKAGE_ROOT = Path(__file__).parents[2]
LONGEST_RUN = 600.0
"""Seconds after which a decoder is taken to hang."""
MOST_WORDS = 16_384
"""Bytes kept of what a decoder prints, at its beginning and again at its end."""
LONGEST_QUOTE = 160


@dataclass(frozen=True)
class Answer:
    """What a decoder delivers: facts, extra bytes, pixels of any shape and type, and what it printed meanwhile."""

    facts: dict[str, Any]
    extra: bytes
    pixels: NDArray[Any]
    words: str = ""


class Refusal(Exception):  # noqa: N818  (an answer, not a failure of ours)
    """A decoder's verdict that it cannot read the file: a reason for people, its own text for the log.

    `keepable` says that part of the picture could be had.
    """

    def __init__(self, reason: str, details: str | None = None, *, keepable: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.details, self.keepable = reason, details, keepable


def ask(path: Path, module: str, *arguments: str, allocate: Allocate = np.zeros) -> Answer:
    """Let a module of this package decode a photo in a process of its own; its pixels come into an array of `allocate`.

    Raises:
        DamagedPhotoError: the decoder found the file damaged, and part of the picture could be had.
        DecoderFailedError: the process could not be started, died, or hung; the file may be all right.
        PhotoError: the decoder refuses the file for another reason.
    """
    # -P and PYTHONPATH: the module is this package's, wherever the program was started.
    command = [sys.executable, "-P", "-m", module, str(path.resolve()), *arguments]
    inherited = os.environ.get("PYTHONPATH")
    search = os.pathsep.join([str(PACKAGE_ROOT), *([inherited] if inherited else [])])
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search},
        )
    except OSError as error:
        raise _failure(path, f"could not be started ({error.strerror or error})", "") from error
    with process, _Overhearing(process.stderr) as overheard, _Deadline(process) as deadline:
        try:
            return _received(path, process, overheard, allocate)
        except (EOFError, ValueError, KeyError, TypeError) as error:
            how = f"did not finish in {LONGEST_RUN:.0f} seconds" if deadline.missed else _how_it_ended(process)
            raise _failure(path, how, overheard.words()) from error


def _received(path: Path, process: "subprocess.Popen[bytes]", overheard: "_Overhearing", allocate: Allocate) -> Answer:
    """Read the answer; raises EOFError or ValueError where there is none or only a part."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    header = json.loads(line)
    if header["refused"]:
        kind = DamagedPhotoError if header["keepable"] else PhotoError
        details = "\n".join(filter(None, (header["details"], overheard.words())))
        raise kind(path, header["refused"], details or None)
    extra = process.stdout.read(header["extra"])
    pixels = allocate(tuple(header["shape"]), np.dtype(header["dtype"]))
    for rows in pieces(pixels):
        flat = pixels[rows].reshape(-1).view(np.uint8)
        filled = 0
        while filled < len(flat):
            count = process.stdout.readinto(flat[filled:].data)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            filled += count
    return Answer(header["facts"], extra, pixels, overheard.words())


def _how_it_ended(process: "subprocess.Popen[bytes]") -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    code = process.poll()
    if code is None:
        return "answered with nonsense"
    if code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            also = ", as happens where memory runs out" if name == "SIGKILL" else ""
            return f"was ended by {name}{also}"
    return f"ended with code {code}"


def _failure(path: Path, how: str, words: str) -> DecoderFailedError:
    lines = words.strip().splitlines()
    said = f": {lines[-1].strip()[:LONGEST_QUOTE]}" if lines else ""
    return DecoderFailedError(
        path, f"the process that decodes it {how}{said}; the photo may be all right and is tried again next time", words
    )


class _Overhearing:
    """Collects what a process prints on its standard error: the beginning and the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._first = self._last = b""
        self._thread = Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "_Overhearing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)

    def _listen(self) -> None:
        with suppress(OSError, ValueError):
            while part := os.read(self._stream.fileno(), 65536):
                room = MOST_WORDS - len(self._first)
                self._first += part[:room]
                self._last = (self._last + part[room:])[-MOST_WORDS:] if len(part) > room else self._last

    def words(self) -> str:
        """All that was said; waits until the process has closed its side."""
        self._thread.join(5)
        gap = b"\n...\n" if len(self._last) == MOST_WORDS else b""
        return (self._first + gap + self._last).decode("utf-8", "replace")


class _Deadline:
    """Ends a process that takes too long, and any that is left at the end; `missed` says that it took too long."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._timer = Timer(LONGEST_RUN, self._end)
        self.missed = False

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()

    def _end(self) -> None:
        self.missed = True
        self._process.kill()


def respond(work: Callable[[list[str]], Answer]) -> None:
    """Be the decoding process: call `work` with the arguments, and send its answer or its refusal.

    Anything else that it raises ends the process with a traceback, which is a failure of ours. What libraries print
    goes to standard error, so that nothing mixes with the answer.
    """
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)
        try:
            answer = work(sys.argv[1:])
        except Refusal as refusal:
            header: dict[str, Any] = {
                "refused": refusal.reason,
                "details": refusal.details,
                "keepable": refusal.keepable,
            }
            channel.write(json.dumps(header).encode() + b"\n")
            return
        shape, dtype = answer.pixels.shape, answer.pixels.dtype.str
        header = {"refused": None, "facts": answer.facts, "extra": len(answer.extra), "shape": shape, "dtype": dtype}
        channel.write(json.dumps(header).encode() + b"\n" + answer.extra)
        channel.write(np.ascontiguousarray(answer.pixels).data)
