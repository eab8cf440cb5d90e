"""What a photo will take in memory is foreseen from its header, whatever thumbnails say."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from make_dng import make_dng
from photos import jpeg_bytes, scene

from nsp_pipeline.batch.headroom import bytes_held, footprint_of, guess_footprint
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.development import UNDEVELOPED
from nsp_pipeline.frames.footprint import Footprint, read_footprint
from nsp_pipeline.frames.read import read_frame


def dng_with_thumbnail(path: Path) -> Path:
    """A DNG as cameras write it: a thumbnail first, the sensor's picture in a directory below it."""
    whole = make_dng(path.with_name("plain.dng"), side=512).read_bytes()
    with tifffile.TiffFile(path.with_name("plain.dng")) as tiff:
        tags = {tag.code: tag for tag in tiff.pages[0].tags}
        sensor = {code: tag for code, tag in tags.items() if code not in (50706, 50708, 271, 272, 274, 34855)}

    def directory(rows: list[tuple[int, int, int, bytes]]) -> bytes:
        body = b"".join(struct.pack("<HHI", *row[:3]) + row[3].ljust(4, b"\0") for row in rows)
        return struct.pack("<H", len(rows)) + body + bytes(4)

    def row(tag: Any) -> tuple[int, int, int, bytes]:
        at = whole.index(struct.pack("<HH", tag.code, int(tag.dtype)), 8)
        return tag.code, int(tag.dtype), tag.count, whole[at + 8 : at + 12]

    small = np.zeros((16, 16, 3), np.uint8).tobytes()
    below = len(whole) + len(small)
    below_rows = directory(sorted(row(tag) for tag in sensor.values()))
    number = struct.Struct("<I").pack
    described = [row(tags[code]) for code in (50706, 50708, 271, 272, 274, 34855) if code in tags]
    main = directory(
        sorted(
            [
                (254, 4, 1, number(1)), (256, 4, 1, number(16)), (257, 4, 1, number(16)), (258, 3, 1, number(8)),
                (259, 3, 1, number(1)), (262, 3, 1, number(2)), (273, 4, 1, number(len(whole))),
                (277, 3, 1, number(3)), (278, 4, 1, number(16)), (279, 4, 1, number(len(small))),
                (330, 4, 1, number(below)), *described,
            ]
        )
    )  # fmt: skip
    data = whole[:4] + number(below + len(below_rows)) + whole[8:] + small + below_rows + main
    path.write_bytes(data)
    return path


def written(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, software=False, **options)
    return path


def sub_ifd(path: Path) -> Path:
    """A TIFF whose first page is a thumbnail, with the picture below it."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scene(20, 30), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        tiff.write(scene(200, 300, dtype="uint16"), photometric="rgb", metadata=None)
    return path


def stored(path: Path, data: bytes | bytearray) -> Path:
    path.write_bytes(data)
    return path


PHOTOS: dict[str, Any] = {
    "a.jpg": lambda path: stored(path, jpeg_bytes(scene(100, 150))),
    "progressive.jpg": lambda path: stored(path, jpeg_bytes(scene(100, 150), progressive=True)),
    "grey.jpg": lambda path: stored(path, jpeg_bytes(scene(100, 150, 1))),
    "a.png": lambda path: stored(path, imagecodecs.png_encode(scene(100, 150))),
    "deep.png": lambda path: stored(path, imagecodecs.png_encode(scene(100, 150, 4, "uint16"))),
    "a.tif": lambda path: written(path, scene(100, 150), photometric="rgb"),
    "deep.tif": lambda path: written(path, scene(100, 150, 3, "uint16"), photometric="rgb"),
    "packed.tif": lambda path: written(path, scene(100, 150, 3, "uint16"), photometric="rgb", compression="lzw"),
    "float.tif": lambda path: written(path, scene(100, 150, 3, "float32"), photometric="rgb"),
    "half.tif": lambda path: written(path, scene(100, 150, 3, "float16"), photometric="rgb", compression="deflate"),
    "tiled.tif": lambda path: written(path, scene(100, 150, 3, "uint16"), photometric="rgb", tile=(64, 64)),
    "alpha.tif": lambda path: written(path, scene(100, 150, 4), photometric="rgb", extrasamples=["unassalpha"]),
    "12bit.tif": lambda path: written(path, scene(100, 150, 1, "uint16")[..., 0] >> 4, bitspersample=12),
    "below.tif": sub_ifd,
    "a.dng": lambda path: make_dng(path, side=512),
    "thumbnail.dng": dng_with_thumbnail,
}


@pytest.mark.parametrize("name", PHOTOS)
def test_pixels_take_what_was_foreseen(tmp_path: Path, name: str) -> None:
    path = PHOTOS[name](tmp_path / name)
    # RAW is denoised in the sensor's colours, which takes more than what it is developed to.
    foreseen, found = read_footprint(path), footprint_of(read_frame(path, development=UNDEVELOPED))
    assert foreseen is not None
    assert foreseen.itemsize == found.itemsize
    assert found.size <= foreseen.size <= 1.34 * found.size
    assert guess_footprint(path) == foreseen


def test_a_thumbnail_does_not_stand_for_the_photo(tmp_path: Path) -> None:
    path = dng_with_thumbnail(tmp_path / "a.dng")
    assert guess_footprint(path).size >= 512 * 512 * 6


def test_what_says_nothing_is_guessed_from_its_length(tmp_path: Path) -> None:
    (tmp_path / "a.raf").write_bytes(b"FUJIFILMCCD-RAW " + bytes(2000))
    with pytest.raises(PhotoError):
        read_footprint(tmp_path / "a.raf")
    assert guess_footprint(tmp_path / "a.raf").size >= 12 * 2000
    assert guess_footprint(tmp_path / "gone.jpg").size == 0


def test_a_deeper_or_larger_output_takes_more() -> None:
    bytes_8 = Footprint(1000, 1)
    assert bytes_held(bytes_8, "denoise", None) == bytes_held(bytes_8, "denoise", 8) == 4000
    assert bytes_held(bytes_8, "denoise", 16) == 7000
    assert bytes_held(bytes_8, "denoise", 32) == 13000
    assert bytes_held(Footprint(1000, 4), "denoise", 8) == 4000
    assert bytes_held(bytes_8, "sr", None) == 16000
