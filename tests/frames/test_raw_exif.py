"""What RAW files say of the shot, wherever their makers put it."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.frames.formats.raw.ciff import read_ciff
from nsp_pipeline.frames.formats.raw.exif import RawExif, read_raw_exif
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import (
    EXIF_IFD,
    GPS_IFD,
    Directory,
    Entry,
    Structure,
    rational_entry,
    serialise,
    short_entry,
    text_entry,
)
from nsp_pipeline.frames.read import read_camera, read_frame
from nsp_pipeline.frames.write import OutputKind, write_frame

NOTHING = {"iso": 0, "exposure": 0.0, "aperture": 0.0, "focal_length": 0.0, "taken": "", "artist": ""}
REPORTED = {
    "iso": 50,
    "exposure": 0.00971,
    "aperture": 2.8,
    "focal_length": 7.09375,
    "taken": "2021:04:08 14:51:12",
    "artist": "",
}
SHOT = {
    33434: rational_entry("<", (1, 50)),
    33437: rational_entry("<", (28, 10)),
    34855: short_entry("<", 3200),
    36867: text_entry("2024:05:06 07:08:09"),
    37386: rational_entry("<", (35, 1)),
}


def mosaic(path: Path, options: DngOptions) -> Path:
    shot = photograph(RawCamera(), np.full((64, 96, 3), 0.3), np.random.default_rng(0))
    return write_raw(path, shot, options)


def shot_tags(found: RawExif) -> dict[int, bytes]:
    return {tag: entry.data for tag, entry in found.structure.root.children[EXIF_IFD].entries.items()}


def test_tags_of_the_shot_that_stand_in_the_main_directory_go_where_programs_look(tmp_path: Path) -> None:
    path = mosaic(tmp_path / "a.dng", DngOptions(entries=SHOT))
    found = shot_tags(read_raw_exif(path, NOTHING, b""))
    assert {tag: found[tag] for tag in SHOT if tag != 34855} == {t: e.data for t, e in SHOT.items() if t != 34855}


def test_a_developed_picture_says_what_exif_wants_of_every_file(tmp_path: Path) -> None:
    frame = read_frame(mosaic(tmp_path / "a.dng", DngOptions(entries=SHOT)))
    write_frame(frame, tmp_path / "a.tif", kind=OutputKind.TIFF, bit_depth=None, quality=None)
    structure = read_structure(read_frame(tmp_path / "a.tif").metadata.exif)
    assert structure
    shot = structure.root.children[EXIF_IFD].entries
    assert (shot[36864].data, shot[40960].data) == (b"0230", b"0100")
    assert struct.unpack("<II", structure.root.entries[282].data) == (72, 1)


def test_xmp_and_iptc_of_a_dng_stand_in_what_is_made_of_it(tmp_path: Path) -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rating>5</rating></x:xmpmeta>'
    iptc = Entry(1, b"\x1c\x02\x19\0\x03sun")
    path = mosaic(tmp_path / "a.dng", DngOptions(xmp=packet, entries={33723: iptc, 315: text_entry("Ada")}))
    frame = read_frame(path)
    write_frame(frame, tmp_path / "a.tif", kind=OutputKind.TIFF, bit_depth=None, quality=None)
    again = read_frame(tmp_path / "a.tif").metadata
    structure = read_structure(again.exif)
    assert structure is not None
    assert again.xmp == packet
    assert structure.root.entries[33723].data == iptc.data
    assert structure.text(structure.root.entries[315]) == "Ada"


def crw(records: dict[int, bytes]) -> bytes:
    """A CIFF file of one heap inside another."""

    def heap(parts: dict[int, bytes]) -> bytes:
        body, table = b"", struct.pack("<H", len(parts))
        for kind, data in parts.items():
            table += struct.pack("<HII", kind, len(data), len(body))
            body += data
        return body + table + struct.pack("<I", len(body))

    return b"II" + struct.pack("<I", 26) + b"HEAPCCDR" + bytes(12) + heap({0x300A: heap(records)})


def test_a_crw_says_exactly_what_canon_wrote(tmp_path: Path) -> None:
    info = [0] * 33
    info[21], info[22] = 99, 214
    records = {
        0x080A: b"Canon\0Canon PowerShot S40\0",
        0x0810: b"Elia\0",
        0x102A: struct.pack("<33h", *info),
        0x1029: struct.pack("<4h", 2, 227, 286, 215),
        0x180E: struct.pack("<3I", 1617893472, 0, 0),
    }
    (tmp_path / "a.crw").write_bytes(crw(records))
    facts = read_ciff(tmp_path / "a.crw")
    assert (facts["make"], facts["model"], facts["artist"]) == ("Canon", "Canon PowerShot S40", "Elia")
    assert facts["taken"] == "2021:04:08 14:51:12"
    assert facts["focal_length"] == 7.09375
    assert facts["aperture"] == pytest.approx(2.92, abs=0.01)
    found = read_raw_exif(tmp_path / "a.crw", REPORTED, b"")
    assert found.structure.text(found.structure.root.entries[271]) == "Canon"
    assert struct.unpack("<II", shot_tags(found)[33434]) == (1, 103)
    assert found.left_out == ("the maker's notes",), "the rest of Canon's records, which no other file holds"


@pytest.mark.parametrize("stops", [182, 118, -35, 1, 320])
def test_times_of_exposure_are_not_rounded(tmp_path: Path, stops: int) -> None:
    info = [0] * 33
    info[21], info[22] = 99, stops
    (tmp_path / "a.crw").write_bytes(crw({0x080A: b"Canon\0S40\0", 0x102A: struct.pack("<33h", *info)}))
    above, below = struct.unpack("<II", shot_tags(read_raw_exif(tmp_path / "a.crw", REPORTED, b""))[33434])
    assert above / below == pytest.approx(read_ciff(tmp_path / "a.crw")["exposure"], rel=0.002)


def test_a_damaged_crw_says_nothing_instead(tmp_path: Path) -> None:
    whole = crw({0x080A: b"Canon\0Canon PowerShot S40\0"})
    for end in (8, 20, 30, len(whole) - 3):
        (tmp_path / "a.crw").write_bytes(whole[:end])
        assert "model" not in read_ciff(tmp_path / "a.crw")


def preview(software: str | None) -> bytes:
    exif = Image.Exif()
    exif[271], exif[272] = "Sigma", "SD1"
    if software:
        exif[305] = software
    exif.get_ifd(EXIF_IFD)[33434] = IFDRational(1, 99)
    data = BytesIO()
    Image.new("RGB", (16, 16)).save(data, "JPEG", exif=exif)
    return data.getvalue()


def test_what_libraw_makes_up_for_a_preview_is_not_taken_for_the_cameras_word(tmp_path: Path) -> None:
    (tmp_path / "a.x3f").write_bytes(b"FOVb" + bytes(100))
    made_up = read_raw_exif(tmp_path / "a.x3f", REPORTED, preview("dcraw v9.28")).structure
    assert made_up.text(made_up.root.entries[272]) == "SD1"
    assert 305 not in made_up.root.entries
    assert struct.unpack("<II", made_up.root.children[EXIF_IFD].entries[33434].data) == (1, 103)
    said = read_raw_exif(tmp_path / "a.x3f", REPORTED, preview(None)).structure
    assert struct.unpack(said.order + "II", said.root.children[EXIF_IFD].entries[33434].data) == (1, 99)


def test_the_exif_of_a_cr3_is_put_together_from_its_boxes(tmp_path: Path) -> None:
    def box(name: bytes, directory: Directory) -> bytes:
        data = serialise(Structure("<", directory))
        return struct.pack(">I", 8 + len(data)) + name + data

    boxes = box(b"CMT1", Directory({271: text_entry("Canon"), 272: text_entry("EOS R5")}))
    boxes += box(b"CMT2", Directory(SHOT)) + box(b"CMT4", Directory({1: text_entry("N")}))
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rating>5</rating></x:xmpmeta>'
    boxes += box(b"CMT3", Directory({1: text_entry("what Canon alone knows")}))
    boxes += struct.pack(">I4s", 24 + len(packet), b"uuid") + bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC") + packet
    (tmp_path / "a.cr3").write_bytes(struct.pack(">I", 24) + b"ftypcrx " + bytes(12) + boxes)
    found = read_raw_exif(tmp_path / "a.cr3", NOTHING, b"")
    assert found.structure.text(found.structure.root.entries[272]) == "EOS R5"
    assert shot_tags(found)[36867] == b"2024:05:06 07:08:09\0"
    assert found.structure.root.children[GPS_IFD].entries[1].data == b"N\0"
    assert (found.xmp, found.left_out) == (packet, ("the maker's notes",))


def test_the_exif_of_an_mrw_lies_in_one_of_its_blocks(tmp_path: Path) -> None:
    data = serialise(Structure(">", Directory({271: text_entry("Minolta")})))
    blocks = b"\0PRD" + struct.pack(">I", 4) + bytes(4) + b"\0TTW" + struct.pack(">I", len(data)) + data
    (tmp_path / "a.mrw").write_bytes(b"\0MRM" + struct.pack(">I", len(blocks)) + blocks)
    found = read_raw_exif(tmp_path / "a.mrw", NOTHING, b"")
    assert found.structure.text(found.structure.root.entries[271]) == "Minolta"


def test_real_crw_and_kdc_keep_date_aperture_exposure_and_focal_length(shared_data: Path) -> None:
    files = [path for path in sorted((shared_data / "raw").glob("*")) if path.suffix in (".CRW", ".KDC")]
    if not files:
        pytest.skip("no real RAW files")
    for path in files:
        assert read_camera(path).make in ("Canon", "Eastman Kodak Company")
        structure = read_structure(read_frame(path).metadata.exif)
        assert structure is not None
        assert {33434, 33437, 37386} <= set(structure.root.children[EXIF_IFD].entries)
        assert not (structure.text(structure.root.entries.get(305)) or "").startswith("dcraw")


def test_a_maker_note_stays_where_its_offsets_count_from_in_a_developed_picture_too(tmp_path: Path) -> None:
    note = b"a maker's own " * 150
    path = mosaic(tmp_path / "a.dng", DngOptions(exif={**SHOT, 37500: Entry(7, note)}))
    write_frame(read_frame(path), tmp_path / "a.tif", kind=OutputKind.TIFF, bit_depth=None, quality=None)
    assert (tmp_path / "a.tif").read_bytes().index(note) == path.read_bytes().index(note)
