"""How much memory a photo's pixels will take, before they are read: by what its header says of the full picture."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nsp_pipeline.frames.develop import LIBRAW_BYTES
from nsp_pipeline.frames.formats.boxed.decode import NAMES as OTHER_KINDS
from nsp_pipeline.frames.formats.boxed.decode import read_head
from nsp_pipeline.frames.formats.jpeg_layout import parse_layout
from nsp_pipeline.frames.formats.png import read_png_header
from nsp_pipeline.frames.formats.png_data import CHANNELS, PALETTE
from nsp_pipeline.frames.formats.raw.read import read_raw_size
from nsp_pipeline.frames.formats.tiff import TRUSTED, making_sense
from nsp_pipeline.frames.formats.tiff_pages import choose_page, open_tiff
from nsp_pipeline.frames.frame import Kind
from nsp_pipeline.frames.limits import LONGEST_FILE
from nsp_pipeline.frames.metadata.ifd import FileSlices
from nsp_pipeline.frames.sniff import sniff

JPEG_HEAD = 1 << 20
RAW_COLOURS = 3
"""Floating-point numbers, as RAW is denoised before it is developed."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a frame's pixels and alpha, and of one of their numbers.

    `decoding` is what its decoder takes whatever there is; 0 where it goes strip by strip, or nothing is known.
    """

    size: int
    itemsize: int
    decoding: int = 0


def read_footprint(path: Path) -> Footprint | None:
    """Foresee what `read_frame` will deliver; RAW files are asked for the size of their sensor, not of a thumbnail.

    None where the beginning of a JPEG does not say it. Raises PhotoError or OSError for what is no photo.
    """
    with path.open("rb") as file:
        kind = sniff(path, FileSlices(file))
        if kind is Kind.RAW:
            width, height = read_raw_size(path)
            return replace(_footprint(width, height, RAW_COLOURS, 4), decoding=LIBRAW_BYTES * width * height)
        if kind in OTHER_KINDS:
            file.seek(0)
            other = read_head(path, file.read(LONGEST_FILE), kind)
            itemsize = 1 if other.bits <= 8 else 2 if other.bits <= 16 else 4
            return _whole(_footprint(other.width, other.height, 4, itemsize))
        if kind is Kind.TIFF:
            found, in_pieces = _of_tiff(path, file)
            return found if in_pieces else _whole(found)
        file.seek(0)
        head = file.read(JPEG_HEAD)
    if kind is Kind.PNG:
        header = read_png_header(path, head)
        colours = CHANNELS[header.colour] if header.colour != PALETTE else 3
        # One more for transparency, which may stand apart from the pixels.
        return _whole(_footprint(header.width, header.height, colours + colours % 2, 2 if header.depth == 16 else 1))
    layout = parse_layout(path, head, whole=False)
    return _whole(_footprint(layout.width, layout.height, len(layout.components), 1)) if layout.process else None


def _of_tiff(path: Path, file: BinaryIO) -> tuple[Footprint, bool]:
    """What a TIFF takes, and whether it can be read in pieces."""
    file.seek(0)
    with making_sense(path), open_tiff(path, file) as tiff:
        page: Any = choose_page(path, tiff).page
        # Halves become floats, as they are computed with; numbers of few bits become whole bytes.
        itemsize = 4 if np.dtype(page.dtype).kind == "f" else 1 if page.bitspersample <= 8 else 2
        samples = 3 if page.photometric == PALETTE else page.samplesperpixel
        return _footprint(page.imagewidth, page.imagelength, samples, itemsize), page.compression in TRUSTED


def _whole(footprint: Footprint) -> Footprint:
    """What is decoded as a whole."""
    return replace(footprint, decoding=footprint.size)


def _footprint(width: int, height: int, samples: int, itemsize: int) -> Footprint:
    return Footprint(int(width) * int(height) * int(samples) * itemsize, itemsize)
