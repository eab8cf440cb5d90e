"""What a megapixel costs with each profile and engine, and with other denoisers, on the same photo in one run.

    python benchmarks/denoisers_speed.py [--size 1200x2000] [--threads 1] [--rounds 3] [--bm3d-side 512] [--bf16]

Processor time, which other programs disturb least, of whole commands less what the same command takes for a picture of
256 pixels a side: about its start. OpenCV's non-local means and BM3D have no command, and run in this process. Ratios
are to non-local means, within a round; the median over the rounds is printed. With --bf16 OpenVINO computes in bfloat16
as well, on CPUs that have it; the share of the matrix rate, which is that of float32, is then none.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.evaluation.rivals.candidates import find_rival
from nsp_pipeline.machine.apart import RefusedTrialError
from nsp_pipeline.machine.cpus import cpu_features, cpu_name, limit_libraries
from nsp_pipeline.profiles.choose import shipped_profiles
from nsp_pipeline.speed.apart import ask
from nsp_pipeline.speed.photo import noisy_photo

TINY = 256
"""RawTherapee crashes on less now and then."""
MIDDLE = {"nlm": 4, "rawtherapee": 2, "darktable": 2, "bm3d": 0}
"""Which of a rival's settings is timed; its time hardly depends on it."""

Picture = NDArray[np.uint8]
Cost = tuple[float, float, int | None]
"""Processor seconds a megapixel, seconds to start, and bytes at its peak where they are known."""


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    limit_libraries(asked.threads, over_environment=True)
    height, width = (int(side) for side in asked.size.split("x"))
    photo = np.asarray(noisy_photo(height, width), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(photo, Path(folder), asked)
        rounds: list[dict[str, Cost]] = []
        for _ in range(asked.rounds):
            rounds.append({})
            for name, way in ways.items():
                rounds[-1][name] = way()
                print(name, *(f"{number:.3g}" for number in rounds[-1][name] if number), file=sys.stderr)
    print(f"{cpu_name()} ({' '.join(cpu_features()) or 'features not known'}), {asked.threads} threads, {photo.shape}")
    rate = _asked("rate", asked.threads, precision="fp32", gpu=False).get("flops")
    print(f"matrix rate {rate / 1e9:.0f} GFLOP/s in fp32" if rate else "matrix rate not measured")
    print("| | s/MP | of non-local means | start, s | peak, MiB | of the matrix rate |\n|---|---|---|---|---|---|")
    for name in ways:
        print(_row(name, rounds, rate, asked.threads))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1200x2000")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bm3d-side", type=int, default=512, help="BM3D takes minutes for more; over 256")
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def _ways(photo: Picture, folder: Path, asked: argparse.Namespace) -> dict[str, Callable[[], Cost]]:
    """What is measured, by name; what is not installed is said."""
    ways: dict[str, Callable[[], Cost]] = {}
    for name, chosen in MIDDLE.items():
        try:
            run = find_rival(name).variants[chosen].run
        except MissingCapabilityError as error:
            print(error, file=sys.stderr)
            continue
        part = photo[: asked.bm3d_side, : asked.bm3d_side] if name == "bm3d" else photo
        ways[name] = lambda run=run, part=part: _of_a_function(run, part)  # type: ignore[misc]
    for name, picture in (("photo", photo), ("tiny", photo[:TINY, :TINY])):
        Image.fromarray(picture).save(folder / f"{name}.jpg", quality=95)
    engines = [("onnx", "fp32"), *([("openvino", "fp32")] if find_spec("openvino") else [])]
    engines += [("openvino", "bf16")] if asked.bf16 else []
    for profile in shipped_profiles():
        for engine, precision in engines:
            options = ["--profile", profile, "--engine", engine, "--precision", precision]
            options += ["--threads", str(asked.threads)]
            ways[f"{profile}, {engine} {precision}"] = lambda options=options: _of_a_command(options, folder, photo)  # type: ignore[misc]
    return ways


def _of_a_function(run: Callable[[Picture], Picture], photo: Picture) -> Cost:
    begun = _spent()
    run(photo[:TINY, :TINY])
    started = _spent()
    run(photo)
    start, whole = started - begun, _spent() - started
    return max(0.0, whole - start) / _more(photo), start, None


def _of_a_command(options: list[str], folder: Path, photo: Picture) -> Cost:
    spent = []
    peak = 0
    for name in ("tiny", "photo"):
        command = [
            sys.executable,
            "-m",
            "nsp_pipeline",
            "denoise",
            str(folder / f"{name}.jpg"),
            str(folder / "out.jpg"),
        ]
        process = subprocess.Popen([*command, *options, "--overwrite", "-q"])
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        spent.append(usage.ru_utime + usage.ru_stime)
        peak = usage.ru_maxrss * 1024
    return (spent[1] - spent[0]) / _more(photo), spent[0], peak


def _more(photo: Picture) -> float:
    """Megapixels that a photo has more than the tiny one."""
    return float(photo.shape[0] * photo.shape[1] - TINY**2) / 1e6


def _spent() -> float:
    """Processor seconds of this process and of those that it waited for."""
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _asked(task: str, threads: int, **fields: object) -> dict[str, float]:
    try:
        return ask(task, threads=threads, **fields)
    except RefusedTrialError as error:
        print(error, file=sys.stderr)
        return {}


def _row(name: str, rounds: list[dict[str, Cost]], rate: float | None, threads: int) -> str:
    costs = [one[name] for one in rounds]
    seconds = statistics.median(cost[0] for cost in costs)
    start = statistics.median(cost[1] for cost in costs)
    cells = [name, f"{seconds:.2f}"]
    ratios = [one[name][0] / one["nlm"][0] for one in rounds if "nlm" in one]
    cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
    peaks = [cost[2] for cost in costs if cost[2]]
    cells += [f"{start:.2f}" if start >= 0.05 else "", f"{max(peaks) / 2**20:.0f}" if peaks else ""]
    share = ""
    if rate and ", " in name:
        work = _asked("work", threads, profile=name.partition(", ")[0]).get("macs_per_pixel", 0.0)
        share = f"{2e6 * work / seconds / (rate / threads):.0%}" if work else ""
    return f"| {' | '.join([*cells, share])} |"


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"took {time.monotonic() - begun:.0f} s", file=sys.stderr)
