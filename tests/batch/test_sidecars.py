"""Sidecars (.xmp) go along with their photos, and what they say goes into photos that do not say it themselves."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_runs import hashes, save_photo, strays
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.sidecar import description_of, with_sidecar

Nsp = Callable[..., Finished]
HEAD = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" '
)
TAIL = '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
KEYWORDS = "<dc:subject><rdf:Bag><rdf:li>{}</rdf:li></rdf:Bag></dc:subject>"
SIDECAR = (HEAD + 'xmp:Rating="5" crs:Exposure2012="+2.00">' + KEYWORDS.format("heron") + TAIL).encode()


def folder_with(tmp_path: Path, photo: str, sidecar: str, content: bytes = SIDECAR) -> Path:
    save_photo(tmp_path / "in" / photo)
    (tmp_path / "in" / sidecar).write_bytes(content)
    return tmp_path / "in"


@pytest.mark.parametrize("photo", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("sidecar", ["a.xmp", "{}.xmp", "a.XMP"])
def test_a_sidecar_goes_along_and_its_words_into_the_photo(nsp: Nsp, tmp_path: Path, photo: str, sidecar: str) -> None:
    name = sidecar.format(photo)
    ended = nsp("denoise", folder_with(tmp_path, photo, name), tmp_path / "out")
    assert ended.code == 0
    assert "1 sidecar (.xmp) beside photos" in ended.err
    assert "no photo" not in ended.err
    assert (tmp_path / "out" / name).read_bytes() == SIDECAR
    packet = read_frame(tmp_path / "out" / photo).metadata.xmp
    assert packet
    assert b"heron" in packet
    assert b'Rating="5"' in packet
    assert b"Exposure2012" not in packet
    assert not strays(tmp_path / "out")


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_names_follow_the_output(nsp: Nsp, tmp_path: Path, kind: str) -> None:
    folder = folder_with(tmp_path, "a.png", "a.png.xmp")
    nsp("denoise", folder, tmp_path / "out", "--format", kind, "--suffix", "-clean")
    suffix = {"jpeg": ".jpg", "png": ".png", "tiff": ".tif"}[kind]
    assert sorted(hashes(tmp_path / "out")) == [f"a-clean{suffix}", f"a-clean{suffix}.xmp"]
    packet = read_frame(tmp_path / "out" / f"a-clean{suffix}").metadata.xmp
    assert packet
    assert b"heron" in packet


@pytest.mark.parametrize("raw", ["a.nef", "a.CR2"])
def test_settings_for_a_raw_file_reach_no_picture_by_way_of_the_jpeg_beside_it(
    nsp: Nsp, tmp_path: Path, raw: str
) -> None:
    folder = folder_with(tmp_path, "a.jpg", "a.xmp")
    (folder / raw).write_bytes(b"no more than its name")
    nsp("denoise", folder, tmp_path / "out")
    packet = (tmp_path / "out" / "a.xmp").read_bytes()
    assert b"heron" in packet
    assert b"Exposure2012" not in packet


def test_a_photo_keeps_its_own_words(nsp: Nsp, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", "a.xmp")
    own = (HEAD + 'xmp:Rating="2">' + KEYWORDS.format("egret") + TAIL).encode()
    Image.open(folder / "a.jpg").save(folder / "a.jpg", xmp=own)
    nsp("denoise", folder, tmp_path / "out")
    assert read_frame(tmp_path / "out" / "a.jpg").metadata.xmp == own
    rated = (HEAD + 'xmp:Rating="2">' + TAIL).encode()
    Image.open(folder / "a.jpg").save(folder / "a.jpg", xmp=rated)
    nsp("denoise", folder, tmp_path / "out")
    packet = read_frame(tmp_path / "out" / "a.jpg").metadata.xmp
    assert packet
    assert b"heron" in packet
    assert b'Rating="2"' in packet
    assert b'Rating="5"' not in packet


def test_no_sidecar_is_written_over_and_a_missing_one_comes_back(nsp: Nsp, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", "a.xmp")
    nsp("denoise", folder, tmp_path / "out")
    (tmp_path / "out" / "a.xmp").write_bytes(b"edited")
    assert "1 skipped" in nsp("denoise", folder, tmp_path / "out").err
    assert (tmp_path / "out" / "a.xmp").read_bytes() == b"edited"
    (tmp_path / "out" / "a.xmp").unlink()
    nsp("denoise", folder, tmp_path / "out")
    assert (tmp_path / "out" / "a.xmp").read_bytes() == SIDECAR


def test_strangers_are_no_sidecars(nsp: Nsp, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a.jpg", "b.xmp")
    ended = nsp("denoise", folder, tmp_path / "out", "--json")
    assert "ignored 1 file that is no photo (.xmp)" in ended.err
    assert json.loads(ended.out)["search"]["sidecars"] == 0
    assert sorted(hashes(tmp_path / "out")) == ["a.jpg"]


@pytest.mark.parametrize("content", [b"", b"no xml", b"<a/>", SIDECAR[:300], b'<?xml version="1.0"?><!DOCTYPE x>'])
def test_a_broken_sidecar_goes_along_and_does_no_harm(nsp: Nsp, tmp_path: Path, content: bytes) -> None:
    folder = folder_with(tmp_path, "a.jpg", "a.xmp", content)
    assert nsp("denoise", folder, tmp_path / "out").code == 0
    assert (tmp_path / "out" / "a.xmp").read_bytes() == content


def test_a_sidecar_that_cannot_be_read_is_named(nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("nsp_pipeline.batch.output.sidecars.read_sidecar", refuse)
    ended = nsp("denoise", folder_with(tmp_path, "a.jpg", "a.xmp"), tmp_path / "out", "--json")
    assert json.loads(ended.out)["photos"][0]["lost"] == ["the sidecar a.xmp, which cannot be read (Permission denied)"]


def test_a_sidecar_too_large_to_be_one_is_named_and_not_cut_short(
    nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nsp_pipeline.frames.sidecar.LONGEST", len(SIDECAR) - 1)
    ended = nsp("denoise", folder_with(tmp_path, "a.jpg", "a.xmp"), tmp_path / "out", "--json")
    (lost,) = json.loads(ended.out)["photos"][0]["lost"]
    assert lost.startswith("the sidecar a.xmp, which cannot be read (larger than")
    assert sorted(hashes(tmp_path / "out")) == ["a.jpg"]


def test_settings_for_developing_are_no_description() -> None:
    description = description_of(SIDECAR)
    assert description
    assert b"Exposure2012" not in description
    assert description_of((HEAD + 'crs:Exposure2012="+2.00">' + TAIL).encode()) is None
    assert description_of(SIDECAR, SIDECAR) is None


def test_with_a_packet_of_our_own_nothing_is_said_twice(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png")
    once = with_sidecar(read_frame(tmp_path / "a.png"), SIDECAR)
    assert with_sidecar(once, SIDECAR) == once
