"""JPEGs that are damaged in their picture data: noticed, refused with a reason, or kept when asked for."""

from pathlib import Path

import numpy as np
import pytest
from mutations import DAMAGES, VARIANTS, damaged_jpegs, sound_jpeg
from photos import jpeg_bytes, scene

from nsp_pipeline.errors import DamagedPhotoError, PhotoError
from nsp_pipeline.frames.formats.jpeg import read_jpeg
from nsp_pipeline.frames.formats.jpeg_layout import parse_layout
from nsp_pipeline.frames.read import read_frame

PATH = Path("a.jpg")


def passes_silently(data: bytes) -> bool:
    try:
        read_jpeg(PATH, data)
    except PhotoError:
        return False
    return True


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sound_jpeg_of_every_kind_is_read(variant: str) -> None:
    assert read_jpeg(PATH, sound_jpeg(variant)).damage is None


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("damage", "size"), [("overwritten", 512), ("overwritten", 4096), ("zeroed", 4096)])
def test_damage_of_a_disks_sector_never_passes(variant: str, damage: str, size: int) -> None:
    assert not [data for data in damaged_jpegs(variant, damage, size, 8) if passes_silently(data)]


@pytest.mark.parametrize(
    ("size", "allowed"),
    # What stays silent decodes to the right number of blocks by chance, as a whole JPEG by all its rules.
    [(8, 0.55), (32, 0.35), (128, 0.1), (512, 0.04)],
)
def test_the_more_is_damaged_the_less_passes_silently(size: int, allowed: float) -> None:
    broken = [
        data
        for variant in VARIANTS
        for damage in DAMAGES
        for data in damaged_jpegs(variant, damage, size, 4)
        if data != sound_jpeg(variant)
    ]
    silent = sum(map(passes_silently, broken))
    assert silent / len(broken) <= allowed, f"{silent} of {len(broken)}"


def test_the_complaint_is_named_and_the_librarys_words_are_kept() -> None:
    (data,) = damaged_jpegs("baseline 4:2:0", "overwritten", 512, 1)
    with pytest.raises(DamagedPhotoError, match=r"a\.jpg: the JPEG is damaged: .*picture data") as caught:
        read_jpeg(PATH, data)
    assert caught.value.details is not None
    assert caught.value.details.startswith("libjpeg: ")
    assert "libjpeg" not in str(caught.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_left_can_be_kept_and_is_marked(variant: str) -> None:
    (data,) = damaged_jpegs(variant, "overwritten", 512, 1)
    frame = read_jpeg(PATH, data, keep_damaged=True)
    assert frame.damage is not None
    whole = read_jpeg(PATH, sound_jpeg(variant))
    assert frame.pixels.shape == whole.pixels.shape
    same = (frame.pixels == whole.pixels).all(2)
    assert not same.all()
    with pytest.raises(DamagedPhotoError) as caught:
        read_jpeg(PATH, data)
    assert caught.value.reason == frame.damage
    if "progressive" not in variant:
        assert same[:64].all(), "what stands before the damage is as it was"


def test_a_truncated_jpeg_can_be_kept(tmp_path: Path) -> None:
    data = sound_jpeg("baseline 4:2:0")
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedPhotoError, match="ends early"):
        read_frame(tmp_path / "cut.jpg")
    frame = read_frame(tmp_path / "cut.jpg", keep_damaged=True)
    assert frame.damage is not None
    assert "ends early" in frame.damage
    np.testing.assert_array_equal(frame.pixels[:150], read_jpeg(PATH, data).pixels[:150])


def test_a_progressive_jpeg_without_its_last_passes_is_incomplete() -> None:
    data = sound_jpeg("progressive 4:2:0")
    last = parse_layout(PATH, data).scans[-1]
    cut = data[: data.rindex(b"\xff\xda", 0, last.start)] + b"\xff\xd9"
    with pytest.raises(DamagedPhotoError, match="passes of its picture data are missing"):
        read_jpeg(PATH, cut)
    assert read_jpeg(PATH, cut, keep_damaged=True).pixels.shape == (400, 600, 3)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0, 77, 128, 255])
def test_flat_pictures_are_sound(level: int, channels: int, options: dict[str, object]) -> None:
    """Long rows of equal bytes are no damage where the picture is flat."""
    flat = np.full((400, 600, channels), level, np.uint8)
    assert read_jpeg(PATH, jpeg_bytes(flat, **options)).damage is None
    ramp = np.repeat(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], channels, 2).repeat(400, 0)
    assert read_jpeg(PATH, jpeg_bytes(ramp, **options)).damage is None


def test_an_edge_that_is_written_in_zeros_is_sound() -> None:
    """A lone bright pixel on black: many coefficients of one sign and size."""
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[::8, ::8] = 255
    assert read_jpeg(PATH, jpeg_bytes(pixels, quality=90)).damage is None
    pixels = np.random.default_rng(0).integers(0, 2, (400, 600, 1), dtype=np.uint8).repeat(3, 2) * 255
    assert read_jpeg(PATH, jpeg_bytes(pixels, quality=60)).damage is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_oddities_of_metadata_are_no_damage(options: dict[str, object]) -> None:
    data = jpeg_bytes(scene(), **options)
    jfif = data.index(b"JFIF\0")
    unknown_version = data[: jfif + 5] + b"\x07" + data[jfif + 6 :]
    with_gap = data[:2] + bytes(5) + data[2:]
    with_half_icc = data[:2] + b"\xff\xe2\0\x14ICC_PROFILE\0\x03\x07abcd" + data[2:]
    sound = read_jpeg(PATH, data)
    for odd in (unknown_version, with_gap, with_half_icc):
        frame = read_jpeg(PATH, odd)
        assert frame.damage is None
        np.testing.assert_array_equal(frame.pixels, sound.pixels)
