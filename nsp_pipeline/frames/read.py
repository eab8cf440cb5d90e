"""Read a photo, whatever it is called: its content decides how."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.exif import camera_of, read_structure
from nsp_pipeline.frames.frame import Camera, Frame, Kind
from nsp_pipeline.frames.ifd import FileSlices, StructureError, parse
from nsp_pipeline.frames.jpeg import read_jpeg, read_jpeg_exif
from nsp_pipeline.frames.limits import LONGEST_FILE
from nsp_pipeline.frames.png import read_png, read_png_exif
from nsp_pipeline.frames.raw import read_raw, read_raw_camera
from nsp_pipeline.frames.sniff import OTHER_IMAGE_SUFFIXES, PHOTO_SUFFIXES, sniff
from nsp_pipeline.frames.tiff import read_tiff

__all__ = ["OTHER_IMAGE_SUFFIXES", "PHOTO_SUFFIXES", "read_camera", "read_frame"]

JPEG_HEAD = 1 << 20
"""Bytes within which a JPEG's EXIF lies."""


def read_frame(path: Path) -> Frame:
    """Read a photo with its metadata.

    Raises PhotoError, with a reason for people, for whatever cannot be read or is no photo; never anything else.
    """
    try:
        with _open(path) as file:
            return _read(path, file)
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(path, f"it cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise PhotoError(path, "there is not enough memory to read it") from error
    except Exception as error:
        # Decoders fail on damaged files in more ways than they document; one file must not end the run.
        words = str(error) or type(error).__name__
        raise PhotoError(path, f"the file is damaged or of an unknown variant ({words})") from error


def read_camera(path: Path) -> Camera:
    """Read make, model and ISO without decoding the picture; raises PhotoError like `read_frame`."""
    try:
        with _open(path) as file:
            return _read_camera(path, file)
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(path, f"it cannot be read: {error.strerror or error}") from error
    except Exception as error:
        raise PhotoError(path, f"the file is damaged or of an unknown variant ({error})") from error


def _open(path: Path) -> BinaryIO:
    # Opening a pipe or a device could wait for ever.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise PhotoError(path, "this is a folder")
    if not stat.S_ISREG(mode):
        raise PhotoError(path, "this is not an ordinary file")
    return path.open("rb")


def _read(path: Path, file: BinaryIO) -> Frame:
    kind = sniff(path, FileSlices(file))
    if kind is Kind.TIFF:
        return read_tiff(path, file)
    if kind is Kind.RAW:
        return read_raw(path)
    data = _whole(path, file)
    return read_jpeg(path, data) if kind is Kind.JPEG else read_png(path, data)


def _read_camera(path: Path, file: BinaryIO) -> Camera:
    kind = sniff(path, FileSlices(file))
    if kind is Kind.JPEG:
        file.seek(0)
        return camera_of(read_structure(read_jpeg_exif(path, file.read(JPEG_HEAD))))
    if kind is Kind.PNG:
        return camera_of(read_structure(read_png_exif(path, _whole(path, file))))
    try:
        return camera_of(parse(FileSlices(file)))
    except StructureError:
        return read_raw_camera(path)


def _whole(path: Path, file: BinaryIO) -> bytes:
    size = os.fstat(file.fileno()).st_size
    if size > LONGEST_FILE:
        raise PhotoError(
            path, f"the file has {size / 1e9:.1f} GB; nsp reads JPEG and PNG up to {LONGEST_FILE / 1e9:.1f}"
        )
    file.seek(0)
    return file.read()
