"""TIFFs of several pages: tags of the page that is the photo, pages that go along, and what is named as left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from photos import ICC, scene

from nsp_pipeline.errors import PhotoError
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.metadata.exif import read_structure
from nsp_pipeline.frames.metadata.ifd import ORIENTATION
from nsp_pipeline.frames.read import read_facts, read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

ARTIST, COPYRIGHT = 315, 33432
THUMBNAIL = {"subfiletype": 1, "photometric": "rgb", "metadata": None, "software": False}
PICTURE: dict[str, Any] = {
    "photometric": "rgb",
    "metadata": None,
    "software": False,
    "iccprofile": ICC,
    "extratags": [(ORIENTATION, "H", 1, 6, True), (ARTIST, "s", 0, "Ansel", True), (COPYRIGHT, "s", 0, "mine", True)],
}


def rewritten(frame: Frame, path: Path, kind: OutputKind = OutputKind.KEEP) -> Frame:
    write_frame(frame, path, kind=kind, bit_depth=None, quality=None)
    verify_written(path, frame, kind=kind, bit_depth=None)
    return read_frame(path)


def said(frame: Frame) -> dict[int, object]:
    structure = read_structure(frame.metadata.exif)
    assert structure
    entries = structure.root.entries
    return {tag: structure.text(entries.get(tag)) or structure.numbers(entries.get(tag)) for tag in entries}


def thumbnail_first(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scene(10, 20), extratags=[(272, "s", 0, "Camera", True)], **THUMBNAIL)
        tiff.write(scene(100, 200), **PICTURE)
    return path


def picture_in_sub_ifd(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(scene(10, 20), subifds=1, extratags=[(272, "s", 0, "Camera", True)], **THUMBNAIL)
        tiff.write(scene(100, 200), **PICTURE)
    return path


@pytest.mark.parametrize("make", [thumbnail_first, picture_in_sub_ifd])
@pytest.mark.parametrize("kind", [OutputKind.KEEP, OutputKind.PNG, OutputKind.JPEG])
def test_tags_are_the_pictures_filled_up_from_the_first_page(tmp_path: Path, make: Any, kind: OutputKind) -> None:
    path = make(tmp_path / "a.tif")
    for frame in (read_frame(path), rewritten(read_frame(path), tmp_path / "b", kind)):
        assert frame.pixels.shape == (100, 200, 3)
        assert frame.metadata.icc == ICC
        tags = said(frame)
        assert (tags[ORIENTATION], tags[ARTIST], tags[COPYRIGHT]) == ((6,), "Ansel", "mine")
        assert frame.camera.model == "Camera"
    assert read_facts(path).size == (200, 100)
    assert read_frame(path).metadata.left_out == ("a thumbnail",)


@pytest.mark.parametrize(
    ("options", "subfiletype", "order", "first"),
    [
        ({}, 0, "<", "colour"),
        ({"compression": "lzw"}, 4, ">", "colour"),
        ({"tile": (32, 32), "compression": "zstd"}, 0, ">", "infrared"),
    ],
)
def test_the_infrared_of_a_scanner_goes_along(
    tmp_path: Path, options: dict[str, Any], subfiletype: int, order: str, first: str
) -> None:
    colour, infrared = scene(90, 70, dtype="uint16"), scene(90, 70, channels=1, dtype="uint16", seed=1)[..., 0]
    pages: list[tuple[Any, dict[str, Any]]] = [
        (colour, {"photometric": "rgb"}),
        (infrared, {"photometric": "minisblack", **options}),
    ]
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order) as tiff:
        for pixels, how in pages if first == "colour" else pages[::-1]:
            tiff.write(pixels, metadata=None, subfiletype=0, **how)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[1 if first == "colour" else 0].tags["NewSubfileType"].overwrite(subfiletype)
    frame = read_frame(tmp_path / "a.tif")
    np.testing.assert_array_equal(frame.pixels, colour)
    again = rewritten(frame, tmp_path / "b.tif")
    np.testing.assert_array_equal(again.pixels, colour)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert len(tiff.pages) == 2
        np.testing.assert_array_equal(tiff.pages[1].asarray(), infrared)


def test_pages_that_are_several_photos_are_refused_by_their_number(tmp_path: Path) -> None:
    for second in (scene(90, 70, seed=1), scene(40, 50, channels=1)[..., 0]):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(scene(90, 70), photometric="rgb", metadata=None)
            tiff.write(second, photometric="rgb" if second.ndim == 3 else "minisblack", metadata=None)
        if second.ndim == 3:
            with pytest.raises(PhotoError, match="2 pages"):
                read_frame(tmp_path / "a.tif")


def test_layers_and_previews_are_named(tmp_path: Path) -> None:
    layers = [(37724, "B", 400, bytes(400), True)]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(scene(90, 70), photometric="rgb", metadata=None, subifds=1, extratags=layers)
        tiff.write(scene(9, 7), photometric="rgb", metadata=None, subfiletype=1)
    assert read_frame(tmp_path / "a.tif").metadata.left_out == ("Photoshop layers", "a preview")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_developed_picture_that_kept_its_dng_version_is_a_tiff(tmp_path: Path, dtype: str) -> None:
    tags = [(50706, "B", 4, bytes((1, 4, 0, 0)), True), (50708, "s", 0, "Camera", True)]
    pixels = scene(dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags, metadata=None)
    frame = read_frame(tmp_path / "a.tif")
    assert frame.kind is Kind.TIFF
    np.testing.assert_array_equal(frame.pixels, pixels)
