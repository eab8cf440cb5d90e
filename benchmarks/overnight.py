"""What a night of work promises, side by side in one run.

    python benchmarks/overnight.py planning [--photos 20000]
    python benchmarks/overnight.py overhead [--photos 100] [--profile fast] [--sides 1200 1600]
    python benchmarks/overnight.py memory [--sides 1200 1600]
    python benchmarks/overnight.py large [--megapixels 400]
    python benchmarks/overnight.py several [--photos 8] [--megapixels 100] [--profile fast]
    python benchmarks/overnight.py cluster [--photos 60]        (needs Ray: extra cluster)

planning: a run over photos that are all finished, and `nsp status` of them; wall time, and what of it a processor
worked. overhead: a whole run, with reading, writing and record, against the bare engine on the same tiles, by the
wall and by the processor time that a photo more takes; beside it an engine that only waits, as for a GPU. memory:
peak resident memory of 200 photos against 20. large: the same of one TIFF of 16 bits under --memory 2GiB, written
back as it is, which takes no time for a network. several: the same of several at once, one for each of as many
workers, denoised. cluster: two Ray nodes, each kept to a processor of its own, against one, when their workers have
started.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.batch.assign import Task
from nsp_pipeline.batch.folder import denoise_folder, plan_folder
from nsp_pipeline.batch.outcome import Outcome
from nsp_pipeline.batch.output.manifest import Manifest
from nsp_pipeline.batch.output.record import Row, Status
from nsp_pipeline.batch.output.up_to_date import hash_file
from nsp_pipeline.batch.sources import Sources
from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.evaluation.synthetic import night_street
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

SIDES = 1200, 1600
SIGMA = 5 / 255
ENGINE = "onnx"
"""Named, so that what is compared runs on the same: `auto` goes by measurement."""
STRIP = 128


def main() -> None:
    """Measure one promise and print it."""
    parser = argparse.ArgumentParser(description="Measure what a night of work promises.")
    parser.add_argument("promise", choices=["planning", "overhead", "memory", "large", "several", "cluster"])
    parser.add_argument("--photos", type=int)
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--sides", type=int, nargs=2, default=SIDES)
    parser.add_argument("--megapixels", type=int)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure: dict[str, Callable[[], None]] = {
            "planning": lambda: planning(Path(folder), asked.photos or 20_000),
            "overhead": lambda: overhead(Path(folder), asked.photos or 100, asked.profile, asked.sides),
            "memory": lambda: memory(Path(folder), asked.profile, asked.sides),
            "large": lambda: large(Path(folder), asked.megapixels or 400),
            "several": lambda: several(Path(folder), asked.photos or 8, asked.megapixels or 100, asked.profile),
            "cluster": lambda: cluster(Path(folder), asked.photos or 60, asked.profile),
        }
        measure[asked.promise]()


def planning(folder: Path, count: int) -> None:
    """Finished photos are only looked at."""
    photos, out = folder / "photos", folder / "out"
    for number in range(count):
        for top in (photos, out):
            (top / f"{number // 500:03}").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (90, 90, 90)).save(folder / "one.jpg", exif=Image.Exif())
    digest = hash_file(folder / "one.jpg")
    run = plan_folder([folder / "one.jpg"], folder / "one-out")
    profile = find_profile("builtin")
    settings = run.settings.fingerprint(Task(run.plan.jobs[0], profile, ""))
    with Manifest.open(out) as manifest:
        known = manifest.keep_settings(settings)
        rows = [_finished(folder / "one.jpg", photos, out, number, digest, known) for number in range(count)]
        manifest._connection.execute("PRAGMA synchronous = OFF")
        for row in rows:
            manifest.published(replace(row, profile=profile.name, profile_sha256=profile.sha256))
    auto = timed("denoise", photos, out, "--json", expect=("skipped", count))
    named = timed("denoise", photos, out, "--profile", "builtin", "--json", expect=("skipped", count))
    dry = timed("denoise", photos, out, "--dry-run")
    status = timed("status", out)
    print(f"{count} finished photos: the run {auto}, with a profile by name {named}; --dry-run {dry}; status {status}")


def overhead(folder: Path, count: int, profile: str, sides: tuple[int, int]) -> None:
    """The same tiles: of the photos in a run, and of one photo again and again at the engine."""
    photos, few = make_photos(folder / "photos", count, sides), make_photos(folder / "few", 1, sides)
    engine = open_profile_engine(
        find_profile(profile), "denoise", "auto", lambda part, mode: open_engine(part, mode=mode, engine=ENGINE)
    )
    shapes, bare = Tiles(engine), []
    frame = read_frame(photos / "0.jpg")
    denoise_frame(frame, shapes, InferenceSettings())
    for clock in (time.perf_counter, time.process_time):
        begun = clock()
        for _ in range(max(1, count // 10)):
            shapes.again()
        bare.append((clock() - begun) / max(1, count // 10))
    engine.close()
    before = worked()
    asked = "--profile", profile, "--engine", ENGINE, "--json"
    document = run_json("denoise", photos, folder / "out", *asked)
    middle = worked()
    run_json("denoise", few, folder / "few-out", *asked)
    wall = document["summary"]["seconds"] / count
    processor = (2 * middle - before - worked()) / (count - 1)
    print(
        f"{profile}, {count} photos of {np.prod(sides) / 1e6:.1f} MP, {len(shapes.images)} tiles each: by the wall "
        f"{wall:.3f} s a photo in a whole run, {bare[0]:.3f} s at the bare engine: {bare[0] / wall:.1%} of its speed; "
        f"by processor time {processor:.3f} s and {bare[1]:.3f} s: {bare[1] / processor:.1%}"
    )
    waiting, besides = waits(photos, folder / "waited", 1.0)
    print(
        f"an engine that waits 1.000 s for each photo: {waiting:.3f} s a photo, {1 / waiting:.1%} of its speed; its "
        f"thread has {besides:.3f} s of other work for each"
    )


class Tiles:
    """An engine that remembers what it was asked, and can be asked again."""

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self._engine = engine
        self.images: list[tuple[NDArray[np.float32], ...]] = []

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine."""
        self.images.append((image,) if noise is None else (image, noise))
        return self._engine.run(*self.images[-1])

    def again(self) -> None:
        """Run all of it."""
        for image in self.images:
            self._engine.run(*image)

    def close(self) -> None:
        """See Engine."""


class Waiting:
    """An engine that takes so long for each photo, all of it without a processor, and gives back what it got."""

    def __init__(self, profile: Profile, seconds: float) -> None:
        self.info = EngineInfo(
            "waiting",
            "none",
            "fp32",
            "denoise",
            1,
            multiple=8,
            halo=8,
            profile=profile.name,
            sha256=profile.sha256,
            tile=1 << 14,
        )
        self._seconds = seconds

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See Engine."""
        time.sleep(self._seconds)
        return image

    def close(self) -> None:
        """See Engine."""


def waits(photos: Path, out: Path, seconds: float) -> tuple[float, float]:
    """Seconds of a whole run for each photo, where the engine only waits; and what its thread has to work besides."""
    sources = Sources(open_engine=lambda profile, **options: Waiting(profile, seconds))
    begun = time.thread_time()
    summary = denoise_folder(photos, out, profile="fast", strength=1.0, sources=sources)
    assert not summary.of(Outcome.FAILED), summary.results[0]
    count = len(summary.results)
    return summary.seconds / count, (time.thread_time() - begun) / count


def worked() -> float:
    """Processor seconds of all processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory(folder: Path, profile: str, sides: tuple[int, int]) -> None:
    """Many photos take no more than few."""
    peaks = {}
    for count in (20, 200):
        photos = make_photos(folder / f"photos{count}", count, sides)
        peaks[count] = peak("denoise", photos, folder / f"out{count}", "--profile", profile)
    print(f"peak of 20 photos {peaks[20]:.0f} MiB, of 200 {peaks[200]:.0f} MiB: ratio {peaks[200] / peaks[20]:.3f}")


def large(folder: Path, megapixels: int) -> None:
    """A photo larger than memory: read, written, read again and compared, in pieces."""
    side = int((megapixels * 1e6) ** 0.5)
    make_large(folder / "large.tif", side)
    found = peak("denoise", folder / "large.tif", folder / "out", "--strength", "0", "--memory", "2GiB")
    size = (folder / "large.tif").stat().st_size / 2**20
    print(f"{side}x{side} pixels of 16 bits, {size:.0f} MiB: peak {found:.0f} MiB under --memory 2GiB")


def several(folder: Path, count: int, megapixels: int, profile: str) -> None:
    """Large photos wait for each other rather than take more memory than was allowed."""
    (folder / "photos").mkdir()
    side = int((megapixels * 1e6) ** 0.5)
    for number in range(count):
        make_large(folder / "photos" / f"{number}.tif", side)
    asked = "--profile", profile, "--workers", count, "--memory", "2GiB"
    found = peak("denoise", folder / "photos", folder / "out", *asked)
    print(f"{count} photos of {side}x{side} of 16 bits, as many workers: peak {found:.0f} MiB under --memory 2GiB")


def peak(*args: object) -> float:
    """Run `nsp` and return its peak resident memory in MiB."""
    command = [sys.executable, "-m", "nsp_pipeline", *map(str, args)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


def make_large(path: Path, side: int) -> None:
    """A noisy ramp, made strip by strip: a process starts with the high-water mark of the one that made it."""
    noise = np.random.default_rng(0).normal(0, 1500, (STRIP, side, 3)).astype(np.float32)
    across = np.linspace(4000, 25000, side, dtype=np.float32)[:, None]

    def strips() -> Iterator[NDArray[np.uint16]]:
        for top in range(0, side, STRIP):
            rows = min(STRIP, side - top)
            yield (across + across[top : top + rows, None] + np.roll(noise, top, 1)[:rows]).clip(0, 65535).astype("u2")

    shape = (side, side, 3)
    tifffile.imwrite(path, strips(), shape=shape, dtype=np.uint16, photometric="rgb", rowsperstrip=STRIP, metadata=None)


@contextmanager
def on_processor(number: int) -> Iterator[None]:
    """What is started meanwhile stays on one processor, as on a machine that has no other."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(all_of_them)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def cluster(folder: Path, count: int, profile: str) -> None:
    """One node, then two; each is timed from the first photo that came home to the last."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    photos = make_photos(folder / "photos", count)
    with on_processor(0):
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    rates = []
    for machines in (1, 2):
        if machines == 2:
            with on_processor(1):
                nodes.add_node(num_cpus=1)
        log = folder / f"log{machines}"
        run_json(
            *("denoise", photos, folder / f"out{machines}", "--profile", profile, "--json"),
            *("--cluster", nodes.address, "--log-json", log),
        )
        events = [json.loads(line) for line in log.read_text().splitlines()]
        ready = [event["time"] for event in events if event["event"] == "engine"][machines - 1]
        ends = [event["time"] for event in events if event["event"] == "photo" and event["time"] > ready]
        rates.append((len(ends) - 1) / (ends[-1] - ends[0]))
    nodes.shutdown()
    print(
        f"{count} photos: one node {rates[0]:.3f} photos/s, two nodes {rates[1]:.3f}: {rates[1] / rates[0]:.2f} times"
    )


def make_photos(folder: Path, count: int, sides: tuple[int, int] = SIDES) -> Path:
    """One noisy street at night, under so many names; its noise is such as cameras leave in a JPEG."""
    folder.mkdir()
    street = night_street(*sides)
    noise = np.random.default_rng(0).normal(0, SIGMA, street.shape)
    smoothed = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2
    picture = (street + smoothed).clip(0, 1).astype(np.float32)
    Image.fromarray(from_unit(picture, np.dtype(np.uint8))).save(folder / "0.jpg", quality=92)
    for number in range(1, count):
        copyfile(folder / "0.jpg", folder / f"{number}.jpg")
    return folder


def run_json(*args: object) -> dict[str, dict[str, float]]:
    """Run `nsp` and return its document."""
    command = [sys.executable, "-m", "nsp_pipeline", *map(str, args)]
    document: dict[str, dict[str, float]] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    )
    return document


def timed(*args: object, expect: tuple[str, int] | None = None) -> str:
    """Wall time of `nsp` from its start to its end, and processor time."""
    begun, before = time.perf_counter(), worked()
    command = [sys.executable, "-m", "nsp_pipeline", *map(str, args)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    seconds, spent = time.perf_counter() - begun, worked() - before
    if expect:
        assert json.loads(out)["summary"][expect[0]] == expect[1], out[:500]
    return f"{seconds:.1f} s ({spent:.1f} worked)"


def _finished(one: Path, photos: Path, out: Path, number: int, digest: str, settings: str) -> Row:
    """A photo and its output, which is the same file, and the record that says so."""
    key = f"{number // 500:03}/{number}.jpg"
    copyfile(one, photos / key)
    copyfile(one, out / key)
    source, target = (photos / key).stat(), (out / key).stat()
    return Row(
        output=key,
        input=str(photos / key),
        status=Status.DONE,
        input_size=source.st_size,
        input_mtime_ns=source.st_mtime_ns,
        input_sha256=digest,
        settings=settings,
        why="as you asked",
        version="0.1.0",
        output_size=target.st_size,
        output_mtime_ns=target.st_mtime_ns,
        output_sha256=digest,
    )


if __name__ == "__main__":
    main()
