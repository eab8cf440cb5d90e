"""Read a photo; its content decides how, not its name."""

import os
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import numpy as np

from nsp_pipeline.errors import DecoderFailedError, PhotoError
from nsp_pipeline.frames.development import DEVELOPED, Development
from nsp_pipeline.frames.formats.boxed.decode import NAMES as OTHER_KINDS
from nsp_pipeline.frames.formats.boxed.decode import read_head, read_other
from nsp_pipeline.frames.formats.jpeg import read_jpeg, read_jpeg_head
from nsp_pipeline.frames.formats.png import read_png, read_png_facts
from nsp_pipeline.frames.formats.raw.read import read_raw, read_raw_camera
from nsp_pipeline.frames.formats.tiff import read_tiff, read_tiff_tags
from nsp_pipeline.frames.formats.tiff_pages import REDUCED
from nsp_pipeline.frames.formats.tiff_rows import FirstRows, open_tiff_in_rows
from nsp_pipeline.frames.formats.tiff_tags import SUBFILE_TYPE
from nsp_pipeline.frames.frame import Camera, Facts, Frame, Kind
from nsp_pipeline.frames.limits import LONGEST_FILE
from nsp_pipeline.frames.metadata.exif import camera_of, read_structure, shot_size_of
from nsp_pipeline.frames.metadata.ifd import (
    IMAGE_LENGTH,
    IMAGE_WIDTH,
    SOFTWARE,
    FileSlices,
    Structure,
    StructureError,
    parse,
)
from nsp_pipeline.frames.rows import Rows
from nsp_pipeline.frames.sniff import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, sniff
from nsp_pipeline.machine.disk_array import Allocate, moved

__all__ = ["OTHER_IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "read_camera", "read_facts", "read_frame"]


def read_frame(
    path: Path, *, keep_damaged: bool = False, development: Development = DEVELOPED, allocate: Allocate = np.zeros
) -> Frame:
    """Read a photo with its metadata; a RAW file is developed as asked.

    A photo whose decoder complains is refused; with `keep_damaged` what can be read of it is delivered, and
    `Frame.damage` says what is wrong.

    Pixels go into an array of `allocate` (see machine/disk_array.py): those of TIFF and RAW at once, others when they
    are decoded.

    Raises, with a reason for people and, where a library said more, its own text:
        DamagedPhotoError: the picture is damaged or incomplete, and `keep_damaged` could have part of it.
        DecoderFailedError: a decoder of ours broke down; the photo may be all right.
        PhotoError: whatever else cannot be read or is no photo. Never anything else.
    """
    with _explained(path), _open(path) as file:
        frame = _read(path, file, keep_damaged, development, allocate)
        # Other decoders know memory only; from there on the pixels need none.
        return replace(frame, pixels=moved(frame.pixels, allocate))


def read_frame_in_rows(path: Path, first: FirstRows, allocate: Allocate) -> Frame | None:
    """Read a large TIFF whose rows come while others of it are worked on; None for any other photo.

    `Frame.rows` says how far they are, and raises what goes wrong with later ones. Those that `first` names are there
    at once. Arguments and errors are else those of `read_frame`.
    """
    with _explained(path):
        with _open(path) as file:
            if sniff(path, FileSlices(file)) is not Kind.TIFF:
                return None
            opened = open_tiff_in_rows(path, file, first, allocate)
        if opened is None:
            return None
        frame, coming = opened
        next(coming)
    Thread(target=_come, args=(path, coming, frame.rows), daemon=True).start()
    return frame


def _come(path: Path, coming: Iterator[None], rows: Rows) -> None:
    try:
        with _explained(path):
            next(coming, None)
    except PhotoError as error:
        rows.fail(error)


def read_camera(path: Path) -> Camera:
    """Read make, model and ISO without decoding the picture; raises PhotoError like `read_frame`."""
    return read_facts(path).camera


def read_facts(path: Path) -> Facts:
    """Read what a photo says of itself without decoding the picture; raises PhotoError like `read_frame`."""
    with _explained(path), _open(path) as file:
        return _read_facts(path, file)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn every error into PhotoError; one file must not end the run."""
    try:
        yield
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(path, f"it cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise PhotoError(path, "there is not enough memory to read it") from error
    except ImportError as error:
        raise DecoderFailedError(path, f"a part of nsp that reads it is missing ({error.name or error})") from error
    except Exception as error:
        # What is not known to be the file's fault is taken for ours.
        details = "".join(traceback.format_exception(error))
        raise DecoderFailedError(path, "nsp broke down while it read this file", details) from error


def _open(path: Path) -> BinaryIO:
    # Opening a pipe or a device could wait for ever.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise PhotoError(path, "this is a folder")
    if not stat.S_ISREG(mode):
        raise PhotoError(path, "this is not an ordinary file")
    return path.open("rb")


def _read(path: Path, file: BinaryIO, keep_damaged: bool, development: Development, allocate: Allocate) -> Frame:
    kind = sniff(path, FileSlices(file))
    if kind is Kind.TIFF:
        return read_tiff(path, file, keep_damaged=keep_damaged, allocate=allocate)
    if kind is Kind.RAW:
        return read_raw(path, keep_damaged=keep_damaged, development=development, allocate=allocate)
    if kind in OTHER_KINDS:
        return read_other(path, _whole(path, file), kind)
    read = read_jpeg if kind is Kind.JPEG else read_png
    return read(path, _whole(path, file), keep_damaged=keep_damaged)


def _read_facts(path: Path, file: BinaryIO) -> Facts:
    kind = sniff(path, FileSlices(file))
    if kind is Kind.JPEG:
        exif, size = read_jpeg_head(path, file)
        return _facts(kind, read_structure(exif), size)
    if kind is Kind.PNG:
        exif, size = read_png_facts(path, file)
        return _facts(kind, read_structure(exif), size)
    if kind in OTHER_KINDS:
        found = read_head(path, _whole(path, file), kind)
        return _facts(kind, read_structure(found.metadata.exif), (found.width, found.height))
    try:
        structure = parse(FileSlices(file))
    except StructureError:
        return Facts(kind, read_raw_camera(path))
    if kind is Kind.TIFF and _is_thumbnail(structure):
        structure = read_tiff_tags(path, file, structure)
    across, down = (structure.numbers(structure.root.entries.get(tag)) for tag in (IMAGE_WIDTH, IMAGE_LENGTH))
    # The first directory of a RAW file is its thumbnail's.
    return _facts(kind, structure, (across[0], down[0]) if kind is Kind.TIFF and across and down else None)


def _is_thumbnail(structure: Structure) -> bool:
    return any(number & REDUCED for number in structure.numbers(structure.root.entries.get(SUBFILE_TYPE)))


def _facts(kind: Kind, structure: Structure | None, size: tuple[int, int] | None) -> Facts:
    software = structure.text(structure.root.entries.get(SOFTWARE)) if structure else None
    return Facts(kind, camera_of(structure), software, size, shot_size_of(structure))


def _whole(path: Path, file: BinaryIO) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size > LONGEST_FILE:
        raise PhotoError(
            path, f"the file has {size / 1e9:.1f} GB; nsp reads files of its kind up to {LONGEST_FILE / 1e9:.1f}"
        )
    file.seek(0)
    return file.read()
