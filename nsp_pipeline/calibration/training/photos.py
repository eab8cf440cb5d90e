"""The photos that a calibration trains on, as they were stored: in memory, and what is too much in mapped files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.spread import spread
from nsp_pipeline.errors import OutputError, PhotoError, UsageError
from nsp_pipeline.file_names import printable
from nsp_pipeline.frames.development import DEVELOPED, Development
from nsp_pipeline.frames.dng.mosaic import as_rgb
from nsp_pipeline.frames.frame import Camera, Frame, Kind, RawSource
from nsp_pipeline.frames.read import read_frame

HELD_OUT_SHARE = 10
"""One photo in this many is kept out of training, to judge by."""
MOST_CLIPPED = 0.98
"""Photos of which more is clipped are left out."""


@dataclass(frozen=True)
class Photo:
    """One noisy photo: pixels (H, W, 3) as stored, uint8, uint16 or float32."""

    path: Path
    pixels: NDArray[np.generic]
    camera: Camera


@dataclass(frozen=True)
class PhotoSet:
    """Photos to train on, photos to judge by, and those that could not serve, with the reason."""

    training: list[Photo]
    held_out: list[Photo]
    refused: list[str]
    development: dict[str, str | float] | None = None
    """How those that are RAW were developed; None where none is."""
    unread: int = 0
    """Photos that there was no time for."""


def load_photos(
    paths: Sequence[Path],
    *,
    smallest_side: int,
    memory: int,
    seed: int,
    cache: int = 0,
    cache_folder: Path | None = None,
    development: Development = DEVELOPED,
    enough: Callable[[int, int], bool] | None = None,
) -> PhotoSet:
    """Read photos for training, bounded in memory.

    Args:
        paths: the files, in any order.
        smallest_side: photos with a shorter side, in pixels, cannot give a crop and are refused.
        memory: bytes that all pixels in memory together may take.
        seed: of what is drawn: windows, and which photos are held out.
        cache: bytes that go into mapped files where memory does not suffice. When both together do not, every photo
            contributes one window of an equal share, its place drawn with `seed`.
        cache_folder: an existing folder for those files; None keeps everything in memory.
        development: how RAW is developed.
        enough: asked after each photo, with (photos read, those of them that serve); after True no more are read. What
            was read by then is of all parts of the archive.

    Raises:
        UsageError: no photo can serve; the message says why for the first few.
    """
    rng = np.random.default_rng(seed)
    share = (memory + (cache if cache_folder else 0)) // max(1, len(paths))
    held = 0
    photos: list[Photo] = []
    refused: list[str] = []
    kinds = set[Kind]()
    done = 0
    for done, path in enumerate(spread(sorted(paths)), 1):
        try:
            frame = _as_rgb(read_frame(path, development=development), rng)
            if min(frame.pixels.shape[:2]) < smallest_side:
                raise PhotoError(path, too_few(frame.pixels.shape, smallest_side))
            if _clipped_share(frame.pixels) > MOST_CLIPPED:
                raise PhotoError(path, "it is black or white nearly all over: there is no noise to learn from")
            pixels = np.repeat(frame.pixels, 3, axis=2) if frame.pixels.shape[2] == 1 else frame.pixels
            window = _window(pixels, share, smallest_side, rng)
            if cache_folder and held + window.nbytes > memory:
                window = _mapped(window, cache_folder / f"{done}.npy")
            else:
                held += window.nbytes
            photos.append(Photo(path, window, frame.camera))
            kinds.add(frame.kind)
        except PhotoError as error:
            refused.append(str(error))
        if enough and enough(done, len(photos)):
            break
    if not photos:
        reasons = "\n  ".join(sorted(refused)[:5]) or "none was found"
        raise UsageError(f"no photo to calibrate on:\n  {reasons}")
    photos.sort(key=lambda photo: photo.path)
    order = rng.permutation(len(photos))
    keep_out = len(photos) // HELD_OUT_SHARE or (1 if len(photos) > 2 else 0)
    training, held_out = sorted(order[keep_out:]), sorted(order[:keep_out])
    said = development.as_json() if Kind.RAW in kinds else None
    return PhotoSet(
        [photos[i] for i in training], [photos[i] for i in held_out], sorted(refused), said, len(paths) - done
    )


def too_few(shape: Sequence[int], least: int) -> str:
    """Why a photo of this shape (H, W, ...) is refused, where a crop takes `least` pixels a side."""
    return f"{shape[1]}×{shape[0]} pixels are too few: a crop takes {least} a side"


def _as_rgb(frame: Frame, rng: np.random.Generator) -> Frame:
    """Of the planes of a Bayer mosaic red, either green and blue; any other frame as it is."""
    source = frame.metadata.source
    if not isinstance(source, RawSource) or not source.mosaic:
        return frame
    pictures = as_rgb(frame.pixels, source.mosaic)
    return replace(frame, pixels=pictures[int(rng.integers(len(pictures)))][0])


def _clipped_share(pixels: NDArray[Any]) -> float:
    """Share of sample values at either end of what their type can say."""
    top = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
    return float(((pixels <= 0) | (pixels >= top)).mean())


def _window(
    pixels: NDArray[np.generic], share: int, smallest_side: int, rng: np.random.Generator
) -> NDArray[np.generic]:
    """Cut a random window of at most `share` bytes, and never smaller than a crop, out of a photo."""
    if pixels.nbytes <= share:
        return pixels
    shrink = (share / pixels.nbytes) ** 0.5
    height, width = (max(smallest_side, int(side * shrink)) for side in pixels.shape[:2])
    top = int(rng.integers(pixels.shape[0] - height + 1))
    left = int(rng.integers(pixels.shape[1] - width + 1))
    return pixels[top : top + height, left : left + width].copy()


def _mapped(pixels: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Store pixels in a file and map it; raises OutputError when the disk is full."""
    try:
        np.save(path, pixels)
    except OSError as error:
        raise OutputError(f"{printable(path)}: photos cannot be cached there: {error.strerror or error}") from error
    # Copy-on-write: torch wants arrays that may be written to, and nobody writes.
    return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]
