"""Files that are no photos, or not what they are called."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from photos import jpeg_bytes, scene, segment, with_segments
from PIL import Image

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Kind
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame


def refusal(path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        read_frame(path)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.reason


@pytest.mark.parametrize(("kind", "wrong"), [("PNG", ".jpg"), ("JPEG", ".png"), ("TIFF", ".jpg"), ("JPEG", ".tif")])
def test_content_decides_whatever_the_name_says(tmp_path: Path, kind: str, wrong: str) -> None:
    path = tmp_path / f"a{wrong}"
    Image.fromarray(scene()).save(path, kind)
    frame = read_frame(path)
    assert frame.kind is Kind(kind.lower())
    read_camera(path)
    write_frame(frame, tmp_path / f"b{wrong}", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(tmp_path / f"b{wrong}", frame, kind=OutputKind.KEEP, bit_depth=None)
    assert Image.open(tmp_path / f"b{wrong}").format == kind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text\n", "a text"),
        (bytes(1000), "begins with zeros"),
        (bytes(range(1, 200)), "unknown kind"),
        (b"GIF89a" + bytes(100), "a GIF picture"),
        (b"BM" + bytes(100), "a BMP picture"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "the WebP file is damaged"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (b"\xff\xd8\xff", "ends early"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "ends early"),
        (b"\x89PNG\r\n\x1a\n", "ends early"),
        (b"II*\0", "TIFF is damaged"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", ""),
    ],
)
def test_what_is_no_photo_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason in refusal(tmp_path / "a.jpg")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not an ordinary file" in refusal(tmp_path / "pipe.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(scene()))
    (tmp_path / "a.jpg").chmod(0)
    assert "Permission denied" in refusal(tmp_path / "a.jpg")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.fromarray(scene(channels=4), "CMYK").save(tmp_path / "a.jpg")
    assert "CMYK" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("process", "reason"),
    [(0xC3, "lossless JPEG"), (0xC9, "arithmetic"), (0xC7, "hierarchical"), (0xF7, "JPEG-LS")],
)
def test_rare_jpeg_processes_are_refused(tmp_path: Path, process: int, reason: str) -> None:
    data = jpeg_bytes(scene())
    (tmp_path / "a.jpg").write_bytes(data.replace(b"\xff\xc0\0\x11", bytes((0xFF, process)) + b"\0\x11", 1))
    assert reason in refusal(tmp_path / "a.jpg")


def test_jpeg_with_12_bits_is_refused(tmp_path: Path) -> None:
    data = jpeg_bytes(scene()).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c", 1)
    (tmp_path / "a.jpg").write_bytes(data)
    assert "12 bits" in refusal(tmp_path / "a.jpg")


def test_xyb_is_refused(tmp_path: Path) -> None:
    profile = b"ICC_PROFILE\0\x01\x01" + bytes(128) + "XYB_Per".encode("utf-16-be")
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), segment(0xE2, profile)))
    assert "XYB" in refusal(tmp_path / "a.jpg")


def test_a_jpeg_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    data = jpeg_bytes(scene(48, 64))
    position = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(data[:position] + b"\x40\0\x40\0" + data[position + 4 :])
    assert "promises" in refusal(tmp_path / "a.jpg")


def test_every_cut_of_every_kind_gives_a_photo_or_a_reason(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "TIFF"):
        Image.fromarray(scene(20, 20)).save(tmp_path / "whole", kind)
        data = (tmp_path / "whole").read_bytes()
        for end in range(0, len(data), max(1, len(data) // 60)):
            (tmp_path / "cut").write_bytes(data[:end])
            refusal(tmp_path / "cut")


def test_flipped_bits_never_give_another_exception(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "TIFF"):
        Image.fromarray(scene(20, 20)).save(tmp_path / "whole", kind)
        data = (tmp_path / "whole").read_bytes()
        for _ in range(120):
            broken = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), 3):
                broken[place] = rng.integers(256)
            (tmp_path / "broken").write_bytes(broken)
            for read in (read_frame, read_camera):
                with suppress(PhotoError):
                    read(tmp_path / "broken")


def test_nothing_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str], shared_data: Path) -> None:
    noisy = ["pngsuite/basi0g16.png", "raw_truncated_exiftool/FujiFilm.raf", "tm_jpeg/jfif-16bit-dqt.jpg"]
    for name in noisy:
        path = shared_data / "damaged" / name
        if not path.is_file():
            pytest.skip(f"{name} is missing")
        shutil.copy(path, tmp_path / path.name)
        try:
            frame = read_frame(tmp_path / path.name)
        except PhotoError:
            continue
        write_frame(frame, tmp_path / "out", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    assert capfd.readouterr() == ("", "")
