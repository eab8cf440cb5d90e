"""One name for each camera."""

from pathlib import Path

import pytest

from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import camera_name, read_aliases


@pytest.mark.parametrize(
    ("make", "model", "name"),
    [
        ("NIKON CORPORATION", "NIKON D800", "Nikon D800"),
        ("Nikon", "D800", "Nikon D800"),
        ("nikon", "Nikon  D800 ", "Nikon D800"),
        ("Canon", "Canon EOS 5D Mark II", "Canon EOS 5D Mark II"),
        ("SONY", "ILCE-7M2", "Sony ILCE-7M2"),
        ("OLYMPUS IMAGING CORP.", "E-M1", "Olympus E-M1"),
        ("HUAWEI", "EVA-L09", "Huawei EVA-L09"),
        ("HTC", "Desire", "HTC Desire"),
        (None, "D800", "D800"),
        ("🦊/..\\", "a/b", "🦊/..\\ a/b"),
    ],
)
def test_spellings_of_one_camera_are_one_name(make: str | None, model: str, name: str) -> None:
    assert camera_name(Camera(make, model), {}) == name


def test_no_model_is_no_name() -> None:
    assert camera_name(Camera("Canon", None), {}) is None


@pytest.mark.parametrize("said", ["NIKON CORPORATION NIKON D800", "nikon d800", "D800 "])
def test_users_may_name_their_cameras(tmp_path: Path, said: str) -> None:
    table = tmp_path / "cameras.toml"
    table.write_text(f'[aliases]\n"{said}" = "Studio A"\n', encoding="utf-8")
    make, model = ("NIKON CORPORATION", "NIKON D800") if "ORATION" in said else ("Nikon", "D800")
    assert camera_name(Camera(make, model), read_aliases(table)) == "Studio A"


def test_without_a_table_there_are_no_aliases(tmp_path: Path) -> None:
    assert read_aliases(tmp_path / "cameras.toml") == {}


@pytest.mark.parametrize(
    "text", ["[aliases", "[alias]\na = 1", '[aliases]\n"a" = 3', "aliases = 5", '[aliases]\n"a" = ""']
)
def test_a_broken_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    table = tmp_path / "cameras.toml"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"cameras\.toml"):
        read_aliases(table)
