"""What the servers of benchmarks without public ground truth want to be sent."""

import base64
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.atomic_file import appearing, require_free, require_writable
from nsp_pipeline.errors import OutputError
from nsp_pipeline.evaluation.datasets.dnd import DndImage
from nsp_pipeline.evaluation.datasets.mat_file import read_array, require_writer, write_mat
from nsp_pipeline.evaluation.datasets.sidd import Blocks

SIDD_HEADER = "ID,BLOCK\n"
DND_VERSION = "1.0"
"""Of the rules by which DND's server evaluates."""

WHAT = "the submission"

Denoiser = Callable[[NDArray[np.generic]], NDArray[np.generic]]
"""(H, W, 3) in, the same shape and type out."""


@dataclass(frozen=True)
class Written:
    """What was written, and how many crops of how many images it holds."""

    path: Path
    images: int
    crops: int


def write_sidd(
    target: Path, blocks: Blocks, denoise: Denoiser, on_crop: Callable[[int, int], None] = lambda done, total: None
) -> Written:
    """Write SIDD's SubmitSrgb.csv: one row per block, image by image, of its number and its bytes in base64.

    Raises OutputError where the target exists or cannot be written; it appears complete or not at all.
    """
    images, per_image = blocks.pixels.shape[:2]
    total = images * per_image
    with _room_for(target, size=blocks.pixels.size * 4 // 3) as partial:
        written = hashlib.sha256()
        with partial.open("x", encoding="ascii", newline="") as file:
            for number, line in enumerate(_sidd_lines(blocks, denoise)):
                on_crop(number, total)
                file.write(line)
                written.update(line.encode())
        with partial.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() != written.digest():
                raise OutputError(f"{target}: what was written does not read back; the disk may be failing")
    on_crop(total, total)
    return Written(target, images, total)


def write_dnd(
    target: Path,
    images: Sequence[DndImage],
    denoise: Denoiser,
    on_crop: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write the folder that DND's server takes: per image one MATLAB file of its denoised boxes, float32 in 0..1.

    Raises:
        OutputError: the target exists or cannot be written; it appears complete or not at all.
        DatasetError: an image is damaged.
    """
    require_writer()
    total, done = sum(len(image.boxes) for image in images), 0
    size = sum((bottom - top) * (right - left) * 12 for image in images for top, left, bottom, right in image.boxes)
    with _room_for(target, size=size) as partial:
        partial.mkdir()
        for number, image in enumerate(images, 1):
            denoised = np.empty(len(image.boxes), dtype=object)
            for place, crop in enumerate(image.crops()):
                on_crop(done, total)
                denoised[place] = np.asarray(denoise(crop), dtype=np.float32)
                done += 1
            file = partial / f"{number:04}.mat"
            write_mat(file, {"Idenoised": denoised, "israw": False, "eval_version": DND_VERSION})
            back = read_array(file, "Idenoised").ravel()
            if not all(np.array_equal(one, other) for one, other in zip(back, denoised, strict=True)):
                raise OutputError(f"{target}: {file.name} does not read back as written; the disk may be failing")
    on_crop(total, total)
    return Written(target, len(images), total)


@contextmanager
def _room_for(target: Path, size: int) -> Iterator[Path]:
    """Give a temporary name beside the target; what is put there takes the target's name once all went well.

    Args:
        target: a file or folder that must not exist yet (an empty folder may).
        size: bytes that will be needed, which the disk must have free.
    """
    require_new(target)
    require_writable(target, WHAT)
    free = shutil.disk_usage(target.parent).free
    if free < size:
        raise OutputError(
            f"{target}: this will take {size / 1e9:.1f} GB and the disk has {free / 1e9:.1f} free; make room first"
        )
    with appearing(target, WHAT, replace=False) as partial:
        yield partial


def require_new(target: Path) -> None:
    """Raise OutputError if the path exists already."""
    try:
        require_free(target)
    except FileExistsError:
        raise OutputError(
            f"{target}: exists already; a submission is never overwritten, name another or remove it"
        ) from None


def _sidd_lines(blocks: Blocks, denoise: Denoiser) -> Iterator[str]:
    yield SIDD_HEADER
    images, per_image = blocks.pixels.shape[:2]
    for number, (image, block) in enumerate(np.ndindex(images, per_image)):
        pixels = np.ascontiguousarray(denoise(blocks.block(image, block)), dtype=np.uint8)
        yield f"{number},{base64.b64encode(pixels.tobytes()).decode()}\n"
