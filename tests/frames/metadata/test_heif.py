"""HEIF, the photos of iPhones: read where pillow-heif is installed, and else refused with what is to be installed."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from photos import ICC, XMP, exif, scene
from PIL import Image

from nsp_pipeline.errors import DecoderFailedError, PhotoError
from nsp_pipeline.frames.frame import Kind
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import ORIENTATION
from nsp_pipeline.frames.read import read_camera, read_facts, read_frame
from nsp_pipeline.frames.write import OutputKind, output_suffix, verify_written, write_frame


def heic(path: Path, *, bits: int = 8) -> np.ndarray:
    """Save a scene; returns it as it was saved."""
    heif = pytest.importorskip("pillow_heif")
    pixels = scene(40, 56, dtype="uint8" if bits == 8 else "uint16")
    made = heif.from_bytes("RGB" if bits == 8 else "RGB;16", (56, 40), pixels.tobytes())
    said = {"exif": exif(), "xmp": XMP, "icc_profile": ICC}
    made.save(path, quality=-1, chroma=444, bit_depth=bits, **said)
    return pixels


@pytest.mark.parametrize("bits", [8, 10])
def test_pixels_and_metadata_are_read(tmp_path: Path, bits: int) -> None:
    pixels = heic(tmp_path / "a.heic", bits=bits)
    frame = read_frame(tmp_path / "a.heic")
    top = np.iinfo(pixels.dtype).max
    assert (frame.kind, frame.pixels.dtype, frame.depth) == (Kind.HEIF, pixels.dtype, bits)
    assert np.abs(frame.pixels / top - pixels / top).max() < 0.02
    assert (frame.metadata.icc, frame.metadata.xmp, frame.camera.model) == (ICC, XMP, "EOS Test")
    assert read_camera(tmp_path / "a.heic") == frame.camera
    assert read_facts(tmp_path / "a.heic").size == (56, 40)


def test_it_becomes_tiff_or_what_is_asked_for_with_all_that_it_says(tmp_path: Path) -> None:
    heic(tmp_path / "a.heic", bits=10)
    frame = read_frame(tmp_path / "a.heic")
    assert output_suffix(tmp_path / "a.heic", OutputKind.KEEP) == ".tif"
    for kind in (OutputKind.KEEP, OutputKind.JXL, OutputKind.AVIF):
        write_frame(frame, tmp_path / "b", kind=kind, bit_depth=None, quality=None)
        assert verify_written(tmp_path / "b", frame, kind=kind, bit_depth=None) == ()


def test_it_comes_upright_and_says_so(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    pixels, stream = scene(40, 56), BytesIO()
    Image.fromarray(pixels).save(stream, "HEIF", quality=-1, chroma=444, exif=b"Exif\0\0" + exif(orientation=6))
    (tmp_path / "a.heic").write_bytes(stream.getvalue())
    frame = read_frame(tmp_path / "a.heic")
    assert np.abs(frame.pixels.astype(int) - np.rot90(pixels, -1)).max() < 6
    structure = read_structure(frame.metadata.exif)
    assert structure
    assert structure.numbers(structure.root.entries.get(ORIENTATION)) in ((), (1,))


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    heic(tmp_path / "a.heic")
    data = (tmp_path / "a.heic").read_bytes()
    for number, broken in enumerate((data[: len(data) // 2], data[:60])):
        (tmp_path / f"{number}.heic").write_bytes(broken)
        with pytest.raises(PhotoError, match="damaged"):
            read_frame(tmp_path / f"{number}.heic")


def test_without_pillow_heif_the_reason_is_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(4) + b"mif1heic" + bytes(99))
    with pytest.raises(DecoderFailedError, match="pip install pillow-heif"):
        read_frame(tmp_path / "a.heic")
