"""What surrounds the network in a whole run: how much of its processor time, and which stages take it.

    python benchmarks/around_network.py [--sides 4000 6000] [--photos 1] [--photo JPEG] [--profile fast] [--engine onnx]

`nsp denoise` runs in a process of its own with one thread, over copies of one noisy JPEG: painted, or a photo of
yours, side by side with itself up to that size, with its metadata and its quantisation. Its engine and the stages are
timed by the processor time of the threads that call them, each without those inside it. The start is what the same
command over a tiny photo takes besides these stages; the whole is without it. What is left over is bookkeeping.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
from overnight import make_photos
from PIL import Image

NETWORK = "network"
STAGES = {
    "nsp_pipeline.engines.onnx.runtime:OnnxRuntimeEngine.run": NETWORK,
    "nsp_pipeline.engines.openvino.engine:OpenVinoEngine.run": NETWORK,
    "nsp_pipeline.frames.read:read_frame": "decoding, and decoding what was written",
    "nsp_pipeline.frames.write:write_frame": "encoding",
    "nsp_pipeline.noise.estimate:estimate_noise": "noise, before and after",
    "nsp_pipeline.denoise.windows:fill": "window for the network",
    "nsp_pipeline.denoise.photo:blended_tile": "blend",
    "nsp_pipeline.denoise.photo:_store": "storing",
    "nsp_pipeline.denoise.plausible:require_its_colours": "checking the result",
    "nsp_pipeline.batch.output.up_to_date:hash_file": "hashing files",
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs=2, default=(4000, 6000))
    parser.add_argument("--photos", type=int, default=1)
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    command = ["--profile", asked.profile, "--engine", asked.engine, "--threads", "1", "--precision", "fp32", "-q"]
    if asked.child:
        print(json.dumps(_timed_run([*asked.child, *command])))
        return
    with tempfile.TemporaryDirectory() as folder:
        make = partial(side_by_side, asked.photo) if asked.photo else make_photos
        photos = make(Path(folder) / "photos", asked.photos, tuple(asked.sides))
        tiny = make(Path(folder) / "tiny", 1, (256, 384))
        start, whole = (_in_a_process(source, Path(folder) / f"{source.name}-out") for source in (tiny, photos))
    begun = 2 * start["whole"] - sum(start.values())
    total = whole.pop("whole") - begun
    megapixels = asked.photos * asked.sides[0] * asked.sides[1] / 1e6
    around = total - whole[NETWORK]
    size = f"{asked.photos} × {megapixels / asked.photos:.1f} MP"
    print(f"{asked.profile}, {asked.engine}, {size}, start {begun:.2f} s")
    print(f"| whole | {total:.2f} s | {total / megapixels:.3f} s/MP | |\n|---|---|---|---|")
    for name, seconds in sorted(whole.items(), key=lambda entry: -entry[1]):
        print(f"| {name} | {seconds:.2f} s | {seconds / megapixels:.3f} s/MP | {seconds / total:.1%} |")
    print(f"| all around the network | {around:.2f} s | {around / megapixels:.3f} s/MP | {around / total:.1%} |")


def side_by_side(photo: Path, folder: Path, count: int, sides: tuple[int, int]) -> Path:
    """A JPEG, repeated up to a size or cut to it, under so many names."""
    folder.mkdir()
    opened: Any = Image.open(photo)
    with opened:
        pixels, kept = np.asarray(opened), {"exif": opened.info.get("exif", b""), "qtables": opened.quantization}
    times = [-(-side // length) for side, length in zip(sides, pixels.shape, strict=False)]
    whole = np.tile(pixels, (*times, 1))[: sides[0], : sides[1]]
    Image.fromarray(whole).save(folder / "0.jpg", **kept)
    for number in range(1, count):
        copyfile(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


def _in_a_process(source: Path, target: Path) -> dict[str, float]:
    given = [value for value in sys.argv[1:] if value != "--child"]
    ended = subprocess.run(
        [sys.executable, __file__, *given, "--child", str(source), str(target)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _timed_run(arguments: list[str]) -> dict[str, float]:
    """Run `nsp denoise` here; seconds of each stage, and of the whole process."""
    from nsp_pipeline.cli.main import main as nsp

    for module in ("nsp_pipeline.cli.denoise", *(place.partition(":")[0] for place in STAGES)):
        import_module(module)
    spent: dict[str, float] = defaultdict(float, {NETWORK: 0.0})
    for place, stage in STAGES.items():
        _watch(place, stage, spent)
    code = nsp(["denoise", *arguments])
    assert code == 0, code
    return {**spent, "whole": time.process_time()}


def _watch(place: str, stage: str, spent: dict[str, float]) -> None:
    """Time a function wherever it was imported to, less what is timed inside it."""
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    timed = _timed(getattr(owner, name), stage, spent)
    holders = [owner] if parents else [part for key, part in sys.modules.items() if key.startswith("nsp_pipeline")]
    original = getattr(owner, name)
    for holder in holders:
        for key, value in list(vars(holder).items()):
            if value is original:
                setattr(holder, key, timed)


_inside = threading.local()


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        before, _inside.seconds = getattr(_inside, "seconds", 0.0), 0.0
        begun = time.thread_time()
        try:
            return function(*args, **options)
        finally:
            took = time.thread_time() - begun
            spent[stage] += took - _inside.seconds
            _inside.seconds = before + took

    return run


if __name__ == "__main__":
    main()
