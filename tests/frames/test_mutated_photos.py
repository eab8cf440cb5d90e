"""Files damaged anywhere, headers included: no crash, no hang, bounded memory, and a reason for each that fails."""

import os
import resource
import time
from pathlib import Path

import fake_engine
import numpy as np
import pytest
import tifffile
from make_dng import make_dng
from PIL import Image

import nsp_pipeline as nsp

SLOW = "NSP_SLOW" in os.environ
COUNT = 2000 if SLOW else 30
LONGEST_SECONDS = 10.0 if SLOW else 60.0
"""A busy machine is given time; what hangs does so for ever."""
MOST_MEMORY = 1 << 30
"""Bytes that the whole run may add to what the process had."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small photo of each kind, by suffix."""
    folder = tmp_path_factory.mktemp("sound")
    pixels = np.random.default_rng(0).normal(120, 25, (72, 96, 3)).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[272] = "Camera One"
    Image.fromarray(pixels).save(folder / "a.jpg", quality=90, exif=exif)
    Image.fromarray(pixels).save(folder / "b.jpg", quality=90, progressive=True)
    Image.fromarray(pixels).save(folder / "c.png")
    tifffile.imwrite(folder / "d.tif", pixels.astype(np.uint16) * 257, compression="zlib", photometric="rgb")
    tifffile.imwrite(folder / "e.tif", pixels, compression="lzw", predictor=True, photometric="rgb", tile=(32, 32))
    make_dng(folder / "f.dng", side=32)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutated(data: bytes, seed: int) -> bytes:
    """One to six changes; half of them among the first 400 bytes, where headers are."""
    random = np.random.default_rng(seed)
    broken = bytearray(data)
    for _ in range(random.integers(1, 7)):
        at = int(random.integers(0, min(len(broken), 400) if random.random() < 0.5 else len(broken)))
        size = int(random.integers(1, 64))
        change = random.integers(0, 6)
        if change == 0:
            broken[at] ^= 1 << int(random.integers(0, 8))
        elif change == 1:
            broken[at : at + size] = random.bytes(len(broken[at : at + size]))
        elif change == 2:
            broken[at : at + size] = b"\xff" * len(broken[at : at + size])
        elif change == 3:
            del broken[at : at + size]
        elif change == 4:
            broken[at:at] = broken[at : at + size]
        elif len(broken) > 200:
            del broken[max(at, 100) :]
    return bytes(broken)


@pytest.mark.timeout(3600)
def test_damaged_files_are_named_with_their_reason_and_harm_nothing(sound: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    names = list(sound)
    for number in range(COUNT):
        name = names[number % len(names)]
        (tmp_path / "in" / f"{number:04}{Path(name).suffix}").write_bytes(mutated(sound[name], number))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "in").iterdir()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decoders = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    last, slow = time.monotonic(), list[str]()

    def watch(now: nsp.FolderProgress) -> None:
        nonlocal last
        if time.monotonic() - last > LONGEST_SECONDS:
            slow.append(now.latest.name)
        last = time.monotonic()

    summary = nsp.denoise_folder(
        tmp_path / "in", tmp_path / "out", progress=watch, sources=fake_engine.fake_sources(), workers=2
    )
    failed = summary.of(nsp.Outcome.FAILED)
    assert summary.ended == "complete"
    assert summary.counts()["done"] + len(failed) == COUNT
    assert not slow
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < MOST_MEMORY
    # The largest of all processes that decoded, if none was larger before.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < max(MOST_MEMORY, decoders * 1024 + 1)
    assert len(failed) > COUNT / 4
    ours = [f"{result.name}: {result.reason}" for result in failed if _is_ours(result.reason or "")]
    assert not ours, "what the file is guilty of is not called a fault of nsp"
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "in").iterdir()} == before
    again = nsp.denoise_folder(tmp_path / "in", tmp_path / "out", sources=fake_engine.fake_sources())
    assert again.counts()["done"] == 0, "nothing is tried twice"


def _is_ours(reason: str) -> bool:
    return not reason or any(word in reason for word in ("a bug in nsp", "broke down", "Traceback", "Error("))
