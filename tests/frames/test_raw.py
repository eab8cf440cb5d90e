"""RAW in, 16-bit TIFF out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from make_dng import developed_colours, make_dng
from numpy.typing import NDArray

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.decoders.develop_raw import own_white_balance, xyz_to_camera
from nsp_pipeline.frames.develop import develop_frame
from nsp_pipeline.frames.development import DEVELOPED, UNDEVELOPED
from nsp_pipeline.frames.dng.colour import SRGB_TO_XYZ
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.read import PHOTO_SUFFIXES, read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, output_suffix, verify_written, write_frame


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    return read_frame(make_dng(tmp_path_factory.mktemp("raw") / "a.dng"))


def test_a_bayer_dng_is_developed_to_16_bit_srgb(developed: Frame) -> None:
    assert (developed.kind, developed.pixels.dtype.name, developed.pixels.shape) == (Kind.RAW, "uint16", (128, 128, 3))
    quarters = [developed.pixels[y : y + 40, x : x + 40] for y in (12, 76) for x in (12, 76)]
    found = np.array([quarter.mean((0, 1)) for quarter in quarters]) / 65535
    np.testing.assert_allclose(found, developed_colours(), atol=0.03)


def test_it_is_written_as_16_bit_tiff_with_what_the_raw_says(tmp_path: Path, developed: Frame) -> None:
    write_frame(developed, tmp_path / "a.tif", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(tmp_path / "a.tif", developed, kind=OutputKind.KEEP, bit_depth=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages[0]
        assert (page.dtype, page.compression) == (np.uint16, 8)
        assert (page.tags["Make"].value, page.tags["Model"].value) == ("Test", "Camera One")
        assert b"sRGB" in page.tags["InterColorProfile"].value.replace(b"\0", b"")
        assert not {"DNGVersion", "CFAPattern", "ColorMatrix1", "SubIFDs"} & {tag.name for tag in page.tags}
    assert read_frame(tmp_path / "a.tif").kind is Kind.TIFF


def test_the_camera_is_read_without_developing(tmp_path: Path, developed: Frame) -> None:
    camera = read_camera(make_dng(tmp_path / "a.dng"))
    assert (camera.make, camera.model, camera.iso) == ("Test", "Camera One", 1600)
    assert developed.camera.model == "Camera One"


def test_it_is_turned_upright_once(tmp_path: Path, developed: Frame) -> None:
    turned = read_frame(make_dng(tmp_path / "a.dng", orientation=6))
    # Orientation 6: the viewer turns the stored picture 90 degrees clockwise.
    np.testing.assert_allclose(turned.pixels.mean((0, 1)), developed.pixels.mean((0, 1)), rtol=0.02)
    below_left = developed.pixels[76:116, 12:52].mean((0, 1))
    np.testing.assert_allclose(turned.pixels[12:52, 12:52].mean((0, 1)), below_left, rtol=0.05)
    write_frame(turned, tmp_path / "a.tif", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].tags["Orientation"].value == 1


def test_a_dng_is_known_by_its_content(tmp_path: Path) -> None:
    assert read_frame(make_dng(tmp_path / "a.tif")).kind is Kind.RAW


def test_the_same_raw_gives_the_same_bytes(tmp_path: Path) -> None:
    path = make_dng(tmp_path / "a.dng")
    for name in ("b.tif", "c.tif"):
        write_frame(read_frame(path), tmp_path / name, kind=OutputKind.KEEP, bit_depth=None, quality=None)
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


def test_suffixes(tmp_path: Path) -> None:
    assert output_suffix(Path("a.NEF"), OutputKind.KEEP) == ".tif"
    assert output_suffix(Path("a.JPG"), OutputKind.KEEP) == ".JPG"
    assert output_suffix(Path("a.JPG"), OutputKind.JPEG) == ".JPG"
    assert output_suffix(Path("a.nef"), OutputKind.JPEG) == ".jpg"
    assert {".dng", ".nef", ".cr3", ".jpg", ".tif"} <= PHOTO_SUFFIXES
    assert ".raw" not in PHOTO_SUFFIXES


def refusal(path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        read_frame(path)
    return caught.value.reason


def test_a_truncated_dng_is_refused(tmp_path: Path) -> None:
    path = make_dng(tmp_path / "a.dng")
    path.write_bytes(path.read_bytes()[:-3000])
    assert "ends early" in refusal(path)


def test_an_empty_sensor_is_refused(tmp_path: Path) -> None:
    path = make_dng(tmp_path / "a.dng")
    with tifffile.TiffFile(path) as tiff:
        (start,), (size,) = tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    assert "rows are empty" in refusal(path)
    data = bytearray(make_dng(path).read_bytes())
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(data)
    assert "the last 64 of 128 rows are empty" in refusal(path)


@pytest.mark.parametrize("suffix", [".cr2", ".nef", ".crw", ".raf", ".x3f"])
def test_garbage_with_a_raw_name_is_refused(tmp_path: Path, suffix: str) -> None:
    heads = {".crw": b"II\x1a\0\0\0HEAPCCDR", ".raf": b"FUJIFILMCCD-RAW 0201", ".x3f": b"FOVb"}
    (tmp_path / f"a{suffix}").write_bytes(heads.get(suffix, b"II*\0\x08\0\0\0") + bytes(2000))
    assert "a" in refusal(tmp_path / f"a{suffix}")


def test_real_raw_files_are_developed(shared_data: Path) -> None:
    files = sorted((shared_data / "raw").glob("*")) if (shared_data / "raw").is_dir() else []
    if not files:
        pytest.skip("no real RAW files")
    for path in files:
        frame = read_frame(path)
        assert frame.kind is Kind.RAW
        assert frame.pixels.dtype == np.uint16
        assert min(frame.pixels.shape[:2]) >= 400
        if "DSC8695" not in path.name:  # a picture of nothing: its own preview is black, too
            assert 0.01 < frame.pixels.mean() / 65535 < 0.8
        if path.suffix in (".CRW", ".KDC"):
            assert frame.camera.make in ("Canon", "Eastman Kodak Company")


@pytest.mark.parametrize("name", ["thorsted__DC0008L.KDC", "thorsted__P003912.KDC"])
def test_colours_that_only_libraw_knows_come_through_the_sensors_own(shared_data: Path, name: str) -> None:
    path = shared_data / "raw" / name
    if not path.exists():
        pytest.skip("no real RAW files")
    at_once = read_frame(path).pixels
    later = develop_frame(read_frame(path, development=UNDEVELOPED), DEVELOPED).pixels
    difference = np.abs(at_once.astype(float) - later) / 257
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.99) < 4


class UnknownCamera:
    """What LibRaw gives of a camera whose colours it keeps to itself, and whose file states no white balance."""

    matrix = np.array([[1.5, -0.3, -0.2], [-0.1, 1.3, -0.2], [0.1, -0.4, 1.3]])

    def __init__(self, colours: int) -> None:
        self.picture = np.random.default_rng(0).uniform(0.1, 0.6, (colours, 1, 3))

    def postprocess(self, **options: Any) -> NDArray[Any]:
        self.auto_whitebalance = (1.1, 1.0, 1.3, 1.0)
        srgb = options.get("output_color") != rawpy.ColorSpace.raw
        light = self.picture @ (self.matrix.T if srgb else np.eye(3))
        pixels: NDArray[Any] = np.rint(65535 * light.clip(0, 1)).astype(np.uint16)
        return pixels


def test_a_colour_matrix_that_is_not_told_is_found() -> None:
    camera: Any = UnknownCamera(500)
    multipliers = own_white_balance(camera)
    assert multipliers == [1.1, 1.0, 1.3]
    found = np.linalg.inv(xyz_to_camera(camera, multipliers) @ SRGB_TO_XYZ)
    np.testing.assert_allclose(found, camera.matrix, atol=1e-3)


def test_too_small_a_picture_tells_nothing_of_its_colours() -> None:
    small: Any = UnknownCamera(9)
    assert not xyz_to_camera(small, [1.0, 1.0, 1.0]).any()
