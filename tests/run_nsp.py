"""`nsp` in this process or in one of its own, and how it ended."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nsp_pipeline.cli.main import main

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_here(captured: "pytest.CaptureFixture[str]", *args: str | Path, given: object = None) -> Finished:
    """Run `nsp` in this process."""
    captured.readouterr()
    try:
        code = main([str(arg) for arg in args], given)
    except SystemExit as end:
        code = int(end.code or 0)
    text = captured.readouterr()
    return Finished(int(code), text.out, text.err)


def start_python(
    *args: str | Path, limit: Callable[[], None] | None = None, **environment: str
) -> "subprocess.Popen[str]":
    """Start Python as a process that finds the packages of this checkout; `limit` runs in it first."""
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "export")])
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        preexec_fn=limit,
    )


WITHOUT_EXPORT = (
    "from nsp_pipeline.cli.calibrate import command as asked, stages\n"
    "stages.make_onnx = lambda network, mode, *_: mode.encode()\n"
    "asked.require_training = lambda: None"
)
"""Words in the place of a profile's graphs: a real export takes far longer than the training of a test, and so does the
import of what it takes."""


def start_training(*args: str | Path, first: str = "pass") -> "subprocess.Popen[str]":
    """Start `nsp` as a process that trains, and exports nothing; `first` is the program that runs in it first."""
    call = "import sys; from nsp_pipeline.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return start_python("-c", f"{WITHOUT_EXPORT}\n{first}\n{call}", *args)


def finish(process: "subprocess.Popen[str]") -> Finished:
    """Wait for a process."""
    out, err = process.communicate(timeout=120)
    return Finished(process.returncode, out, err)
