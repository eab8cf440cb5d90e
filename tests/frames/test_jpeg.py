"""JPEG in, JPEG out."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from photos import camera_jpeg, exif, jpeg_bytes, scene, segment, with_segments
from PIL import Image

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.formats.jpeg_layout import parse_layout
from nsp_pipeline.frames.frame import Frame, JpegSource, Kind
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame


def rewritten(frame: Frame, path: Path, quality: int | None = None) -> Frame:
    write_frame(frame, path, kind=OutputKind.KEEP, bit_depth=None, quality=quality)
    verify_written(path, frame, kind=OutputKind.KEEP, bit_depth=None)
    return read_frame(path)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 60}]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_stored_as_its_source_was(tmp_path: Path, channels: int, options: dict[str, int]) -> None:
    path = camera_jpeg(tmp_path / "a.jpg", scene(channels=channels), **options)
    frame = read_frame(path)
    rewritten(frame, tmp_path / "b.jpg")
    before, after = (parse_layout(p, p.read_bytes()) for p in (path, tmp_path / "b.jpg"))
    assert after.segments == before.segments
    assert (after.process, after.tables) == (before.process, before.tables)
    # With one component, sampling factors mean nothing.
    assert channels == 1 or after.components == before.components


def test_pixels_are_those_of_any_other_decoder(tmp_path: Path) -> None:
    path = camera_jpeg(tmp_path / "a.jpg", scene())
    frame = read_frame(path)
    assert frame.kind is Kind.JPEG
    np.testing.assert_array_equal(frame.pixels, np.asarray(Image.open(path)))


def test_storing_again_changes_pixels_little(tmp_path: Path) -> None:
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", scene(), quality=95, subsampling=0))
    again = rewritten(frame, tmp_path / "b.jpg")
    assert np.abs(again.pixels.astype(int) - frame.pixels).mean() < 1.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_stays_a_tag(tmp_path: Path, orientation: int) -> None:
    pixels = scene(24, 40)
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", pixels, orientation=orientation))
    assert frame.pixels.shape == pixels.shape
    rewritten(frame, tmp_path / "b.jpg")
    assert Image.open(tmp_path / "b.jpg").getexif()[274] == orientation


def test_the_camera_is_read_without_decoding(tmp_path: Path) -> None:
    path = camera_jpeg(tmp_path / "a.jpg", scene())
    camera = read_camera(path)
    assert (camera.make, camera.model, camera.iso) == ("Canon", "EOS Test", 3200)
    assert camera == read_frame(path).camera


def test_the_same_frame_gives_the_same_bytes(tmp_path: Path) -> None:
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", scene()))
    for name in ("b.jpg", "c.jpg"):
        rewritten(frame, tmp_path / name)
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "c.jpg").read_bytes()


def test_quality_decides_the_size(tmp_path: Path) -> None:
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", scene()))
    rewritten(frame, tmp_path / "low.jpg", quality=30)
    rewritten(frame, tmp_path / "high.jpg", quality=98)
    assert (tmp_path / "low.jpg").stat().st_size < (tmp_path / "high.jpg").stat().st_size


def test_rgb_stays_stored_as_rgb(tmp_path: Path) -> None:
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene(), keep_rgb=True, quality=95), adobe))
    frame = read_frame(tmp_path / "a.jpg")
    assert isinstance(frame.metadata.source, JpegSource)
    assert frame.metadata.source.stored_as_rgb
    np.testing.assert_array_equal(frame.pixels, np.asarray(Image.open(tmp_path / "a.jpg")))
    again = rewritten(frame, tmp_path / "b.jpg")
    assert np.abs(again.pixels.astype(int) - frame.pixels).mean() < 1.0


def multi_picture(tmp_path: Path, preview: bytes) -> Path:
    """A JPEG with a second picture behind it and the index (MPF) that says where."""
    first = jpeg_bytes(scene(), quality=80)

    def index(size: int, offset: int) -> bytes:
        entries = struct.pack("<4I", 0x030000, size, 0, 0) + struct.pack("<4I", 0x010001, len(preview), offset, 0)
        rows = struct.pack("<HHII", 0xB001, 4, 1, 2) + struct.pack("<HHII", 0xB002, 7, 32, 8 + 2 + 24 + 4)
        return segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + rows + bytes(4) + entries)

    whole = len(with_segments(first, index(0, 0)))
    # Offsets count from the byte order mark, 10 bytes into the file: start mark, marker, length, "MPF".
    path = tmp_path / "mpf.jpg"
    path.write_bytes(with_segments(first, index(whole, whole - 10)) + preview)
    return path


def found_preview(path: Path) -> bytes:
    data = path.read_bytes()
    start = data.index(b"MPF\0") + 4
    size, offset = struct.unpack_from("<4xII", data, start + 38 + 16)
    return data[start + offset : start + offset + size]


def test_what_follows_the_picture_stays_where_it_was(tmp_path: Path) -> None:
    preview = jpeg_bytes(scene(8, 8))
    path = multi_picture(tmp_path, preview)
    frame = read_frame(path)
    smooth = np.full_like(frame.pixels, 90)
    rewritten(replace(frame, pixels=smooth), tmp_path / "b.jpg")
    assert len((tmp_path / "b.jpg").read_bytes()) == len(path.read_bytes())
    assert found_preview(tmp_path / "b.jpg") == preview


def test_what_follows_a_longer_picture_is_found_where_it_went(tmp_path: Path) -> None:
    preview = jpeg_bytes(scene(8, 8))
    frame = read_frame(multi_picture(tmp_path, preview))
    noise = np.random.default_rng(0).integers(0, 256, frame.pixels.shape, dtype=np.uint8)
    rewritten(replace(frame, pixels=noise), tmp_path / "b.jpg")
    assert found_preview(tmp_path / "b.jpg") == preview


def test_exif_of_an_enlarged_photo_says_its_new_size(tmp_path: Path) -> None:
    image = Image.fromarray(scene(20, 30))
    tags = image.getexif()
    tags.get_ifd(34665)[40962], tags.get_ifd(34665)[40963] = 30, 20
    image.save(tmp_path / "a.jpg", exif=tags.tobytes())
    frame = read_frame(tmp_path / "a.jpg")
    rewritten(replace(frame, pixels=scene(40, 60)), tmp_path / "b.jpg")
    found = Image.open(tmp_path / "b.jpg").getexif().get_ifd(34665)
    assert (found[40962], found[40963]) == (60, 40)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(5000)])
def test_a_truncated_jpeg_is_refused(tmp_path: Path, share: float, end: bytes) -> None:
    data = jpeg_bytes(scene(200, 300), quality=95)
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * share)] + end)
    with pytest.raises(PhotoError, match=r"cut\.jpg: .*(ends early|damaged)"):
        read_frame(tmp_path / "cut.jpg")


def test_a_complete_picture_that_ends_in_mid_grey_is_accepted(tmp_path: Path) -> None:
    pixels = scene(64, 64)
    pixels[32:] = 128
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(pixels, quality=95))
    assert (read_frame(tmp_path / "a.jpg").pixels[-1, -1] == 128).all()


def test_a_complete_picture_without_end_marker_is_accepted(tmp_path: Path) -> None:
    data = jpeg_bytes(scene(64, 64), quality=95)
    (tmp_path / "a.jpg").write_bytes(data[:-2])
    (tmp_path / "b.jpg").write_bytes(data)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.jpg").pixels, read_frame(tmp_path / "b.jpg").pixels)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 30000)])
def test_odd_sizes_go_through(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(scene(*size)))
    assert rewritten(read_frame(tmp_path / "a.jpg"), tmp_path / "b.jpg").pixels.shape == (*size, 3)


def test_damaged_exif_is_carried_and_gives_no_camera(tmp_path: Path) -> None:
    broken = segment(0xE1, b"Exif\0\0" + exif()[:40])
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), broken))
    frame = read_frame(tmp_path / "a.jpg")
    assert frame.camera.model is None
    rewritten(frame, tmp_path / "b.jpg")
    assert broken in (tmp_path / "b.jpg").read_bytes()
