"""After each write the file is read again: what it lacks of the photo's metadata is named, and nothing else."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judges import Listed
from photos import camera_jpeg, exif, jpeg_bytes, nested_xmp, scene, segment, with_segments

from nsp_pipeline.frames.frame import Frame, Metadata
from nsp_pipeline.frames.inventory import inventory, lost
from nsp_pipeline.frames.metadata.ifd import parse
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.sidecar import with_sidecar
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

MOTION = b"\0\0\0\x18ftypmp42" + bytes(300)


def losses(frame: Frame, path: Path, kind: OutputKind) -> list[str]:
    write_frame(frame, path, kind=kind, bit_depth=None, quality=None)
    return list(verify_written(path, frame, kind=kind, bit_depth=None))


@pytest.mark.parametrize("kind", [kind for kind in OutputKind if kind is not OutputKind.DNG])
def test_a_camera_jpeg_loses_what_the_kind_of_file_cannot_hold(tmp_path: Path, kind: OutputKind) -> None:
    expected = {
        OutputKind.TIFF: ["the comment"],
        OutputKind.JXL: ["captions and keywords (IPTC)", "the comment"],
        OutputKind.AVIF: ["captions and keywords (IPTC)", "the comment"],
    }.get(kind, [])
    assert losses(read_frame(camera_jpeg(tmp_path / "a.jpg", scene())), tmp_path / "b", kind) == expected


def test_what_stands_behind_a_jpeg_is_named_where_it_cannot_go_along(tmp_path: Path) -> None:
    for name, trailer in (
        ("film", MOTION),
        ("further pictures", jpeg_bytes(scene(16, 16))),
        ("data behind", b"anything at all" * 9),
    ):
        (tmp_path / "a.jpg").write_bytes(jpeg_bytes(scene()) + trailer)
        frame = read_frame(tmp_path / "a.jpg")
        assert losses(frame, tmp_path / "b.jpg", OutputKind.KEEP) == []
        (found,) = losses(frame, tmp_path / "b.png", OutputKind.PNG)
        assert name in found


def test_private_segments_and_a_thumbnail_are_named(tmp_path: Path) -> None:
    blob = exif()
    root = struct.unpack_from("<I", blob, 4)[0]
    (count,) = struct.unpack_from("<H", blob, root)
    thumbnail = bytearray(blob + struct.pack("<HHHIII", 1, 259, 3, 1, 6, 0))
    struct.pack_into("<I", thumbnail, root + 2 + 12 * count, len(blob))
    parts = (
        segment(0xE1, b"Exif\0\0" + bytes(thumbnail)),
        segment(0xE7, b"private"),
        segment(0xE2, b"MPF\0" + bytes(20)),
    )
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), *parts))
    frame = read_frame(tmp_path / "a.jpg")
    assert losses(frame, tmp_path / "b.tif", OutputKind.TIFF) == [
        "a private segment (APP7)",
        "the EXIF thumbnail",
        "the index of further pictures",
    ]


def test_a_note_that_had_to_go_and_exif_that_was_too_large_are_named(tmp_path: Path) -> None:
    for kind, size in ((OutputKind.JPEG, 90_000), (OutputKind.PNG, 90)):
        (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), segment(0xE1, b"Exif\0\0" + exif())))
        frame = read_frame(tmp_path / "a.jpg")
        big = exif(maker_note=bytes(size))
        metadata = replace(frame.metadata, exif=big, source=None)
        found = losses(replace(frame, metadata=metadata), tmp_path / "b", kind)
        assert found == (["the maker's notes"] if kind is OutputKind.JPEG else [])


def test_a_note_that_moved_is_noticed() -> None:
    blob = exif()
    assert inventory(Metadata(exif=blob)) != inventory(Metadata(exif=blob, maker_note_at=5000))


def test_byte_order_and_layout_do_not_count() -> None:
    note = b"Apple iOS\0"
    assert inventory(Metadata(exif=exif("<", maker_note=note))) == inventory(Metadata(exif=exif(">", maker_note=note)))
    assert parse(exif("<")).order != parse(exif(">")).order


def test_brightness_that_is_cut_off_is_named(tmp_path: Path) -> None:
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", scene()))
    floats = scene(dtype="float32")
    floats[0, 0] = 3
    assert any("cut off" in name for name in losses(replace(frame, pixels=floats), tmp_path / "b", OutputKind.PNG))


def test_what_exiftool_finds_before_it_finds_after_or_we_name_it(
    tmp_path: Path, shared_data: Path, exiftool: Listed
) -> None:
    photos = sorted((shared_data / "noisy").glob("*.jpg"))[::2]
    if not photos:
        pytest.skip("no noisy photos")
    outputs, said = [], []
    for photo in photos:
        frame = read_frame(photo)
        pixels = np.ascontiguousarray(frame.pixels[:32, :32])
        frame = replace(frame, pixels=pixels, metadata=replace(frame.metadata, size=None))
        for kind in (OutputKind.TIFF, OutputKind.PNG):
            target = tmp_path / f"{photo.stem}.{kind}"
            said.append(losses(frame, target, kind))
            outputs.append(target)
    listed = exiftool(*photos, *outputs)
    before = [entry for entry in listed[: len(photos)] for _ in range(2)]
    for photo, had, has, named in zip(outputs, before, listed[len(photos) :], said, strict=True):
        missing = {name for name in had if name not in has and not name.startswith(("JFIF:", "Adobe:", *STORAGE))}
        if "the EXIF thumbnail" in named:
            missing = {name for name in missing if not name.startswith("IFD1:")}
        assert not missing, photo
        changed = {name for name in had if name in has and had[name] != has[name] and not name.startswith(STORAGE)}
        assert all("Preview" in name or "Offset" in name for name in changed), photo


STORAGE = tuple(
    f"IFD0:{name}"
    for name in ("ImageWidth", "ImageHeight", "BitsPerSample", "Photometric", "SamplesPer", "YCbCr", "Compression")
)


def test_lost_compares_two_files_of_one_photo(tmp_path: Path) -> None:
    frame = read_frame(camera_jpeg(tmp_path / "a.jpg", scene()))
    assert lost(frame, frame) == ()
    bare = replace(frame, metadata=replace(frame.metadata, xmp=None, icc=None, source=None))
    assert {"the colour profile", "the comment"} <= set(lost(frame, bare))


def test_xmp_nested_without_end_is_one_item_and_no_failure(tmp_path: Path) -> None:
    deep = nested_xmp(1200)
    (tmp_path / "a.jpg").write_bytes(
        with_segments(jpeg_bytes(scene()), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + deep))
    )
    frame = read_frame(tmp_path / "a.jpg")
    assert inventory(frame.metadata)["XMP"] == deep
    assert losses(frame, tmp_path / "b.jpg", OutputKind.KEEP) == []
    assert losses(frame, tmp_path / "b.tif", OutputKind.TIFF) == []
    assert with_sidecar(frame, deep) is frame, "such a sidecar tells nothing"
    bare = read_frame(camera_jpeg(tmp_path / "c.jpg", scene()))
    assert with_sidecar(bare, deep) is bare
