"""MakerNotes: their offsets count from the file's beginning, so they stay at their place, or go, and that is said."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from judges import Listed
from photos import jpeg_bytes, scene, segment, with_segments

from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.metadata.exif import with_structure
from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    MAKE,
    MAKER_NOTE,
    MODEL,
    UNDEFINED,
    Directory,
    Entry,
    FileSlices,
    Order,
    Structure,
    parse,
    serialise,
    text_entry,
)
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

KINDS = [OutputKind.TIFF, OutputKind.PNG, OutputKind.JPEG]
SERIAL = b"SN-24681357-OUT-OF-LINE\0"
MAKERS = {
    "SIGMA": (b"SIGMA\0\0\0\1\0", 2, "Sigma:SerialNumber"),
    "Panasonic": (b"Panasonic\0\0\0", 0x25, None),
    "SONY": (b"SONY DSC \0\0\0", 0xB020, "Sony:CreativeStyle"),
    "Canon": (b"", 6, "Canon:CanonImageType"),
    "OLYMPUS IMAGING CORP.": (b"OLYMP\0\1\0", 0x207, "Olympus:CameraType"),
    "PENTAX Corporation": (b"", 0xE, None),
    "Minolta Co., Ltd.": (b"", 0xE00, None),
    "CASIO COMPUTER CO.,LTD.": (b"QVC\0\0\0", 0x2001, "Casio:FirmwareDate"),
}
"""How each maker's notes begin, a tag of theirs that holds text, and what exiftool calls it."""


def note(maker: str, order: Order, place: int) -> bytes:
    """A MakerNote with one text that lies out of line, its offset counted from the file's beginning."""
    head, tag, _ = MAKERS[maker]
    start = place + len(head) + 2 + 12 + 4
    row = struct.pack(f"{order}HHII", tag, 2, len(SERIAL), start)
    return head + struct.pack(f"{order}H", 1) + row + bytes(4) + SERIAL


def exif_with_note(maker: str, order: Order = "<", place: int = 700) -> bytes:
    shot = Directory({MAKER_NOTE: Entry(UNDEFINED, note(maker, order, place), place)})
    root = Directory({MAKE: text_entry(maker), MODEL: text_entry("Test")}, {EXIF_IFD: shot})
    return serialise(Structure(order, root))


def place_in(path: Path) -> int | None:
    """Where the MakerNote lies in a file, counted as its own offsets are."""
    frame = read_frame(path)
    if frame.kind is Kind.TIFF:
        with path.open("rb") as file:
            found = parse(FileSlices(file)).root.children[EXIF_IFD].entries.get(MAKER_NOTE)
    else:
        assert frame.metadata.exif
        found = parse(frame.metadata.exif).root.children[EXIF_IFD].entries.get(MAKER_NOTE)
    return found.pinned if found else None


def written(source: Path, target: Path, kind: OutputKind) -> Path:
    frame = read_frame(source)
    write_frame(frame, target, kind=kind, bit_depth=None, quality=None)
    verify_written(target, frame, kind=kind, bit_depth=None)
    return target


def jpeg_of(maker: str, path: Path) -> Path:
    order: Order = "<" if len(maker) % 2 else ">"
    path.write_bytes(with_segments(jpeg_bytes(scene()), segment(0xE1, b"Exif\0\0" + exif_with_note(maker, order))))
    return path


@pytest.mark.parametrize("maker", ["SIGMA", "Canon"])
def test_a_maker_note_stays_at_its_place_through_any_two_conversions(tmp_path: Path, maker: str) -> None:
    jpeg = jpeg_of(maker, tmp_path / "a.jpg")
    for first in KINDS:
        once = written(jpeg, tmp_path / f"once.{first}", first)
        assert place_in(once) == 700
        for second in KINDS:
            assert place_in(written(once, tmp_path / f"twice.{second}", second)) == 700


def test_exiftool_reads_the_same_out_of_the_notes_of_eight_makers(tmp_path: Path, exiftool: Listed) -> None:
    jpegs = [jpeg_of(maker, tmp_path / f"{number}.jpg") for number, maker in enumerate(MAKERS)]
    others = [written(jpeg, jpeg.with_suffix(f".out.{kind}"), kind) for kind in KINDS for jpeg in jpegs]
    listed = exiftool(*jpegs, *others)
    for number, (before, (_, _, name)) in enumerate(zip(listed, MAKERS.values(), strict=False)):
        if name:
            assert before[name] == SERIAL.rstrip(b"\0").decode()
        wanted = {tag: value for tag, value in before.items() if not tag.startswith("JFIF")}
        for after in listed[number + len(jpegs) :: len(jpegs)]:
            assert wanted.items() <= after.items()


def test_a_note_behind_the_pixels_of_a_tiff_stays_there(tmp_path: Path) -> None:
    source = read_frame(written_tiff(tmp_path / "a.tif", place=50_000))
    write_frame(source, tmp_path / "b.tif", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(tmp_path / "b.tif", source, kind=OutputKind.KEEP, bit_depth=None)
    assert place_in(tmp_path / "b.tif") == 50_000
    assert read_frame(tmp_path / "b.tif").metadata.exif == source.metadata.exif


@pytest.mark.parametrize(("maker", "kept"), [(b"Nikon\0\2\x10\0\0MM\0*", True), (b"SIGMA\0\0\0\1\0", False)])
def test_a_note_too_far_for_jpeg_goes_unless_it_is_true_anywhere(tmp_path: Path, maker: bytes, kept: bool) -> None:
    path = written_tiff(tmp_path / "a.tif", place=200_000, data=maker + bytes(30))
    found = read_frame(written(path, tmp_path / "b.jpg", OutputKind.JPEG)).metadata.exif
    assert found
    assert (MAKER_NOTE in parse(found).root.children[EXIF_IFD].entries) == kept


@pytest.mark.parametrize("place", [8, 9, 31, 250])
def test_other_values_make_room_for_a_note_near_the_beginning(tmp_path: Path, place: int) -> None:
    exif = exif_with_note("SIGMA", place=place)
    found = parse(exif)
    assert found.root.children[EXIF_IFD].entries[MAKER_NOTE].pinned == place
    assert exif[place:].startswith(MAKERS["SIGMA"][0])
    assert found.text(found.root.entries[MODEL]) == "Test"


def test_two_notes_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    ours, theirs = (Entry(UNDEFINED, name * 8, place) for name, place in ((b"OURS", 600), (b"THEIRS", 610)))
    root = Directory({MAKER_NOTE: Entry(UNDEFINED, theirs.data)}, {EXIF_IFD: Directory({MAKER_NOTE: ours})})
    exif = serialise(Structure("<", root))
    (tmp_path / "a.jpg").write_bytes(with_segments(jpeg_bytes(scene()), segment(0xE1, b"Exif\0\0" + exif)))
    with written(tmp_path / "a.jpg", tmp_path / "b.tif", OutputKind.TIFF).open("rb") as file:
        found = parse(FileSlices(file)).root
    assert found.children[EXIF_IFD].entries[MAKER_NOTE].pinned == 600
    assert found.children[EXIF_IFD].entries[MAKER_NOTE].data == ours.data
    assert found.entries[MAKER_NOTE].data == theirs.data


def written_tiff(path: Path, *, place: int, data: bytes | None = None) -> Path:
    """A TIFF whose MakerNote lies at a place."""
    exif = exif_with_note("SIGMA")
    jpeg = path.with_suffix(".src.jpg")
    jpeg.write_bytes(with_segments(jpeg_bytes(scene(80, 100)), segment(0xE1, b"Exif\0\0" + exif)))
    frame = read_frame(jpeg)
    root = parse(exif).root
    entry = Entry(UNDEFINED, data or note("SIGMA", "<", place), place)
    moved = Structure("<", Directory(root.entries, {EXIF_IFD: Directory({MAKER_NOTE: entry})}))
    frame = replace(frame, kind=Kind.TIFF, metadata=with_structure(Metadata(), moved))
    write_frame(frame, path, kind=OutputKind.KEEP, bit_depth=None, quality=None)
    assert place_in(path) == place
    return path


@pytest.mark.parametrize("kind", [OutputKind.PNG, OutputKind.JXL, OutputKind.AVIF])
def test_notes_far_back_in_a_tiff_blow_up_no_other_file(tmp_path: Path, kind: OutputKind) -> None:
    far = 5 << 20
    shot = Directory({MAKER_NOTE: Entry(UNDEFINED, note("Canon", "<", far), far)})
    root = Directory({MAKE: text_entry("Canon"), MODEL: text_entry("Test")}, {EXIF_IFD: shot})
    metadata = with_structure(Metadata(), Structure("<", root))
    frame = Frame(scene(), None, Kind.TIFF, metadata, Camera())
    write_frame(frame, tmp_path / "b", kind=kind, bit_depth=None, quality=None)
    assert verify_written(tmp_path / "b", frame, kind=kind, bit_depth=None) == ("the maker's notes",)
    assert (tmp_path / "b").stat().st_size < 100_000
