"""One kind of file in, another kind out: what both can hold comes along."""

from pathlib import Path

import numpy as np
import pytest
from photos import ICC, XMP, camera_jpeg, exif, jpeg_bytes, scene, segment, with_segments
from PIL import Image

from nsp_pipeline.errors import OutputError, PhotoError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, output_suffix, verify_written, write_frame

KINDS = [OutputKind.JPEG, OutputKind.PNG, OutputKind.TIFF]


def converted(
    frame: Frame, folder: Path, kind: OutputKind, bit_depth: int | None = None, quality: int | None = None
) -> Path:
    path = folder / f"out{output_suffix(Path('out'), kind)}"
    write_frame(frame, path, kind=kind, bit_depth=bit_depth, quality=quality)
    verify_written(path, frame, kind=kind, bit_depth=bit_depth)
    return path


def photo(channels: int = 3, dtype: str = "uint8", *, alpha: bool = False, metadata: Metadata | None = None) -> Frame:
    pixels = scene(40, 56, channels, dtype)
    return Frame(pixels, pixels[..., 0] if alpha else None, Kind.TIFF, metadata or Metadata(), Camera())


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_metadata_survives_any_two_conversions(
    tmp_path: Path, first: OutputKind, second: OutputKind, orientation: int
) -> None:
    source = read_frame(camera_jpeg(tmp_path / "a.jpg", scene(40, 56), orientation=orientation))
    once = read_frame(converted(source, tmp_path, first))
    path = converted(once, tmp_path, second)
    twice = read_frame(path)
    assert twice.kind.value == second.value
    assert twice.pixels.shape == source.pixels.shape
    assert twice.camera == source.camera
    assert (twice.metadata.icc, twice.metadata.xmp) == (ICC, XMP)
    image = Image.open(path)
    assert image.getexif()[274] == orientation
    assert float(image.info["dpi"][0]) == pytest.approx(240, abs=0.1)
    gps = image.getexif().get_ifd(34853)
    assert [float(part) for part in gps[2]] == [47, 30, 12]


@pytest.mark.parametrize("kind", [OutputKind.PNG, OutputKind.TIFF])
def test_lossless_conversion_keeps_every_pixel(tmp_path: Path, kind: OutputKind) -> None:
    for dtype in ("uint8", "uint16"):
        for channels in (1, 3):
            for alpha in (False, True):
                frame = photo(channels, dtype, alpha=alpha)
                found = read_frame(converted(frame, tmp_path, kind))
                np.testing.assert_array_equal(found.pixels, frame.pixels)
                assert (found.alpha is None) == (frame.alpha is None)
                if alpha:
                    np.testing.assert_array_equal(found.alpha, frame.alpha)


def test_resolution_and_captions_of_a_jpeg_come_along(tmp_path: Path) -> None:
    resources = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x04test"
    data = with_segments(jpeg_bytes(scene(), dpi=(300, 150)), segment(0xED, resources))
    (tmp_path / "a.jpg").write_bytes(data)
    frame = read_frame(tmp_path / "a.jpg")
    tiff = converted(frame, tmp_path, OutputKind.TIFF)
    assert [float(dots) for dots in Image.open(tiff).info["dpi"]] == [300, 150]
    assert resources in converted(read_frame(tiff), tmp_path, OutputKind.JPEG).read_bytes()
    png = Image.open(converted(frame, tmp_path, OutputKind.PNG))
    assert png.info["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_a_large_profile_is_split_over_segments(tmp_path: Path) -> None:
    profile = ICC + bytes(range(256)) * 600
    frame = photo(metadata=Metadata(icc=profile))
    assert read_frame(converted(frame, tmp_path, OutputKind.JPEG)).metadata.icc == profile


def test_exif_too_large_for_jpeg_loses_its_maker_note_only(tmp_path: Path) -> None:
    frame = photo(metadata=Metadata(exif=exif(maker_note=bytes(90000))))
    tags = Image.open(converted(frame, tmp_path, OutputKind.JPEG)).getexif()
    assert tags[272] == "EOS Test"
    assert 37500 not in tags.get_ifd(34665)
    assert tags.get_ifd(34665)[34855] == 3200


def test_depths(tmp_path: Path) -> None:
    eight, sixteen, floating = (photo(dtype=dtype) for dtype in ("uint8", "uint16", "float32"))

    def stored(frame: Frame, kind: OutputKind, depth: int | None) -> np.ndarray:
        return read_frame(converted(frame, tmp_path, kind, depth)).pixels

    np.testing.assert_array_equal(stored(eight, OutputKind.PNG, 16), eight.pixels.astype(np.uint16) * 257)
    np.testing.assert_array_equal(stored(sixteen, OutputKind.TIFF, 8), np.rint(sixteen.pixels / 257))
    np.testing.assert_allclose(stored(sixteen, OutputKind.TIFF, 32), sixteen.pixels / 65535, atol=1e-7)
    np.testing.assert_array_equal(stored(floating, OutputKind.TIFF, None), floating.pixels)
    np.testing.assert_array_equal(stored(floating, OutputKind.PNG, None), np.rint(floating.pixels * 65535))
    assert stored(sixteen, OutputKind.JPEG, None).dtype == np.uint8


def test_a_16_bit_gradient_keeps_its_levels(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16)
    frame = Frame(np.tile(ramp[None, :, None], (4, 1, 3)), None, Kind.TIFF, Metadata(), Camera())
    for kind in (OutputKind.PNG, OutputKind.TIFF):
        assert len(np.unique(read_frame(converted(frame, tmp_path, kind)).pixels[..., 0])) == 4096


@pytest.mark.parametrize(
    ("frame", "kind", "depth", "reason"),
    [
        (photo(alpha=True), OutputKind.JPEG, None, "no alpha channel"),
        (photo(dtype="uint16"), OutputKind.JPEG, 16, "cannot store 16 bits"),
        (photo(), OutputKind.PNG, 32, "cannot store 32-bit"),
        (
            Frame(np.zeros((1, 70000, 3), np.uint8), None, Kind.TIFF, Metadata(), Camera()),
            OutputKind.JPEG,
            None,
            "65500",
        ),
    ],
)
def test_what_a_kind_cannot_hold_is_refused(
    tmp_path: Path, frame: Frame, kind: OutputKind, depth: int | None, reason: str
) -> None:
    with pytest.raises(PhotoError, match=reason):
        converted(frame, tmp_path, kind, depth)


def test_a_stream_gets_the_same_bytes_as_a_file(tmp_path: Path) -> None:
    frame = photo()
    for kind in KINDS:
        path = converted(frame, tmp_path, kind)
        with (tmp_path / "stream").open("w+b") as stream:
            write_frame(frame, stream, kind=kind, bit_depth=None, quality=None)
        assert (tmp_path / "stream").read_bytes() == path.read_bytes()


def test_verification_finds_what_went_wrong(tmp_path: Path) -> None:
    frame = photo()
    path = converted(frame, tmp_path, OutputKind.PNG)
    with pytest.raises(OutputError, match="differs from the photo"):
        verify_written(path, photo(dtype="uint8", alpha=True), kind=OutputKind.PNG, bit_depth=None)
    with pytest.raises(OutputError, match="not the photo"):
        verify_written(path, frame, kind=OutputKind.TIFF, bit_depth=None)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(OutputError, match="cannot be read again"):
        verify_written(path, frame, kind=OutputKind.PNG, bit_depth=None)
