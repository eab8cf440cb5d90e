"""Which photos belong together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nsp_pipeline.calibration.archive.groups import Group, by_camera, group_photos, is_edited, merge_alike, only
from nsp_pipeline.core.correlation import LAGS
from nsp_pipeline.core.noise_curve import BrokenLine, NoiseCurve
from nsp_pipeline.core.noise_field import NoiseField
from nsp_pipeline.frames.frame import Camera, Facts, Kind


def save(
    path: Path,
    *,
    camera: tuple[str, str] | None = ("NIKON CORPORATION", "NIKON D800"),
    iso: int | None = None,
    size: tuple[int, int] = (48, 32),
    shot: tuple[int, int] | None = None,
    software: str | None = None,
) -> Path:
    exif = Image.Exif()
    if camera:
        exif[271], exif[272] = camera
    if software:
        exif[305] = software
    if iso:
        exif.get_ifd(0x8769)[34855] = iso
    if shot:
        exif.get_ifd(0x8769)[40962], exif.get_ifd(0x8769)[40963] = shot
    Image.new("RGB", size, (90, 100, 110)).save(path, exif=exif)
    return path


def groups_of(*paths: Path) -> list[Group]:
    groups, refused = group_photos(sorted(paths), {})
    assert not refused
    return groups


def noise(sigma: float, low: float = 0.1, high: float = 0.9) -> NoiseField:
    curve = NoiseCurve(0.0, sigma**2, BrokenLine(np.array([low, high]), np.full(2, sigma**2)), straight=True)
    correlation = np.zeros((1, 2 * LAGS + 1, 2 * LAGS + 1))
    correlation[0, LAGS, LAGS] = 1
    return NoiseField((curve,), correlation, 100, np.eye(1))


def test_two_spellings_of_a_camera_are_one_group(tmp_path: Path) -> None:
    one = save(tmp_path / "1.jpg", iso=800)
    other = save(tmp_path / "2.jpg", camera=("Nikon", "D800"), iso=800)
    (group,) = groups_of(one, other)
    assert group.name == "Nikon D800, ISO 800, JPEG 48×32"
    assert group.paths == (one, other)


def test_iso_falls_into_third_stops(tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{iso}.jpg", iso=iso) for iso in (100, 102, 125, 160, 200, 6400)]
    assert [group.iso for group in groups_of(*photos)] == [(100, 102), (125, 125), (160, 160), (200, 200), (6400, 6400)]


def test_what_looks_alike_but_is_not_stands_apart(tmp_path: Path) -> None:
    plain = save(tmp_path / "1.jpg", iso=800, shot=(48, 32))
    upright = save(tmp_path / "2.jpg", iso=800, size=(32, 48), shot=(48, 32))
    resized = save(tmp_path / "3.jpg", iso=800, shot=(96, 64))
    edited = save(tmp_path / "4.jpg", iso=800, software="Adobe Photoshop CC 2019")
    firmware = save(tmp_path / "5.jpg", iso=800, software="Firmware Version1.01")
    other_size = save(tmp_path / "6.jpg", iso=800, size=(64, 48))
    other_kind = save(tmp_path / "7.png", iso=800)
    groups = groups_of(plain, upright, resized, edited, firmware, other_size, other_kind)
    assert [(group.kind, group.edited, group.paths) for group in groups] == [
        ("JPEG", False, (plain, upright, firmware)),
        ("JPEG", False, (other_size,)),
        ("JPEG", True, (resized, edited)),
        ("PNG", False, (other_kind,)),
    ]


def test_photos_of_one_camera_and_range_of_iso_are_picked(tmp_path: Path) -> None:
    nikon = [save(tmp_path / f"{iso}.jpg", iso=iso) for iso in (400, 800, 1600)]
    canon = save(tmp_path / "canon.jpg", camera=("Canon", "Canon EOS 80D"), iso=800)
    nameless = save(tmp_path / "none.jpg", camera=None)
    broken = tmp_path / "broken.jpg"
    broken.write_text("no photo")
    photos = [*nikon, canon, nameless, broken]
    assert only(photos, {}, camera="NIKON", iso=None) == [*nikon, broken]
    assert only(photos, {}, camera="d800", iso=(400, 800)) == [*nikon[:2], broken]
    assert only(photos, {}, camera=None, iso=(800, 800)) == [nikon[1], canon, broken]


def test_a_cameras_groups_become_one_without_what_was_edited(tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{iso}.jpg", iso=iso) for iso in (400, 800)]
    edited = save(tmp_path / "e.jpg", iso=800, software="GIMP 2.10")
    canon = save(tmp_path / "z.png", camera=("Canon", "Canon EOS 80D"), iso=800)
    first, second = by_camera(groups_of(*photos, edited, canon))
    assert (first.camera, first.paths) == ("Canon EOS 80D", (canon,))
    assert (second.camera, second.iso, second.paths) == ("Nikon D800", (400, 800), tuple(photos))


@pytest.mark.parametrize(
    ("camera", "slug"),
    [
        (("Nikon", "D800"), "nikon-d800-iso-800-jpeg-48x32"),
        (("a/b\\c", "../🦊 :*?"), "a-b-c-..-iso-800-jpeg-48x32"),
        (("m" * 300, "x"), "m" * 80),
    ],
)
def test_a_group_of_any_name_can_be_a_files_name(tmp_path: Path, camera: tuple[str, str], slug: str) -> None:
    (group,) = groups_of(save(tmp_path / "1.jpg", camera=camera, iso=800))
    assert group.slug == slug


def test_photos_without_metadata_come_last_and_together(tmp_path: Path) -> None:
    nameless = [save(tmp_path / f"a{n}.jpg", camera=None) for n in range(2)]
    named = save(tmp_path / "z.jpg", iso=800)
    groups = groups_of(*nameless, named)
    assert [group.camera for group in groups] == ["Nikon D800", None]
    assert groups[1].paths == tuple(nameless)
    assert groups[1].name == "no metadata, ISO ?, JPEG 48×32"


def test_what_cannot_be_read_is_handed_back_with_the_reason(tmp_path: Path) -> None:
    good = save(tmp_path / "good.jpg", iso=800)
    (tmp_path / "bad.jpg").write_text("no photo")
    groups, refused = group_photos([tmp_path / "bad.jpg", good], {})
    assert [group.paths for group in groups] == [(good,)]
    assert [error.path.name for error in refused] == ["bad.jpg"]


def test_neighbouring_bins_with_like_noise_become_one(tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{iso}.jpg", iso=iso) for iso in (100, 125, 160)]
    low, middle, high = groups_of(*photos)
    apart = [
        Group(g.camera, g.kind, g.size, g.edited, g.iso, g.paths, noise(sigma))
        for g, sigma in ((low, 0.010), (middle, 0.0105), (high, 0.02))
    ]
    merged = merge_alike(apart)
    assert [(group.iso, len(group.paths)) for group in merged] == [((100, 125), 2), ((160, 160), 1)]


@pytest.mark.parametrize("other", [None, noise(0.01, 0.9, 0.95)])
def test_bins_of_which_nothing_says_that_they_agree_stay_apart(tmp_path: Path, other: NoiseField | None) -> None:
    low, high = groups_of(*[save(tmp_path / f"{iso}.jpg", iso=iso) for iso in (100, 125)])
    pair = [
        Group(g.camera, g.kind, g.size, g.edited, g.iso, g.paths, field)
        for g, field in ((low, noise(0.01, 0.1, 0.5)), (high, other))
    ]
    assert merge_alike(pair) == pair


@pytest.mark.parametrize(
    ("kind", "software", "edited"),
    [
        (Kind.JPEG, "Adobe Lightroom 6.0", True),
        (Kind.RAW, "Adobe Lightroom 6.0", False),
        (Kind.TIFF, "Adobe Lightroom 6.0", False),
        (Kind.JPEG, "Firmware 1.0", False),
    ],
)
def test_a_program_that_signs_a_raw_file_has_not_changed_its_noise(kind: Kind, software: str, edited: bool) -> None:
    assert is_edited(Facts(kind, Camera(), software)) is edited
