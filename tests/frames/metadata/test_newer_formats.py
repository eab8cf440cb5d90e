"""JPEG XL, AVIF, WebP and JPEG 2000: read with their metadata and colours; JPEG XL and AVIF written with them."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from judges import Listed
from photos import ICC, XMP, camera_jpeg, exif, scene
from PIL import Image, ImageOps

from nsp_pipeline.batch.output.mark import Mark, read_mark, seal
from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.colour.curves import LINEAR, SRGB, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, SRGB_PRIMARIES, Primaries, rgb_profile
from nsp_pipeline.frames.colour.read_profile import equivalent
from nsp_pipeline.frames.colour.statement import PRIMARIES
from nsp_pipeline.frames.footprint import read_footprint
from nsp_pipeline.frames.formats.boxed.boxes import box
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import ORIENTATION
from nsp_pipeline.frames.read import read_camera, read_facts, read_frame
from nsp_pipeline.frames.write import OutputKind, output_suffix, verify_written, write_frame

PROFILES = {
    "Display P3": rgb_profile(PRIMARIES[12], SRGB, "p3"),
    "Adobe RGB": rgb_profile(Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65), Parametric(563 / 256), "a"),
    "linear 2020": rgb_profile(PRIMARIES[9], LINEAR, "l"),
    "sRGB": rgb_profile(SRGB_PRIMARIES, SRGB, "s"),
}


RATED = XMP.replace(
    b"/></x", b'><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x'
)


def photo(dtype: str = "uint8", channels: int = 3, icc: bytes | None = None, orientation: int = 1) -> Frame:
    metadata = Metadata(exif=exif(orientation=orientation), icc=icc, xmp=XMP)
    return Frame(scene(40, 56, channels, dtype), None, Kind.TIFF, metadata, Camera())


def written(frame: Frame, path: Path, kind: OutputKind, quality: int | None = None) -> tuple[Frame, tuple[str, ...]]:
    write_frame(frame, path, kind=kind, bit_depth=None, quality=quality)
    lost = verify_written(path, frame, kind=kind, bit_depth=None, quality=quality)
    return read_frame(path), lost


@pytest.mark.parametrize(
    ("dtype", "profile"),
    [("uint8", "Display P3"), ("uint16", "Adobe RGB"), ("float32", "linear 2020"), ("uint16", "sRGB")],
)
def test_jpeg_xl_keeps_every_pixel_and_says_its_colours(tmp_path: Path, dtype: str, profile: str) -> None:
    frame = photo(dtype, icc=PROFILES[profile])
    found, lost = written(frame, tmp_path / "a.jxl", OutputKind.JXL)
    assert lost == ()
    np.testing.assert_array_equal(found.pixels, frame.pixels)
    assert found.metadata.icc
    assert equivalent(found.metadata.icc, PROFILES[profile])
    assert [name for name, icc in PROFILES.items() if equivalent(found.metadata.icc, icc)] == [profile]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_jpeg_xl_with_a_quality_has_the_same_colours(tmp_path: Path, dtype: str) -> None:
    smooth = photo(dtype)
    ramp = np.linspace(0, 1, 56)[None, :, None].repeat(40, 0).repeat(3, 2)
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    frame = replace(smooth, pixels=(ramp * top).astype(dtype))
    found, _ = written(frame, tmp_path / "a.jxl", OutputKind.JXL, quality=95)
    assert found.pixels.dtype == dtype
    assert np.abs(found.pixels / top - ramp).max() < 0.03
    with pytest.raises(PhotoError, match="sRGB only"):
        written(photo(icc=PROFILES["Display P3"]), tmp_path / "a.jxl", OutputKind.JXL, quality=95)


@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("kind", [OutputKind.JXL, OutputKind.AVIF])
def test_pictures_are_turned_where_viewers_do_not_heed_exif(tmp_path: Path, kind: OutputKind, orientation: int) -> None:
    frame = photo(orientation=orientation)
    found, lost = written(frame, tmp_path / f"a.{kind}", kind)
    assert lost == ()
    image = Image.fromarray(frame.pixels)
    tagged = Image.Exif()
    tagged[ORIENTATION] = orientation
    stream = BytesIO()
    image.save(stream, "PNG", exif=tagged)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(stream)))
    assert found.pixels.shape == upright.shape
    assert np.abs(found.pixels.astype(int) - upright).mean() < 6
    structure = read_structure(found.metadata.exif)
    assert structure
    assert structure.numbers(structure.root.entries.get(ORIENTATION)) in ((), (1,))


@pytest.mark.parametrize("kind", [OutputKind.JXL, OutputKind.AVIF])
def test_metadata_survive_and_exiftool_finds_them(tmp_path: Path, kind: OutputKind, exiftool: Listed) -> None:
    source = read_frame(camera_jpeg(tmp_path / "a.jpg", scene(40, 56)))
    found, lost = written(source, tmp_path / f"b.{kind}", kind)
    assert lost == ("captions and keywords (IPTC)", "the comment")
    assert (found.camera, found.metadata.xmp) == (source.camera, XMP)
    assert read_camera(tmp_path / f"b.{kind}") == source.camera
    assert read_facts(tmp_path / f"b.{kind}").size == (56, 40)
    (listed,) = exiftool(tmp_path / f"b.{kind}")
    assert listed["IFD0:Model"] == "EOS Test"
    assert str(listed.get("ExifTool:Warning")).endswith("Bad MakerNotes directory")  # as made up in photos.py


@pytest.mark.parametrize("kind", [OutputKind.JXL, OutputKind.AVIF])
def test_the_mark_lies_in_a_box_of_its_own(tmp_path: Path, kind: OutputKind) -> None:
    path = tmp_path / f"a.{kind}"
    frame = photo()
    before, _ = written(frame, path, kind)
    mark = Mark("1", "photo", "settings", "profile", "hash", "fp32")
    with path.open("r+b") as file:
        seal(file, mark)
    assert read_mark(path) == mark
    np.testing.assert_array_equal(read_frame(path).pixels, before.pixels)


def decoded(path: Path) -> np.ndarray:
    return np.asarray(imagecodecs.avif_decode(path.read_bytes()))


def test_avif_of_16_bits_keeps_10_and_says_so(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 56 * 40).astype(np.uint16).reshape(40, 56)[..., None].repeat(3, 2)
    frame = replace(photo("uint16", icc=PROFILES["Adobe RGB"]), pixels=ramp)
    found, lost = written(frame, tmp_path / "a.avif", OutputKind.AVIF, quality=100)
    assert lost == ("brightness finer than 10 bits",)
    stored = decoded(tmp_path / "a.avif")
    assert (stored.dtype.name, found.bits) == ("uint16", 10)
    assert np.abs(stored / 1023 - ramp / 65535).max() < 4 / 1023
    assert len(np.unique(stored)) > 700
    assert found.metadata.icc == PROFILES["Adobe RGB"]
    assert found.metadata.xmp == XMP
    with Image.open(tmp_path / "a.avif") as image:  # as another reader finds them
        assert image.info["icc_profile"] == PROFILES["Adobe RGB"]
        assert image.info["xmp"] == XMP
        assert image.getexif()[272] == "EOS Test"


def test_avif_keeps_the_bits_that_it_had(tmp_path: Path) -> None:
    fine = scene(40, 56, dtype="uint16") >> 4
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(fine, bitspersample=12, level=100))
    frame = read_frame(tmp_path / "a.avif")
    found, lost = written(frame, tmp_path / "b.avif", OutputKind.KEEP)
    assert (frame.bits, found.bits, lost) == (12, 12, ())
    assert written(frame, tmp_path / "a.tif", OutputKind.TIFF)[1] == ()
    assert written(frame, tmp_path / "a.jpg", OutputKind.JPEG)[1] == ("brightness finer than 8 bits",)
    with pytest.raises(PhotoError, match="AVIF cannot store 16 bits"):
        write_frame(frame, tmp_path / "c.avif", kind=OutputKind.AVIF, bit_depth=16, quality=None)


@pytest.mark.parametrize(("dtype", "alpha"), [("uint8", False), ("float32", True)])
def test_avif_with_all_it_can_hold_is_one_file_for_all_readers(
    tmp_path: Path, dtype: str, alpha: bool, exiftool: Listed
) -> None:
    frame = photo(dtype, icc=PROFILES["Display P3"])
    frame = replace(frame, metadata=replace(frame.metadata, xmp=RATED))
    frame = replace(frame, alpha=scene(40, 56, 1, dtype)[..., 0]) if alpha else frame
    found, _ = written(frame, tmp_path / "a.avif", OutputKind.AVIF)
    assert (found.alpha is not None) == alpha
    (listed,) = exiftool(tmp_path / "a.avif")
    assert listed["IFD0:Model"] == "EOS Test"
    assert str(listed["ExifTool:Warning"]).endswith("Bad MakerNotes directory")  # as made up in photos.py
    assert listed["XMP-xmp:Rating"] == 5
    assert any(name.startswith("ICC") for name in listed)


@pytest.mark.parametrize("name", ["a.webp", "a.jp2", "a.j2k", "a.avif"])
def test_what_is_read(tmp_path: Path, name: str) -> None:
    pixels, path = scene(40, 56), tmp_path / name
    if name == "a.webp":
        Image.fromarray(pixels).save(path, lossless=True, exif=b"Exif\0\0" + exif(), icc_profile=ICC, xmp=XMP)
    elif name == "a.avif":
        path.write_bytes(imagecodecs.avif_encode(pixels.astype(np.uint16) << 2, bitspersample=10, level=100))
    else:
        wrapped = "JP2" if name == "a.jp2" else "J2K"
        path.write_bytes(imagecodecs.jpeg2k_encode(pixels, codecformat=wrapped, reversible=True))
    frame = read_frame(path)
    top = 65535 if name == "a.avif" else 255
    assert np.abs(frame.pixels / top - pixels / 255).max() < (0.02 if name == "a.avif" else 1e-6)
    footprint = read_footprint(path)
    assert footprint
    assert footprint.size >= frame.pixels.nbytes
    if name == "a.webp":
        assert (frame.camera.model, frame.metadata.icc, frame.metadata.xmp) == ("EOS Test", ICC, XMP)
    assert output_suffix(path, OutputKind.KEEP) == (".avif" if name == "a.avif" else ".tif")


def test_jpeg_2000_of_few_bits_is_stretched_and_its_boxes_are_read(tmp_path: Path) -> None:
    pixels = scene(40, 56, dtype="uint16") >> 4
    data = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="JP2", bitspersample=12, reversible=True))
    extra = box(b"uuid", b"JpgTiffExif->JP2" + exif())
    extra += box(b"uuid", bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + XMP)
    (tmp_path / "a.jp2").write_bytes(_before_codestream(data, extra))
    frame = read_frame(tmp_path / "a.jp2")
    np.testing.assert_array_equal(frame.pixels, np.rint(pixels * (65535 / 4095)).astype(np.uint16))
    assert (frame.camera.model, frame.metadata.xmp) == ("EOS Test", XMP)


def _before_codestream(data: bytes, extra: bytes) -> bytes:
    place = data.index(b"jp2c") - 4
    return data[:place] + extra + data[place:]


def test_compressed_boxes_of_jpeg_xl_are_read(tmp_path: Path) -> None:
    data = imagecodecs.jpegxl_encode(scene(40, 56), lossless=True, usecontainer=True)
    packed = box(b"brob", b"Exif" + imagecodecs.brotli_encode(bytes(4) + exif()))
    (tmp_path / "a.jxl").write_bytes(data + packed)
    assert read_camera(tmp_path / "a.jxl").model == "EOS Test"


def test_what_cannot_be_given_right_is_refused_by_its_reason(tmp_path: Path) -> None:
    pixels = scene(40, 56)
    moving = [Image.fromarray(pixels), Image.fromarray(pixels[::-1])]
    moving[0].save(tmp_path / "moving.webp", save_all=True, append_images=moving[1:])
    hdr = imagecodecs.avif_encode(pixels.astype(np.uint16) << 2, bitspersample=10, primaries=9, transfer=16)
    (tmp_path / "hdr.avif").write_bytes(hdr)
    (tmp_path / "cut.jxl").write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True)[:900])
    (tmp_path / "cut.jp2").write_bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="JP2")[:60])
    reasons = {"moving.webp": "several pictures", "hdr.avif": "PQ"}
    for name, reason in (*reasons.items(), ("cut.jxl", "damaged"), ("cut.jp2", "damaged")):
        with pytest.raises(PhotoError, match=reason):
            read_frame(tmp_path / name)


def test_grey_and_transparent_photos(tmp_path: Path) -> None:
    grey = photo(channels=1)
    found, _ = written(grey, tmp_path / "a.jxl", OutputKind.JXL)
    np.testing.assert_array_equal(found.pixels, grey.pixels)
    found, _ = written(grey, tmp_path / "a.avif", OutputKind.AVIF)
    assert found.pixels.shape == (40, 56, 3)
    seen = replace(photo(), alpha=scene(40, 56, 1)[..., 0])
    found, _ = written(seen, tmp_path / "b.jxl", OutputKind.JXL)
    assert found.alpha is not None
    np.testing.assert_array_equal(found.alpha, seen.alpha)
    found, _ = written(seen, tmp_path / "b.avif", OutputKind.AVIF)
    assert found.alpha is not None
