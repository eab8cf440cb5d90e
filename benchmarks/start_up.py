"""How long `nsp denoise` of one small photo takes, of which nearly all is its start.

    python benchmarks/start_up.py [--runs 5] [--sides 256 384] [--profile fast] [--engine auto]

Warm: the least of some runs, by the clock and by processor time. Cold: before each run the system is asked to let go of
what it holds in memory of Python's and nsp's files (Linux); it keeps what other programs use at the time.
"""

import argparse
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from overnight import make_photos

import nsp_pipeline


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs=2, default=(256, 384))
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--engine", default="auto")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder) / "photos", 1, tuple(asked.sides))
        command = ["denoise", str(photos / "0.jpg"), "--profile", asked.profile, "--engine", asked.engine, "-q"]
        _denoise(command, Path(folder) / "first.jpg")  # what is kept from one run to the next is there from now on
        print(f"{asked.profile}, {asked.engine}, {asked.sides[0]}×{asked.sides[1]}, least of {asked.runs}")
        print("| | by the clock | processor time |\n|---|---|---|")
        ways: dict[str, Callable[[], object]] = {"warm": lambda: None}
        if hasattr(os, "posix_fadvise"):
            ways["cold"] = _let_go
        for name, before in ways.items():
            clock, worked = zip(*(_after(before, command, Path(folder)) for _ in range(asked.runs)), strict=True)
            print(f"| {name} | {min(clock):.2f} s | {min(worked):.2f} s |")


def _after(before: Callable[[], object], command: list[str], folder: Path) -> tuple[float, float]:
    before()
    target = folder / "out.jpg"
    took = _denoise(command, target)
    target.unlink()
    return took


def _denoise(command: list[str], target: Path) -> tuple[float, float]:
    """Seconds of a run by the clock, and of a processor."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "nsp_pipeline", *command, "--overwrite", str(target)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, worked


def _let_go() -> None:
    """Ask the system to forget the files of Python, of what is installed, and of nsp."""
    installed = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    for folder in {*installed, str(Path(nsp_pipeline.__file__).parent)}:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
