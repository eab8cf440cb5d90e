"""PNG in, PNG out."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photos import ICC, XMP, exif, scene
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.formats.png import read_png_facts
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.read import read_camera, read_facts, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame


def rewritten(frame: Frame, path: Path) -> Frame:
    write_frame(frame, path, kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(path, frame, kind=OutputKind.KEEP, bit_depth=None)
    return read_frame(path)


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    data, position, found = path.read_bytes(), 8, []
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + size]))
        position += 12 + size
    return found


def png(*parts: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def header(width: int, height: int, depth: int, colour: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.sampled_from(["uint8", "uint16"]), st.integers(0, 99)
)
def test_every_pixel_survives(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, samples: int, dtype: str, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("png")
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, samples)).astype(dtype)
    (folder / "a.png").write_bytes(imagecodecs.png_encode(pixels[..., 0] if samples == 1 else pixels))
    frame = read_frame(folder / "a.png")
    colours = samples - (samples in (2, 4))
    np.testing.assert_array_equal(frame.pixels, pixels[..., :colours])
    assert (frame.alpha is None) == (colours == samples)
    rewritten(frame, folder / "b.png")
    decoded = imagecodecs.png_decode((folder / "b.png").read_bytes())
    np.testing.assert_array_equal(decoded.reshape(pixels.shape), pixels)


def test_all_that_a_png_says_is_kept(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Title", "Mäuse", zip=True)
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"tIME", bytes((7, 230, 1, 2, 3, 4, 5)))
    info.add(b"prVt", b"private, safe to copy")
    info.add(b"prVT", b"private, depends on the pixels")
    info.add(b"teXt", b"after the pixels", after_idat=True)
    path = tmp_path / "a.png"
    Image.fromarray(scene()).save(path, pnginfo=info, icc_profile=ICC, dpi=(300, 300), exif=exif())
    frame = read_frame(path)
    assert frame.metadata.icc == ICC
    assert frame.metadata.xmp == XMP
    assert frame.camera.model == read_camera(path).model == "EOS Test"
    rewritten(frame, tmp_path / "b.png")
    kept = [chunk for chunk in chunks(path) if chunk[0] not in (b"IDAT", b"prVT")]
    assert [chunk for chunk in chunks(tmp_path / "b.png") if chunk[0] != b"IDAT"] == kept


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_grey_levels_become_8_bits(tmp_path: Path, depth: int) -> None:
    row = bytes(range(0, 256, 5))
    data = png(header(len(row) * 8 // depth, 1, depth, 0), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(data)
    frame = read_frame(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.pixels[..., 0], np.asarray(Image.open(tmp_path / "a.png").convert("L")))
    rewritten(frame, tmp_path / "b.png")


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_becomes_its_colours(tmp_path: Path, transparent: bool) -> None:
    image = Image.fromarray(scene()).quantize(16)
    image.save(tmp_path / "a.png", transparency=3 if transparent else None)
    frame = read_frame(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.pixels, np.asarray(image.convert("RGB")))
    assert (frame.alpha is not None) == transparent
    rewritten(frame, tmp_path / "b.png")
    assert not {b"PLTE", b"tRNS"} & {name for name, _ in chunks(tmp_path / "b.png")}


def test_an_interlaced_png_is_read(tmp_path: Path) -> None:
    pixels = scene(9, 13)
    # Pillow cannot write interlaced files; passes of Adam7 are easy to write by hand.
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, across in passes
        for row in pixels[top::down, left::across]
        if row.size
    )
    head = (b"IHDR", struct.pack(">IIBBBBB", 13, 9, 8, 2, 0, 0, 1))
    (tmp_path / "a.png").write_bytes(png(head, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png").pixels, pixels)


def test_the_same_frame_gives_the_same_bytes(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    frame = read_frame(tmp_path / "a.png")
    for name in ("b.png", "c.png"):
        rewritten(frame, tmp_path / name)
    assert frame.kind is Kind.PNG
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_png_is_refused(tmp_path: Path, share: float) -> None:
    Image.fromarray(scene(100, 100)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match="ends early"):
        read_frame(tmp_path / "a.png")


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 30] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PhotoError, match="damaged: the checksum"):
        read_frame(tmp_path / "a.png")


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    rows = zlib.compress(bytes(100 * 301)[: 50 * 301])
    (tmp_path / "a.png").write_bytes(png(header(100, 100, 8, 2), (b"IDAT", rows), (b"IEND", b"")))
    with pytest.raises(PhotoError, match="damaged"):
        read_frame(tmp_path / "a.png")


def test_an_animated_png_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(scene(seed=seed)) for seed in (0, 1)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(PhotoError, match="animated"):
        read_frame(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("size", "reason"), [((20000, 20000), "promises"), ((60000, 60000), "megapixels"), ((0, 10), "claims 0×10")]
)
def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(
    tmp_path: Path, size: tuple[int, int], reason: str
) -> None:
    (tmp_path / "a.png").write_bytes(png(header(*size, 8, 2), (b"IDAT", zlib.compress(bytes(900))), (b"IEND", b"")))
    with pytest.raises(PhotoError, match=reason):
        read_frame(tmp_path / "a.png")


def test_facts_are_read_without_the_picture_even_where_exif_follows_it(tmp_path: Path) -> None:
    camera = Image.Exif()
    camera[272] = "Camera One"
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=camera)
    data = (tmp_path / "a.png").read_bytes()
    place = data.index(b"eXIf") - 4
    size = 12 + int.from_bytes(data[place : place + 4])
    moved = data[:place] + data[place + size : -12] + data[place : place + size] + data[-12:]
    (tmp_path / "a.png").write_bytes(moved)
    facts = read_facts(tmp_path / "a.png")
    assert (facts.camera.model, facts.size) == ("Camera One", (300, 200))

    class Counted(BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.count += len(found)
            return found

    file = Counted(moved)
    assert read_png_facts(tmp_path / "a.png", file)[1] == (300, 200)
    assert file.count < 1000 < len(moved)
