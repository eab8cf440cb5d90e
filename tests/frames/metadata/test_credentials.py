"""Content credentials (C2PA) sign the noisy picture: no output holds them, and that is said, of every kind of file."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from photos import jpeg_bytes, scene, segment, with_segments
from PIL import Image

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED
from nsp_pipeline.frames.formats.boxed.boxes import box
from nsp_pipeline.frames.formats.png import SIGNATURE
from nsp_pipeline.frames.formats.png_metadata import chunk
from nsp_pipeline.frames.frame import CONTENT_CREDENTIALS
from nsp_pipeline.frames.metadata.ifd import BYTE, Entry
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

MANIFEST = box(b"jumb", box(b"jumd", b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0") + bytes(300))
OF_BOXES = bytes.fromhex("D8FEC3D61B0E483C92975828877EC481") + bytes(4) + b"manifest\0" + bytes(8) + MANIFEST


def signed(path: Path) -> Path:
    pixels, kind = scene(40, 56), path.suffix
    if kind == ".tif":
        tags = [(52545, "B", len(MANIFEST), MANIFEST, True)]
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=tags, metadata=None)
    elif kind == ".dng":
        shot = photograph(RawCamera(), pixels / 255, np.random.default_rng(0))
        write_raw(path, shot, DngOptions(entries={52545: Entry(BYTE, MANIFEST)}))
    elif kind == ".jpg":
        head = b"JP" + struct.pack(">HI", 1, 1)
        path.write_bytes(with_segments(jpeg_bytes(pixels), segment(0xEB, head + MANIFEST)))
    elif kind == ".png":
        data = imagecodecs.png_encode(pixels)
        first = len(SIGNATURE) + 25
        path.write_bytes(data[:first] + chunk(b"caBX", MANIFEST) + data[first:])
    elif kind == ".jxl":
        path.write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True) + MANIFEST)
    elif kind == ".avif":
        path.write_bytes(imagecodecs.avif_encode(pixels, level=90) + box(b"uuid", OF_BOXES))
    else:
        Image.fromarray(pixels).save(path, lossless=True, exif=Image.Exif().tobytes())
        data = path.read_bytes() + struct.pack("<4sI", b"C2PA", len(MANIFEST)) + MANIFEST
        path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert b"c2pa" in path.read_bytes()
    return path


@pytest.mark.parametrize("kind", ["tif", "dng", "jpg", "png", "jxl", "avif", "webp"])
def test_credentials_go_and_that_is_said(tmp_path: Path, kind: str) -> None:
    development = UNDEVELOPED if kind == "dng" else DEVELOPED
    frame = read_frame(signed(tmp_path / f"a.{kind}"), development=development)
    target, output = tmp_path / "b", OutputKind.DNG if kind == "dng" else OutputKind.KEEP
    write_frame(frame, target, kind=output, bit_depth=None, quality=None)
    assert CONTENT_CREDENTIALS in verify_written(target, frame, kind=output, bit_depth=None)
    assert b"c2pa" not in target.read_bytes()
    assert read_frame(target).metadata.left_out == ()


def test_developed_raw_says_so_too(tmp_path: Path) -> None:
    assert CONTENT_CREDENTIALS in read_frame(signed(tmp_path / "a.dng")).metadata.left_out
