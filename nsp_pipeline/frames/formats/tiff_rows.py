"""A large TIFF whose rows are decoded while others of it are worked on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.errors import DamagedPhotoError
from nsp_pipeline.frames.decoders.tiff_segments import BrokenSegmentError, decode_in_order
from nsp_pipeline.frames.formats.tiff import (
    TRUSTED,
    check_readable,
    check_segments,
    colours_of,
    making_sense,
    metadata_of,
)
from nsp_pipeline.frames.formats.tiff_pages import choose_page, open_tiff, tags_of
from nsp_pipeline.frames.formats.tiff_tags import BLACK_IS_ZERO, RGB
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.metadata.exif import camera_of
from nsp_pipeline.frames.metadata.ifd import FileSlices, parse
from nsp_pipeline.frames.rows import Rows
from nsp_pipeline.machine.disk_array import Allocate

LEAST_BYTES = 64 << 20
"""Of pixels; smaller photos are read while others are made."""

LEAST_SIDE = 256
"""Windows of the estimate of noise have it."""

FirstRows = Callable[[int, int], Sequence[range]]
"""From height and width: rows that are needed before all others."""


def open_tiff_in_rows(
    path: Path, file: BinaryIO, first: FirstRows, allocate: Allocate
) -> tuple[Frame, Iterator[None]] | None:
    """Read all of a large TIFF but its pixels; None where it is small, or its samples are no pixels as they are.

    Returns:
        The frame, whose `rows` say how many are there, and an iterator that decodes them: up to its first value the
        rows that `first` names, then the rest. It raises as `read_frame` does.
    """
    structure = parse(FileSlices(file))
    file.seek(0)
    with making_sense(path), open_tiff(path, file) as tiff:
        pages = choose_page(path, tiff)
        page, size = pages.page, file.seek(0, 2)
        if not _is_plain(page):
            return None
        check_readable(path, page)
        if damage := check_segments(path, page, size):
            raise DamagedPhotoError(path, damage)
        structure = tags_of(structure, file, page)
        metadata = metadata_of(structure, file, pages, has_alpha=False, size=size)
        samples = allocate(page.shaped, page._dtype)
        pixels = samples.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    rows = Rows()
    frame = Frame(pixels, None, Kind.TIFF, metadata, camera_of(structure), rows=rows)
    return frame, _decoded(path, samples, first(*pixels.shape[:2]), rows)


def _is_plain(page: Any) -> bool:
    return (
        page.compression in TRUSTED
        and page.photometric in (RGB, BLACK_IS_ZERO)
        and page.samplesperpixel == colours_of(page.photometric)
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.bitspersample in (8, 16)
        and page._dtype in (np.uint8, np.uint16)
        and min(page.imagelength, page.imagewidth) >= LEAST_SIDE
        and page.imagelength * page.imagewidth * page.samplesperpixel * page._dtype.itemsize >= LEAST_BYTES
    )


def _decoded(path: Path, samples: NDArray[Any], first: Sequence[range], rows: Rows) -> Iterator[None]:
    with path.open("rb") as file, making_sense(path), open_tiff(path, file) as tiff:
        try:
            yield from decode_in_order(choose_page(path, tiff).page, samples, first, rows.come)
        except BrokenSegmentError as error:
            raise DamagedPhotoError(path, f"the TIFF is damaged: {error.words}", str(error)) from error
