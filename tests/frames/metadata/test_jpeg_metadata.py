"""Extended XMP, captions, comments, credentials and alpha between JPEG and other files."""

import struct
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import tifffile
from judges import Listed
from photos import jpeg_bytes, scene, segment, with_segments

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

RDF = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}'
    "</rdf:RDF></x:xmpmeta>"
)
PACKET, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
DEPTH = "QUJD" * 40_000
IPTC = b"\x1c\x02\x78\x00\x07caption"


def description(inside: str) -> str:
    return RDF.format(f'<rdf:Description rdf:about="" {inside}/>')


def extended_jpeg(path: Path) -> Path:
    """A JPEG as phones write it: a rating in its packet, a depth map in the extension."""
    extension = description(f'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" GDepth:Data="{DEPTH}"').encode()
    guid = md5(extension).hexdigest().upper()
    main = description(
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
        f'xmpNote:HasExtendedXMP="{guid}"'
    ).encode()
    parts = [
        segment(0xE1, EXTENSION + guid.encode() + struct.pack(">II", len(extension), at) + extension[at : at + 60_000])
        for at in range(0, len(extension), 60_000)
    ]
    path.write_bytes(with_segments(jpeg_bytes(scene()), segment(0xE1, PACKET + main), *reversed(parts)))
    return path


def converted(frame: Frame, path: Path, kind: OutputKind) -> Frame:
    write_frame(frame, path, kind=kind, bit_depth=None, quality=None)
    verify_written(path, frame, kind=kind, bit_depth=None)
    return read_frame(path)


@pytest.mark.parametrize("kind", [OutputKind.TIFF, OutputKind.PNG])
def test_extended_xmp_is_joined(tmp_path: Path, kind: OutputKind) -> None:
    packet = converted(read_frame(extended_jpeg(tmp_path / "a.jpg")), tmp_path / "b", kind).metadata.xmp
    assert packet
    assert DEPTH.encode() in packet
    assert b'xmp:Rating="4"' in packet
    assert b"HasExtendedXMP" not in packet


def test_a_packet_too_long_for_jpeg_is_split_and_read_back(tmp_path: Path, exiftool: Listed) -> None:
    tiff = converted(read_frame(extended_jpeg(tmp_path / "a.jpg")), tmp_path / "b.tif", OutputKind.TIFF)
    converted(tiff, tmp_path / "c.jpg", OutputKind.JPEG)
    for listed in exiftool(tmp_path / "a.jpg", tmp_path / "b.tif", tmp_path / "c.jpg"):
        assert listed["XMP-xmp:Rating"] == 4
        assert str(len(DEPTH) * 3 // 4) in str(listed["XMP-GDepth:DepthImage"])


def test_an_extension_with_a_part_missing_is_left_alone(tmp_path: Path) -> None:
    data = extended_jpeg(tmp_path / "a.jpg").read_bytes()
    start = data.index(EXTENSION) - 4
    size = 2 + int.from_bytes(data[start + 2 : start + 4])
    (tmp_path / "b.jpg").write_bytes(data[:start] + data[start + size :])
    packet = converted(read_frame(tmp_path / "b.jpg"), tmp_path / "c.tif", OutputKind.TIFF).metadata.xmp
    assert packet
    assert b'xmp:Rating="4"' in packet


def test_captions_of_a_tiff_tag_reach_jpeg(tmp_path: Path, exiftool: Listed) -> None:
    swapped = b"".join(IPTC.ljust(12, b"\0")[place : place + 4][::-1] for place in range(0, 12, 4))
    words = [np.frombuffer(data, "<u4").tolist() for data in (IPTC.ljust(12, b"\0"), swapped)]
    tags = [(33723, "B", len(IPTC), IPTC, True), *((33723, "I", 3, tuple(numbers), True) for numbers in words)]
    for number, tag in enumerate(tags):
        tifffile.imwrite(tmp_path / "a.tif", scene(), photometric="rgb", extratags=[tag], metadata=None)
        converted(read_frame(tmp_path / "a.tif"), tmp_path / f"{number}.jpg", OutputKind.JPEG)
    for listed in exiftool(*(tmp_path / f"{number}.jpg" for number in range(3))):
        assert listed["IPTC:Caption-Abstract"] == "caption"


def test_captions_stand_in_the_tag_where_tiff_has_them_and_nowhere_else(tmp_path: Path, exiftool: Listed) -> None:
    urgent = b"8BIM\x04\x0a\0\0\0\0\0\x01\1\0"  # another of Photoshop's resources
    captions = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC + b"\0" * (len(IPTC) % 2)
    parts = segment(0xED, b"Photoshop 3.0\0" + captions + urgent)
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), parts))
    tiff = converted(read_frame(tmp_path / "a.jpg"), tmp_path / "b.tif", OutputKind.TIFF)
    converted(tiff, tmp_path / "c.jpg", OutputKind.JPEG)
    before, *others = exiftool(*(tmp_path / name for name in ("a.jpg", "b.tif", "c.jpg")))
    spoken = {name: value for name, value in before.items() if name.startswith(("IPTC", "Photoshop"))}
    assert (spoken["IPTC:Caption-Abstract"], spoken["Photoshop:CopyrightFlag"]) == ("caption", 1)
    for after in others:
        assert {name: value for name, value in after.items() if name.startswith(("IPTC", "Photoshop"))} == spoken


def test_captions_longer_than_a_segment_come_along_whole(tmp_path: Path) -> None:
    blocks = b"8BIM\x04\x04\0\0" + struct.pack(">I", 100_000) + bytes(range(250)) * 400
    parts = [segment(0xED, b"Photoshop 3.0\0" + blocks[at : at + 60_000]) for at in (0, 60_000)]
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), *parts))
    tiff = converted(read_frame(tmp_path / "a.jpg"), tmp_path / "b.tif", OutputKind.TIFF)
    captions = blocks[12:]
    assert captions in (tmp_path / "b.tif").read_bytes()
    converted(tiff, tmp_path / "c.jpg", OutputKind.JPEG)
    again = converted(read_frame(tmp_path / "c.jpg"), tmp_path / "d.tif", OutputKind.TIFF)
    assert captions in (tmp_path / "d.tif").read_bytes()
    assert again.kind is Kind.TIFF


def test_a_comment_reaches_png(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), segment(0xFE, b"by hand")))
    converted(read_frame(tmp_path / "a.jpg"), tmp_path / "b.png", OutputKind.PNG)
    assert b"tEXtComment\0by hand" in (tmp_path / "b.png").read_bytes()


def jumbf(label: bytes, box: int, number: int) -> bytes:
    return segment(
        0xEB, b"JP" + struct.pack(">HI", box, number) + struct.pack(">I", 400) + b"jumb" + label + bytes(300)
    )


def test_credentials_go_and_that_is_said_but_other_boxes_stay(tmp_path: Path) -> None:
    other = jumbf(b"\0\0\0\x20jumdfile.other", 2, 1)
    parts = [jumbf(b"\0\0\0\x20jumdc2pa\0\x11\0\x10" + b"c2pa", 1, 1), jumbf(b"more", 1, 2), other]
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), *parts))
    frame = read_frame(tmp_path / "a.jpg")
    assert any("C2PA" in words for words in frame.metadata.left_out)
    assert not converted(frame, tmp_path / "b.jpg", OutputKind.KEEP).metadata.left_out
    assert other in (tmp_path / "b.jpg").read_bytes()
    assert b"more" not in (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_that_hides_nothing_is_dropped_for_jpeg(tmp_path: Path, dtype: str) -> None:
    pixels = scene(dtype=dtype)
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    opaque = np.full(pixels.shape[:2], top, dtype)
    frame = Frame(pixels, opaque, Kind.TIFF, Metadata(), Camera())
    assert converted(frame, tmp_path / "a.jpg", OutputKind.JPEG).alpha is None
    opaque[3, 4] = 0
    with pytest.raises(PhotoError, match="no alpha channel"):
        converted(frame, tmp_path / "a.jpg", OutputKind.JPEG)


def test_colours_multiplied_by_their_alpha_are_straight_in_png(tmp_path: Path) -> None:
    straight = np.full((32, 32, 3), 200, np.uint8)
    alpha = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    stored = np.dstack((np.rint(straight * (alpha[..., None] / 255)).astype(np.uint8), alpha))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    found = converted(read_frame(tmp_path / "a.tif"), tmp_path / "b.png", OutputKind.PNG)
    assert np.abs(found.pixels[:, 8:].astype(int) - 200).max() <= 3
    again = converted(read_frame(tmp_path / "a.tif"), tmp_path / "b.tif", OutputKind.KEEP)
    np.testing.assert_array_equal(again.pixels, stored[..., :3])
