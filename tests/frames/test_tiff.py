"""TIFF in, TIFF out."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from photos import ICC, XMP, exif, scene
from PIL import Image

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.metadata.ifd import EXIF_IFD, GPS_IFD, MAKER_NOTE, ORIENTATION, FileSlices, Structure, parse
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame


def rewritten(frame: Frame, path: Path) -> Frame:
    write_frame(frame, path, kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(path, frame, kind=OutputKind.KEEP, bit_depth=None)
    return read_frame(path)


def structure_of(path: Path) -> Structure:
    with path.open("rb") as file:
        return parse(FileSlices(file))


def written(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, software=False, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        read_frame(path)
    return caught.value.reason


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", ["strips", "tiles", "planes"])
def test_every_bit_survives(tmp_path: Path, dtype: str, samples: int, layout: str) -> None:
    pixels = scene(37, 53, samples, dtype)
    colours = samples - (samples in (2, 4))
    options: dict[str, Any] = {"photometric": "rgb" if colours == 3 else "minisblack"}
    options |= {"extrasamples": ["unassalpha"]} if colours < samples else {}
    options |= {"tile": (16, 32)} if layout == "tiles" else {}
    if layout == "planes":
        options |= {"planarconfig": "separate"} if samples > 1 else {}
        pixels_in_file = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    else:
        options |= {"planarconfig": "contig"} if samples > 1 else {}
        pixels_in_file = pixels
    if samples == 1:
        pixels_in_file = pixels[..., 0]
    frame = read_frame(written(tmp_path / "a.tif", pixels_in_file, compression="deflate", predictor=True, **options))
    np.testing.assert_array_equal(frame.pixels, pixels[..., :colours])
    rewritten(frame, tmp_path / "b.tif")
    stored = tifffile.imread(tmp_path / "b.tif")
    assert stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits"])
@pytest.mark.parametrize("big", [False, True])
def test_byte_order_and_lossless_compression_stay(
    tmp_path: Path, dtype: str, order: str, compression: str | None, big: bool
) -> None:
    pixels = scene(300, 70, 3, dtype)
    path = written(tmp_path / "a.tif", pixels, photometric="rgb", byteorder=order, compression=compression, bigtiff=big)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.pixels, pixels)
    rewritten(frame, tmp_path / "b.tif")
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        assert (after.byteorder, after.is_bigtiff) == (order, big)
        kept = before.pages[0].compression if compression != "packbits" else 8
        assert after.pages[0].compression == kept
        np.testing.assert_array_equal(after.asarray(), pixels)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["uint8", "uint16", "float32"]), st.integers(0, 99))
def test_any_size_survives(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, dtype: str, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("tiff")
    pixels = scene(height, width, 3, dtype, seed)
    frame = read_frame(written(folder / "a.tif", pixels, photometric="rgb"))
    np.testing.assert_array_equal(rewritten(frame, folder / "b.tif").pixels, pixels)


def test_pillow_reads_what_we_write(tmp_path: Path) -> None:
    for number, samples in enumerate((1, 3, 4)):
        pixels = scene(40, 30, samples)
        options = {"photometric": "rgb", "extrasamples": [2]} if samples == 4 else {}
        frame = read_frame(written(tmp_path / "a.tif", pixels[..., 0] if samples == 1 else pixels, **options))
        rewritten(frame, tmp_path / f"{number}.tif")
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{number}.tif")).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tags_and_the_directories_below_are_kept(tmp_path: Path, order: Literal["<", ">"], orientation: int) -> None:
    # Written by way of a frame, for tifffile writes no EXIF directory.
    source = parse(exif(order, orientation))
    first = read_frame(written(tmp_path / "a.tif", scene(), photometric="rgb", byteorder=order))
    blob = exif(order, orientation)
    frame = Frame(
        first.pixels, None, Kind.TIFF, type(first.metadata)(exif=blob, icc=ICC, xmp=XMP, source=None), first.camera
    )
    once = rewritten(frame, tmp_path / "b.tif")
    rewritten(once, tmp_path / "c.tif")
    for name in ("b.tif", "c.tif"):
        found = structure_of(tmp_path / name)
        assert found.order == order
        assert source.root.entries.items() <= found.root.entries.items()
        assert found.root.children[GPS_IFD] == source.root.children[GPS_IFD]
        assert found.root.children[EXIF_IFD].entries[MAKER_NOTE] == source.root.children[EXIF_IFD].entries[MAKER_NOTE]
        assert found.numbers(found.root.entries[ORIENTATION]) == (orientation,)
    assert once.pixels.shape == first.pixels.shape
    assert (once.metadata.icc, once.metadata.xmp) == (ICC, XMP)
    assert once.camera == read_camera(tmp_path / "b.tif")
    assert (once.camera.make, once.camera.model, once.camera.iso) == ("Canon", "EOS Test", 3200)


def test_private_tags_and_resolution_are_kept(tmp_path: Path) -> None:
    tags = [(65000, "H", 3, (1, 2, 3), True), (33432, "s", 0, "Copyright me", True), (33550, "d", 3, (1, 2, 3), True)]
    path = written(tmp_path / "a.tif", scene(), photometric="rgb", resolution=(123.5, 300), extratags=tags)
    rewritten(read_frame(path), tmp_path / "b.tif")
    before, after = (structure_of(p).root.entries for p in (path, tmp_path / "b.tif"))
    for tag in (65000, 33432, 33550, 282, 283, 296):
        assert after[tag] == before[tag]


def test_white_is_zero_is_turned_for_us_and_back_for_the_file(tmp_path: Path) -> None:
    pixels = scene(channels=1)[..., 0]
    frame = read_frame(written(tmp_path / "a.tif", pixels, photometric="miniswhite"))
    np.testing.assert_array_equal(frame.pixels[..., 0], 255 - pixels)
    rewritten(frame, tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(scene()).quantize(64)
    image.save(tmp_path / "a.tif")
    frame = read_frame(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.pixels, np.asarray(image.convert("RGB")))
    rewritten(frame, tmp_path / "b.tif")


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
def test_few_bits_are_stretched_to_the_full_range(tmp_path: Path, bits: int) -> None:
    largest = 2**bits - 1
    pixels = np.arange(24 * 40, dtype=np.uint16).reshape(24, 40) % (largest + 1)
    pixels = pixels.astype(np.uint8 if bits < 8 else np.uint16)
    frame = read_frame(written(tmp_path / "a.tif", pixels, bitspersample=bits, photometric="minisblack"))
    full = 255 if bits < 8 else 65535
    np.testing.assert_array_equal(frame.pixels[..., 0], np.rint(pixels * (full / largest)))


@pytest.mark.parametrize("colours", ["rgb", "ycbcr"])
def test_jpeg_inside_tiff_has_right_colours(tmp_path: Path, colours: str) -> None:
    path = tmp_path / "a.tif"
    if colours == "rgb":
        Image.fromarray(scene(64, 64)).save(path, compression="jpeg", quality=95)
    else:
        written(path, scene(64, 64), photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].photometric == (2 if colours == "rgb" else 6)
    frame = read_frame(path)
    np.testing.assert_array_equal(frame.pixels, np.asarray(Image.open(path).convert("RGB")))
    np.testing.assert_array_equal(rewritten(frame, tmp_path / "b.tif").pixels, frame.pixels)


def test_thumbnails_are_passed_over(tmp_path: Path) -> None:
    pixels, thumbnail = scene(200, 300), scene(20, 30)
    for name, order in (("after.tif", (pixels, thumbnail)), ("before.tif", (thumbnail, pixels))):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            for picture in order:
                tiff.write(picture, photometric="rgb", subfiletype=int(picture is thumbnail), metadata=None)
        np.testing.assert_array_equal(read_frame(tmp_path / name).pixels, pixels)


def test_an_unmarked_thumbnail_is_passed_over_too(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(scene(200, 300), photometric="rgb", metadata=None)
        tiff.write(scene(20, 30), photometric="rgb", metadata=None)
    assert read_frame(tmp_path / "a.tif").pixels.shape == (200, 300, 3)


REFUSED: dict[str, tuple[dict[str, Any], NDArray[Any]]] = {
    "CMYK": ({"photometric": "separated"}, scene(channels=4)),
    "CIE Lab": ({"photometric": "cielab"}, scene()),
    "signed integers": ({"photometric": "minisblack"}, scene(channels=1)[..., 0].astype(np.int16)),
    "integers of 32 bits": ({"photometric": "minisblack"}, scene(channels=1)[..., 0].astype(np.uint32)),
    "64": ({"photometric": "minisblack"}, scene(channels=1, dtype="float64")[..., 0]),
    "complex": ({"photometric": "minisblack"}, scene(channels=1)[..., 0].astype(np.complex64)),
    "black-and-white": ({"photometric": "minisblack", "bitspersample": 1}, scene(channels=1)[..., 0] > 128),
    "no brightness": ({"photometric": "minisblack"}, np.full((8, 8), 3e34, "f4")),
    "infinite": ({"photometric": "rgb"}, np.full((8, 8, 3), np.inf, "f4")),
    "nan": ({"photometric": "minisblack"}, np.full((8, 8), np.nan, "f4")),
    "2 pages": ({"photometric": "rgb"}, np.stack([scene(), scene()])),
    "5 channels": ({"photometric": "rgb", "extrasamples": [0, 0], "planarconfig": "contig"}, scene(channels=5)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_photo_is_refused_with_its_reason(tmp_path: Path, reason: str) -> None:
    options, pixels = REFUSED[reason]
    assert reason in refusal(written(tmp_path / "a.tif", pixels, **options))


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd", "packbits", "jpeg"])
@pytest.mark.parametrize("share", [0.3, 0.98])
def test_a_truncated_tiff_is_refused(tmp_path: Path, compression: str | None, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = written(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "ends early" in refusal(path) or "damaged" in refusal(path)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits"])
def test_strips_with_too_little_in_them_are_refused(tmp_path: Path, compression: str) -> None:
    path = written(tmp_path / "a.tif", scene(64, 64), photometric="rgb", compression=compression, rowsperstrip=64)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["StripByteCounts"].overwrite(tiff.pages[0].databytecounts[0] // 2)
    refusal(path)


# A run of 20 levels of 30 pixels each, LZW, with two bytes changed: imagecodecs 2026.3.6 crashes on it.
CRASHING_LZW = bytes.fromhex(
    "806e20503824160d0781006150b864361d0f8500a25138a4562d178900e351b8e4763d1f8d0124523924964d2791016552b964b6"
    "5d2f9501a65339a4d66d379901e7ccb9e4f67d3f9d0228543a25168d47a1b36954ba65369d4fa502aa553aa556ad57a902eb55ba"
    "e576bd5fad032c563b2596cd67b1036d56bb65b6dd6fb503ae573ba5d6ed77b903ef57bbe5f6fd7fbd0430583c26170d87c10471"
    "58bc66371d8fc504b2593ca6572d97c904f359bce6773d9fcd4040"
)


def test_a_strip_that_crashes_its_decoder_is_one_refused_photo(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(20, dtype=np.uint8), 30)[None]
    path = written(tmp_path / "a.tif", pixels, compression="lzw", photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        (start,), (size,) = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    assert size == len(CRASHING_LZW)
    data = path.read_bytes()
    path.write_bytes(data[:start] + CRASHING_LZW + data[start + size :])
    # A crash is no verdict: the next run tries again.
    assert "damaged" in refusal(path) or "was ended by SIG" in refusal(path)


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", scene(16, 16), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(20000)
    assert "promises" in refusal(path)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(60000)
    assert "megapixels" in refusal(path)
