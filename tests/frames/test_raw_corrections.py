"""What a DNG asks of whoever develops it is done, or named."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.development import UNDEVELOPED, Development
from nsp_pipeline.frames.dng.opcodes import VERSION, GainMap, Opcode, gain_map_of, opcode_of, serialise_opcodes
from nsp_pipeline.frames.frame import Kind
from nsp_pipeline.frames.metadata.ifd import Entry
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.sniff import sniff

FLAT = np.full((128, 192, 3), 0.25)
SHADED = RawCamera(shading=0.6)


def develop(path: Path, options: DngOptions, camera: RawCamera | None = None, **development: Any) -> NDArray[Any]:
    shot = photograph(camera or RawCamera(), FLAT, np.random.default_rng(0))
    pixels: NDArray[Any] = read_frame(write_raw(path, shot, options), development=Development(**development)).pixels
    return pixels


def light(pixels: NDArray[Any]) -> NDArray[np.float64]:
    encoded = pixels / 65535
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def test_gain_maps_undo_the_shading_of_the_lens_also_where_the_active_area_is_odd(tmp_path: Path) -> None:
    for border in ((0, 0, 0, 0), (3, 5, 2, 1)):
        found = light(develop(tmp_path / "a.dng", DngOptions(gain_map=True, border=border), SHADED))
        corner, middle = found[:8, :8].mean((0, 1)), found[60:68, 92:100].mean((0, 1))
        np.testing.assert_allclose(corner, middle, rtol=0.02)
        np.testing.assert_allclose(middle, 0.25, rtol=0.02)


def test_a_dng_holds_the_corrected_picture_and_asks_for_no_second_correction(tmp_path: Path) -> None:
    shot = photograph(SHADED, FLAT, np.random.default_rng(0))
    frame = read_frame(write_raw(tmp_path / "a.dng", shot, DngOptions(gain_map=True)), development=UNDEVELOPED)
    np.testing.assert_allclose(frame.pixels[:8, :8].mean((0, 1)), frame.pixels[60:68, 92:100].mean((0, 1)), rtol=0.01)
    assert not {51008, 51009} & set(getattr(frame.metadata.source, "lens", {}))


def test_a_gain_map_reads_as_it_was_written_and_interpolates_between_its_points() -> None:
    gains = np.array([[1, 2], [3, 4]], np.float32)[..., None]
    gain_map = gain_map_of(opcode_of(GainMap((0, 0, 4, 4), (1, 1), (0, 1), (1.0, 1.0), (0.0, 0.0), gains)))
    assert gain_map is not None
    rows, columns, factors = gain_map.over(4, 4)
    assert (rows, columns) == (slice(0, 4, 1), slice(0, 4, 1))
    np.testing.assert_allclose(factors[..., 0], 1 + np.arange(0.125, 1, 0.25) + 2 * np.arange(0.125, 1, 0.25)[:, None])


def test_baseline_exposure_and_exposure_are_stops(tmp_path: Path) -> None:
    found = light(develop(tmp_path / "a.dng", DngOptions(baseline_exposure=1.0), exposure=0.5))
    np.testing.assert_allclose(found.mean((0, 1)), 0.25 * 2**1.5, rtol=0.01)


def test_a_picture_that_its_exposure_makes_white_is_no_damaged_one(tmp_path: Path) -> None:
    assert (develop(tmp_path / "a.dng", DngOptions(baseline_exposure=4.0)) == 65535).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_what_lies_outside_the_default_crop_is_cut_off(tmp_path: Path, orientation: int) -> None:
    options = DngOptions(border=(3, 5, 2, 1), crop=(11, 7, 160, 96), orientation=orientation)
    found = develop(tmp_path / "a.dng", options)
    assert found.shape[:2] == ((96, 160) if orientation == 1 else (160, 96))


def test_corrections_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    warp = Opcode(1, VERSION, 1, struct.pack(">I8d", 1, 1.0, 0, 0, 0, 0, 0, 0.5, 0.5))
    bad_pixels = Opcode(4, VERSION, 1, struct.pack(">II", 0, 0))
    lists = {51008: [bad_pixels], 51022: [warp]}
    entries = {tag: Entry(7, serialise_opcodes(opcodes)) for tag, opcodes in lists.items()}
    shot = photograph(RawCamera(), FLAT, np.random.default_rng(0))
    path = write_raw(tmp_path / "a.dng", shot, DngOptions(entries=entries))
    named = " ".join(read_frame(path).metadata.left_out)
    assert "FixBadPixelsConstant" in named
    assert "WarpRectilinear" in named
    # A DNG carries the lens's along, for whoever develops it.
    named = " ".join(read_frame(path, development=UNDEVELOPED).metadata.left_out)
    assert "WarpRectilinear" not in named


def test_damaged_opcodes_do_no_harm(tmp_path: Path) -> None:
    lists = (b"", b"\0\0\0\1", b"\xff" * 40, serialise_opcodes([Opcode(9, VERSION, 0, bytes(76))]))
    for data in lists:
        found = light(develop(tmp_path / "a.dng", DngOptions(entries={51009: Entry(7, data or b"\0" * 5)})))
        np.testing.assert_allclose(found.mean((0, 1)), 0.25, rtol=0.01)


@pytest.mark.parametrize(
    ("space", "curve"), [("p3", "srgb"), ("adobe", 563 / 256), ("prophoto", 1.8), ("rec2020", "srgb")]
)
def test_a_neutral_grey_is_neutral_in_every_colour_space(tmp_path: Path, space: str, curve: str | float) -> None:
    pixels = develop(tmp_path / "a.dng", DngOptions(), colour_space=space)
    found = light(pixels) if curve == "srgb" else (pixels / 65535) ** float(curve)
    np.testing.assert_allclose(found.mean((0, 1)), 0.25, rtol=0.01)


def test_multipliers_take_the_place_of_the_cameras_white_balance(tmp_path: Path) -> None:
    neutral = RawCamera().neutral("D65")
    asked = ",".join(f"{value:.4f}" for value in neutral.max() / neutral)
    found = light(develop(tmp_path / "a.dng", DngOptions(neutral=False), white_balance=asked))
    np.testing.assert_allclose(found.mean((0, 1)), 0.25, rtol=0.01)


def test_a_developed_tiff_that_kept_dngversion_is_a_tiff(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), np.uint16)
    tags = [(50706, "B", 4, bytes((1, 4, 0, 0)), True), (50721, "2i", 9, (1, 1) * 9, True)]
    for name in ("a.tif", "a.dng"):
        tifffile.imwrite(tmp_path / name, picture, photometric="rgb", extratags=tags, metadata=None)
        frame = read_frame(tmp_path / name)
        assert frame.kind is Kind.TIFF
        np.testing.assert_array_equal(frame.pixels, picture)


def test_a_mosaic_is_raw_wherever_its_directory_stands(tmp_path: Path) -> None:
    mosaic, small = np.zeros((64, 96), np.uint16), np.zeros((8, 12, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(small, photometric="rgb", subfiletype=1, metadata=None)
        tiff.write(mosaic, photometric=32803, metadata=None)
    assert sniff(tmp_path / "a.tif", (tmp_path / "a.tif").read_bytes()) is Kind.RAW


def test_a_compression_that_libraw_lacks_is_named(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.dng", photograph(RawCamera(), FLAT, np.random.default_rng(0)))
    for code, name in ((52546, "JPEG XL"), (34712, "JPEG 2000"), (60123, "number 60123")):
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tiff.pages[0].tags["Compression"].overwrite(code)
        with pytest.raises(PhotoError, match=name) as caught:
            read_frame(path)
        assert "damaged" not in caught.value.reason


def test_a_kind_of_picture_that_libraw_refuses_is_described(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.dng", photograph(RawCamera(), FLAT, np.random.default_rng(0)))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["BitsPerSample"].overwrite(24)
    with pytest.raises(PhotoError, match=r"Acme Camera One: a mosaic of 1 channels, 24 bits"):
        read_frame(path)
