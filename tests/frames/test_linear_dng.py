"""RAW in, linear DNG out: other programs show it with the colours of the original."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from numpy.typing import NDArray

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.errors import OutputError, PhotoError
from nsp_pipeline.frames.development import UNDEVELOPED, UNTOUCHED, Development
from nsp_pipeline.frames.dng.colour import signal_of
from nsp_pipeline.frames.dng.opcodes import VERSION, Opcode, serialise_opcodes
from nsp_pipeline.frames.frame import Frame, RawSource
from nsp_pipeline.frames.metadata.ifd import Entry, rational_entry, text_entry
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

PATCH = 48
COLOURS = np.concatenate(
    (np.linspace(0.05, 0.8, 6).repeat(3).reshape(1, 6, 3), np.random.default_rng(5).uniform(0.08, 0.75, (3, 6, 3)))
)
CHART = COLOURS.repeat(PATCH, axis=0).repeat(PATCH, axis=1)
TURNS = {1: 0, 3: 2, 6: 1, 8: -1}
"""Quarter turns, counter-clockwise, that bring back what is upright to how the sensor saw it."""


def raw(path: Path, light: str = "D65", options: DngOptions | None = None, iso: int = 100) -> Path:
    return write_raw(path, photograph(RawCamera(), CHART, np.random.default_rng(1), light=light, iso=iso), options)


def as_dng(path: Path, target: Path) -> Frame:
    frame = read_frame(path, development=UNDEVELOPED)
    write_frame(frame, target, kind=OutputKind.DNG, bit_depth=None, quality=None)
    verify_written(target, frame, kind=OutputKind.DNG, bit_depth=None)
    return frame


def by_libraw(path: Path) -> NDArray[Any]:
    with rawpy.imread(str(path)) as opened:
        developed: NDArray[Any] = opened.postprocess(
            use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(1, 1)
        )
        return developed / 65535


def by_darktable(path: Path) -> NDArray[Any]:
    target, settings = path.with_suffix(".tif"), path.with_suffix(".darktable")
    command = ["darktable-cli", str(path), str(target), "--apply-custom-presets", "false", "--core", "-t", "1"]
    # Of its own accord it puts tone curves on mosaics and none on linear DNGs, whosever they are.
    options = ("opencl=FALSE", "plugins/darkroom/workflow=none", "plugins/imageio/format/tiff/bpp=16")
    command += ["--configdir", str(settings), "--library", ":memory:"]
    subprocess.run(
        [*command, *(part for word in options for part in ("--conf", word))], check=True, capture_output=True
    )
    developed: NDArray[Any] = tifffile.imread(target)
    return developed / 65535


def by_rawtherapee(path: Path) -> NDArray[Any]:
    target = path.with_suffix(".tif")
    subprocess.run(["rawtherapee-cli", "-o", target, "-t", "-b16", "-Y", "-c", path], check=True, capture_output=True)
    developed: NDArray[Any] = tifffile.imread(target)
    return developed / 65535


def patches(picture: NDArray[Any], orientation: int = 1) -> NDArray[np.float64]:
    """Mean colours (4, 6, 3) of a developed chart."""
    upright = np.rot90(picture, TURNS[orientation])
    high, wide = upright.shape[0] / 4, upright.shape[1] / 6
    means = [
        upright[
            int((row + 0.3) * high) : int((row + 0.7) * high), int((column + 0.3) * wide) : int((column + 0.7) * wide)
        ].mean((0, 1))
        for row in range(4)
        for column in range(6)
    ]
    return np.array(means).reshape(4, 6, 3)


ODD = DngOptions(border=(3, 5, 2, 1))
CROPPED = DngOptions(border=(3, 5, 2, 1), crop=(9, 5, 270, 180))


@pytest.mark.parametrize(
    ("light", "options"), [("D65", DngOptions()), ("D65", ODD), ("D65", CROPPED), ("D50", ODD), ("A", CROPPED)]
)
def test_libraw_shows_it_as_the_original(tmp_path: Path, light: str, options: DngOptions) -> None:
    original = raw(tmp_path / "a.dng", light, options)
    as_dng(original, tmp_path / "b.dng")
    np.testing.assert_allclose(
        patches(by_libraw(tmp_path / "b.dng")), patches(by_libraw(original)), rtol=0.005, atol=1e-4
    )


@pytest.mark.parametrize("orientation", TURNS)
def test_it_is_turned_as_the_original(tmp_path: Path, orientation: int) -> None:
    original = raw(tmp_path / "a.dng", options=DngOptions(orientation=orientation, border=(1, 0, 0, 1)))
    as_dng(original, tmp_path / "b.dng")
    found, expected = by_libraw(tmp_path / "b.dng"), by_libraw(original)
    assert found.shape == expected.shape
    np.testing.assert_allclose(patches(found, orientation), patches(expected, orientation), rtol=0.005, atol=1e-4)


@pytest.mark.parametrize(("program", "develop"), [("rawtherapee-cli", by_rawtherapee), ("darktable-cli", by_darktable)])
def test_other_developers_show_it_as_the_original(
    tmp_path: Path, program: str, develop: Callable[[Path], NDArray[Any]]
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")
    # Without a crop: of linear DNGs darktable 4.2 takes its size and forgets where it begins.
    original = raw(tmp_path / "a.dng", "A", ODD)
    as_dng(original, tmp_path / "b.dng")
    np.testing.assert_allclose(patches(develop(tmp_path / "b.dng")), patches(develop(original)), rtol=0.01)


def sensor_pixels(path: Path) -> NDArray[np.uint16]:
    with tifffile.TiffFile(path) as tiff:
        pixels: NDArray[np.uint16] = tiff.pages[0].pages[0].asarray()
        return pixels


def test_without_denoising_it_holds_what_libraw_demosaics_to_within_one_step(tmp_path: Path) -> None:
    frame = as_dng(raw(tmp_path / "a.dng", iso=3200), tmp_path / "b.dng")
    with rawpy.imread(str(tmp_path / "a.dng")) as opened:
        balance = opened.camera_whitebalance[:3]
        shown = opened.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            output_bps=16,
            gamma=(1, 1),
            output_color=rawpy.ColorSpace.raw,
            highlight_mode=rawpy.HighlightMode.Ignore,
            adjust_maximum_thr=0,
        )
    expected = np.minimum(shown / (np.array(balance) / max(balance)), 65535)
    assert np.abs(sensor_pixels(tmp_path / "b.dng") - expected).max() <= 1
    assert frame.pixels.dtype == np.float32
    # White-balanced and on a perceptual curve: a grey patch is grey for the network.
    red, green, blue = frame.pixels[12:36, 156:180].mean((0, 1))
    assert red == pytest.approx(green, rel=0.01)
    assert blue == pytest.approx(green, rel=0.01)


def test_it_says_what_the_original_says(tmp_path: Path) -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rating>5</rating></x:xmpmeta>'
    entries = {305: text_entry("Firmware 1.0"), 33723: Entry(1, b"\x1c\x02\x19\0\x03sun"), 50735: text_entry("SN42")}
    warp = Opcode(1, VERSION, 1, struct.pack(">I8d", 1, 1.0, 0, 0, 0, 0, 0, 0.5, 0.5))
    entries[51022] = Entry(7, serialise_opcodes([warp]))
    exif = {33434: rational_entry("<", (1, 50)), 37500: Entry(7, b"MakerNote")}
    options = DngOptions(
        xmp=packet, entries=entries, exif=exif, baseline_exposure=0.35, noise_profile=True, crop=(8, 8, 200, 120)
    )
    as_dng(raw(tmp_path / "a.dng", options=options, iso=1600), tmp_path / "b.dng")
    with tifffile.TiffFile(tmp_path / "a.dng") as before, tifffile.TiffFile(tmp_path / "b.dng") as after:
        old, new, picture = before.pages[0].tags, after.pages[0].tags, after.pages[0].pages[0].tags
        for tag in (271, 272, 274, 305, 700, 33723, 50708, 50721, 50728, 50730, 50735, 50778):
            assert new[tag].value == old[tag].value, tag
        for tag in (50719, 50720, 51022, 51041):
            assert picture[tag].value == old[tag].value, tag
        assert new["ExifTag"].value["ExposureTime"] == (1, 50)
        assert new["ExifTag"].value["ISOSpeedRatings"] == 1600
        assert (picture["PhotometricInterpretation"].value, picture["BitsPerSample"].value) == (34892, (16, 16, 16))
        assert (picture["BlackLevel"].value, picture["WhiteLevel"].value) == ((0, 0, 0), (65535,) * 3)
        thumbnail, preview = after.pages[0].asarray(), after.pages[0].pages[1].asarray()
    assert (thumbnail.shape, preview.shape) == ((171, 256, 3), (192, 288, 3))
    # Both are developed: grey is grey, and the brightness that of BaselineExposure.
    expected = 255 * (1.055 * (COLOURS[0, 2, 1] * 2**0.35) ** (1 / 2.4) - 0.055)
    for small in (thumbnail, preview):
        np.testing.assert_allclose(small[14:30, 98:116].mean((0, 1)), expected, atol=3)


def test_a_maker_note_lies_where_it_lay_since_its_offsets_count_from_there(tmp_path: Path) -> None:
    note = b"a maker's own " * 150
    original = raw(tmp_path / "a.dng", options=DngOptions(exif={37500: Entry(7, note)}))
    as_dng(original, tmp_path / "b.dng")
    assert (tmp_path / "b.dng").read_bytes().index(note) == original.read_bytes().index(note)
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        assert tiff.pages[0].tags["ExifTag"].value["MakerNote"] == note


def test_white_balance_is_left_out_where_nobody_knows_it(tmp_path: Path) -> None:
    as_dng(raw(tmp_path / "a.dng", options=DngOptions(neutral=False)), tmp_path / "b.dng")
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        assert "AsShotNeutral" not in tiff.pages[0].tags


def test_a_colour_matrix_never_stands_without_its_light(tmp_path: Path) -> None:
    as_dng(raw(tmp_path / "a.dng", options=DngOptions(illuminant=False)), tmp_path / "b.dng")
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        assert tiff.pages[0].tags["CalibrationIlluminant1"].value == 21


def test_noise_that_is_gone_is_gone_from_its_noise_profile(tmp_path: Path) -> None:
    from dataclasses import replace

    frame = read_frame(raw(tmp_path / "a.dng", options=DngOptions(noise_profile=True)), development=UNDEVELOPED)
    source = frame.metadata.source
    assert isinstance(source, RawSource)
    lowered = replace(frame, metadata=replace(frame.metadata, source=replace(source, noise_left=0.25)))
    write_frame(lowered, tmp_path / "b.dng", kind=OutputKind.DNG, bit_depth=None, quality=None)
    a, b = RawCamera().noise(100)
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        np.testing.assert_allclose(tiff.pages[0].pages[0].tags[51041].value, (a / 4, b / 4) * 3)


def test_only_raw_can_become_a_dng(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    frame = read_frame(tmp_path / "a.tif", development=UNDEVELOPED)
    with pytest.raises(PhotoError, match="only a RAW file can become a DNG"):
        write_frame(frame, tmp_path / "b.dng", kind=OutputKind.DNG, bit_depth=None, quality=None)


def test_a_pixel_that_changed_on_the_disk_is_noticed(tmp_path: Path) -> None:
    frame = as_dng(raw(tmp_path / "a.dng"), tmp_path / "b.dng")
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        place = tiff.pages[0].pages[0].dataoffsets[0] + 1000
    data = bytearray((tmp_path / "b.dng").read_bytes())
    data[place] ^= 1
    (tmp_path / "b.dng").write_bytes(data)
    with pytest.raises(OutputError, match="differs"):
        verify_written(tmp_path / "b.dng", frame, kind=OutputKind.DNG, bit_depth=None)


def test_a_monochrome_sensor_gives_a_monochrome_dng(tmp_path: Path) -> None:
    grey = np.linspace(2000, 30000, 64 * 96).reshape(64, 96).astype(np.uint16)
    tags = [(50706, "B", 4, bytes((1, 4, 0, 0)), True), (50708, "s", 0, "Mono", True), (50717, "H", 1, 65535, True)]
    tifffile.imwrite(tmp_path / "a.dng", grey, photometric=1, extratags=tags, metadata=None, software=False)
    with tifffile.TiffFile(tmp_path / "a.dng", mode="r+b") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(34892)
    as_dng(tmp_path / "a.dng", tmp_path / "b.dng")
    assert sensor_pixels(tmp_path / "b.dng").shape == (64, 96)
    np.testing.assert_allclose(sensor_pixels(tmp_path / "b.dng"), grey, atol=1)


@pytest.mark.parametrize("development", [UNDEVELOPED, UNTOUCHED])
def test_noise_below_black_is_kept_so_that_the_dark_is_no_brighter_than_it_was(
    tmp_path: Path, development: Development
) -> None:
    dark = np.full((96, 128, 3), 0.004)
    shot = photograph(RawCamera(), dark, np.random.default_rng(0), iso=25600)
    path = write_raw(tmp_path / "a.dng", shot)
    frame = read_frame(path, development=development)
    source = frame.metadata.source
    assert isinstance(source, RawSource)
    if source.light is None:
        mean = signal_of(frame.pixels, source.gains, source.pedestal).mean()
    else:
        mean = (source.light / 65535 * (1 + source.pedestal) / np.array(source.gains) - source.pedestal).mean()
    of_mosaic = shot.clean_mosaic.mean()
    assert mean == pytest.approx(of_mosaic if development is UNTOUCHED else shot.truth.mean(), rel=0.1)
    cut_off_at_black = np.clip((shot.mosaic - 512.0) / (16383 - 512), 0, 1).mean()
    assert cut_off_at_black > 1.3 * of_mosaic
