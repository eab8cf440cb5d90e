"""TIFF, PNG and RAW that are damaged in their picture data, and files whose headers make no sense."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from make_dng import make_dng
from photos import scene
from PIL import Image

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.read import read_frame

LEAKS = (
    "Error",
    "tuple",
    "NoneType",
    "not supported",
    "index",
    "attribute",
    "errno",
    "Exception",
    "object",
    "0x",
    "IFD",
)
"""Words of programs, not of people."""


def damage(path: Path) -> str:
    """What is wrong by default, which must be what is said of the picture that is kept."""
    with pytest.raises(DamagedPhotoError) as caught:
        read_frame(path)
    assert not [word for word in LEAKS if word in caught.value.reason], caught.value.reason
    kept = read_frame(path, keep_damaged=True)
    assert kept.damage is not None
    return caught.value.reason


def written(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, software=False, **options)
    return path


def overwrite(path: Path, at: int, size: int) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + size] = np.random.default_rng(at).integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits", "jpeg"])
@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_an_overwritten_part_of_a_tiff_is_noticed(
    tmp_path: Path, compression: str, tile: tuple[int, int] | None
) -> None:
    options = {"tile": tile} if tile else {"rowsperstrip": 64}
    pixels = (scene(256, 256) // 32 * 32).repeat(2, 1)
    path = written(tmp_path / "a.tif", pixels, compression=compression, **options)
    whole = read_frame(path)
    assert whole.damage is None
    with tifffile.TiffFile(path) as tiff:
        offsets, sizes = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    overwrite(path, offsets[-1] + sizes[-1] // 3, min(300, sizes[-1] // 3))
    assert "the TIFF is damaged: part" in damage(path)
    kept = read_frame(path, keep_damaged=True)
    np.testing.assert_array_equal(kept.pixels[:128], whole.pixels[:128])
    assert kept.damage == f"the TIFF is damaged: 1 of the {len(sizes)} parts that its picture is stored in are damaged"


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_a_tiff_that_ends_early_can_be_kept(tmp_path: Path, compression: str | None) -> None:
    pixels = scene(200, 300, dtype="uint16")
    path = written(tmp_path / "a.tif", pixels, compression=compression, rowsperstrip=20)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    assert "ends early" in damage(path)
    kept = read_frame(path, keep_damaged=True)
    np.testing.assert_array_equal(kept.pixels[:80], pixels[:80])
    assert (kept.pixels[-20:] == 0).all()


def rebuilt(path: Path, change: Any) -> Path:
    """A PNG with other packed data but right checksums of its parts."""
    data = imagecodecs.png_encode(scene(100, 150))
    parts, position = [], 8
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        parts.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + size]))
        position += 12 + size
    packed = change(b"".join(body for name, body in parts if name == b"IDAT"))
    parts = [parts[0], (b"IDAT", packed), (b"IEND", b"")]
    path.write_bytes(
        data[:8] + b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in parts)
    )
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda packed: packed[:-4] + b"abcd", "cannot be unpacked"),
        (lambda packed: packed[: len(packed) // 2], "end before the picture does"),
        (lambda packed: zlib.compress(zlib.decompress(packed)[:20_000]), "end before the picture does"),
        (lambda packed: packed[:9000] + bytes(2000) + packed[11_000:], ""),
        (lambda packed: zlib.compress(b"\x09" + zlib.decompress(packed)[1:]), "make no sense"),
    ],
)
def test_wrong_packed_data_of_a_png_are_noticed(tmp_path: Path, change: Any, words: str) -> None:
    path = rebuilt(tmp_path / "a.png", change)
    assert words in damage(path)
    kept = read_frame(path, keep_damaged=True)
    assert kept.pixels.shape == (100, 150, 3)
    if "end" in words:
        np.testing.assert_array_equal(kept.pixels[:20], scene(100, 150)[:20])


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_wrong_checksum_or_a_cut_of_a_png_is_noticed(tmp_path: Path, interlaced: bool, shared_data: Path) -> None:
    data = imagecodecs.png_encode(scene(100, 150))
    if interlaced:
        path = shared_data / "damaged" / "pngsuite" / "basi2c16.png"
        if not path.is_file():
            pytest.skip("no interlaced PNG is at hand")
        data = path.read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    assert "ends early" in damage(tmp_path / "cut.png")
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    (tmp_path / "flip.png").write_bytes(broken)
    assert "the checksum of its picture data is wrong" in damage(tmp_path / "flip.png")


def test_a_wrong_checksum_of_metadata_costs_the_metadata_only(tmp_path: Path) -> None:
    stream = BytesIO()
    Image.fromarray(scene()).save(stream, "PNG", dpi=(300, 300))
    data = bytearray(stream.getvalue())
    data[data.index(b"pHYs") + 5] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    assert "the checksum of its metadata is wrong" in damage(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png", keep_damaged=True).pixels, scene())


def test_a_raw_file_that_ends_early_can_be_kept(tmp_path: Path) -> None:
    path = make_dng(tmp_path / "a.dng", side=256)
    whole = read_frame(path)
    path.write_bytes(path.read_bytes()[:-20_000])
    assert "ends early" in damage(path)
    kept = read_frame(path, keep_damaged=True)
    assert kept.pixels.shape == whole.pixels.shape
    np.testing.assert_array_equal(kept.pixels[:128], whole.pixels[:128])


def test_what_libraw_complains_of_is_damage(tmp_path: Path, shared_data: Path) -> None:
    sound = shared_data / "raw" / "dlemstra__DSC8695.dng"
    if not sound.is_file():
        pytest.skip("no RAW file with JPEG inside is at hand")
    (tmp_path / "a.dng").write_bytes(sound.read_bytes())
    overwrite(tmp_path / "a.dng", int(sound.stat().st_size * 0.6), 1024)
    assert "the RAW file is damaged" in damage(tmp_path / "a.dng")


TAGS = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)


def test_tags_that_make_no_sense_give_words_that_people_understand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = written(tmp_path / "a.tif", scene(40, 40), compression="deflate", predictor=True)
    data = path.read_bytes()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    changes = [("<H", 0, tag) for tag in TAGS]
    changes += [("<H", 2, kind) for kind in range(19)]
    changes += [("<I", 4, number) for number in (0, 1, 2, 3, 100, 65536)]
    changes += [("<I", 8, value) for value in (0, 1, 3, 7, 8, 16, 255, 65535, 2**31, 2**32 - 1)]
    reasons = set()
    for code, place, value in changes:
        for row in rng.integers(0, count, 3):
            broken = bytearray(data)
            struct.pack_into(code, broken, start + 2 + 12 * int(row) + place, value)
            path.write_bytes(broken)
            try:
                read_frame(path)
            except PhotoError as error:
                reasons.add(error.reason)
    assert len(reasons) > 5
    assert not [reason for reason in reasons for word in LEAKS if word in reason]
