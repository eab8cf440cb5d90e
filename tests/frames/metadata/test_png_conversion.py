"""What a PNG says in its own ways (cICP, gAMA, cHRM, raw profiles) reaches files that say it in others."""

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from photos import ICC, XMP, exif, scene
from PIL import Image, ImageCms

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.colour.read_profile import curve_of
from nsp_pipeline.frames.formats.png_metadata import chunk
from nsp_pipeline.frames.frame import Frame
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.photoshop import iptc_of, resources_of
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

DISPLAY_P3, SRGB = bytes((12, 13, 0, 1)), bytes((1, 13, 0, 1))
SRGB_CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
IPTC = b"\x1c\x02\x78\x00\x07caption\x1c\x02\x19\x00\x04bird"


def png(path: Path, *chunks: bytes, channels: int = 3) -> Path:
    pixels = scene(channels=channels)
    data = bytes(imagecodecs.png_encode(pixels[..., 0] if channels == 1 else pixels))
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])
    return path


def raw_profile(kind: str, data: bytes, *, packed: bool) -> bytes:
    digits = data.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    text = f"\n{kind}\n{len(data):8d}\n{lines}\n".encode()
    keyword = f"Raw profile type {kind}".encode()
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(text)) if packed else chunk(b"tEXt", keyword + b"\0" + text)


def converted(path: Path, kind: OutputKind) -> Frame:
    frame = read_frame(path)
    target = path.with_name(f"out.{kind}")
    write_frame(frame, target, kind=kind, bit_depth=None, quality=None)
    verify_written(target, frame, kind=kind, bit_depth=None)
    return read_frame(target)


def to_srgb(frame: Frame) -> np.ndarray:
    assert frame.metadata.icc
    profile = ImageCms.ImageCmsProfile(io.BytesIO(frame.metadata.icc))
    image = Image.fromarray(frame.pixels)
    return np.asarray(ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB")), np.int16)


@pytest.mark.parametrize("kind", [OutputKind.JPEG, OutputKind.TIFF])
def test_colours_that_chunks_state_become_a_profile(tmp_path: Path, kind: OutputKind) -> None:
    frame = converted(png(tmp_path / "a.png", chunk(b"cICP", DISPLAY_P3)), kind)
    assert frame.metadata.icc
    profile = ImageCms.ImageCmsProfile(io.BytesIO(frame.metadata.icc))
    assert ImageCms.getProfileDescription(profile).strip() == "Display P3"
    assert profile.profile.red_primary is not None
    x, y, _ = profile.profile.red_primary[1]
    assert abs(x - 0.680) < 0.01
    assert abs(y - 0.320) < 0.01


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"cICP", SRGB)],
        [chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100000))],
        [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", SRGB_CHRM)],
        [chunk(b"cHRM", SRGB_CHRM)],
    ],
)
def test_all_ways_to_say_srgb_mean_srgb(tmp_path: Path, chunks: list[bytes]) -> None:
    frame = converted(png(tmp_path / "a.png", *chunks), OutputKind.TIFF)
    assert np.abs(to_srgb(frame) - frame.pixels).max() <= 1


def test_gamma_alone_is_a_curve_on_the_primaries_of_srgb(tmp_path: Path) -> None:
    frame = converted(png(tmp_path / "a.png", chunk(b"gAMA", struct.pack(">I", 100000))), OutputKind.TIFF)
    light = frame.pixels / 255
    wanted = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(to_srgb(frame) / 255 - wanted).max() < 0.01


def test_gamma_beside_other_primaries_is_meant_as_it_stands(tmp_path: Path) -> None:
    adobe = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    chunks = [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", adobe)]
    frame = converted(png(tmp_path / "a.png", *chunks), OutputKind.TIFF)
    assert frame.metadata.icc
    curve = curve_of(frame.metadata.icc)
    assert curve
    ramp = np.linspace(0, 1, 50)
    assert np.abs(curve.light(ramp) - ramp**2.2).max() < 1e-3


def test_a_grey_png_gets_a_grey_profile(tmp_path: Path) -> None:
    frame = converted(png(tmp_path / "a.png", chunk(b"gAMA", struct.pack(">I", 55556)), channels=1), OutputKind.TIFF)
    assert frame.metadata.icc
    assert frame.metadata.icc[16:20] == b"GRAY"
    ImageCms.ImageCmsProfile(io.BytesIO(frame.metadata.icc))


@pytest.mark.parametrize("points", [(9, 16, 0, 1), (9, 18, 0, 1), (1, 13, 0, 0), (99, 13, 0, 1), (1, 2, 0, 1)])
def test_colours_that_no_profile_can_say_are_refused_for_other_files_and_kept_in_png(
    tmp_path: Path, points: tuple[int, ...]
) -> None:
    path = png(tmp_path / "a.png", chunk(b"cICP", bytes(points)))
    with pytest.raises(PhotoError, match="only PNG can say"):
        converted(path, OutputKind.TIFF)
    converted(path, OutputKind.KEEP)
    assert chunk(b"cICP", bytes(points)) in path.with_name("out.keep").read_bytes()


def test_a_profile_that_is_there_comes_first(tmp_path: Path) -> None:
    chunks = chunk(b"cICP", DISPLAY_P3), chunk(b"iCCP", b"x\0\0" + zlib.compress(ICC))
    assert converted(png(tmp_path / "a.png", *chunks), OutputKind.JPEG).metadata.icc == ICC


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("name", "head"), [("exif", b"Exif\0\0"), ("APP1", b"Exif\0\0"), ("exif", b"")])
def test_exif_in_a_text_is_exif(tmp_path: Path, packed: bool, name: str, head: bytes) -> None:
    path = png(tmp_path / "a.png", raw_profile(name, head + exif(orientation=6), packed=packed))
    assert read_camera(path).model == "EOS Test"
    for kind in (OutputKind.JPEG, OutputKind.TIFF):
        frame = converted(path, kind)
        assert (frame.camera.model, frame.camera.iso) == ("EOS Test", 3200)


def test_captions_packets_and_profiles_in_texts_come_along(tmp_path: Path) -> None:
    texts = [raw_profile(kind, data, packed=True) for kind, data in (("iptc", IPTC), ("xmp", XMP), ("icc", ICC))]
    path = png(tmp_path / "a.png", *texts)
    for kind in (OutputKind.JPEG, OutputKind.TIFF):
        frame = converted(path, kind)
        assert (frame.metadata.xmp, frame.metadata.icc) == (XMP, ICC)
        assert IPTC in path.with_name(f"out.{kind}").read_bytes()


def test_captions_of_a_tiff_reach_png_and_come_back(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", raw_profile("iptc", IPTC, packed=False))
    tiff = converted(path, OutputKind.TIFF)
    write_frame(tiff, tmp_path / "b.png", kind=OutputKind.PNG, bit_depth=None, quality=None)
    again = converted(tmp_path / "b.png", OutputKind.TIFF)
    structure = read_structure(again.metadata.exif)
    assert structure
    assert iptc_of(resources_of(structure.root)) == IPTC


def test_damaged_raw_profiles_do_no_harm(tmp_path: Path) -> None:
    for text in (b"\nexif\n  99999\n45786", b"\nexif\n", b"zz", b"\nexif\n 4\nxyz\n"):
        path = png(tmp_path / "a.png", chunk(b"tEXt", b"Raw profile type exif\0" + text))
        converted(path, OutputKind.TIFF)


def test_credentials_go_and_that_is_said(tmp_path: Path) -> None:
    frame = read_frame(png(tmp_path / "a.png", chunk(b"caBX", b"\0\0\0\x20jumb...c2pa")))
    assert any("C2PA" in words for words in frame.metadata.left_out)
