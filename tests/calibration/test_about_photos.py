"""What a profile says of the camera that its photos are of."""

from pathlib import Path

import numpy as np
import pytest
from noisy_photos import noisy_scene

from nsp_pipeline.calibration import publish
from nsp_pipeline.calibration.archive import survey
from nsp_pipeline.calibration.archive.survey import camera_noise_of
from nsp_pipeline.calibration.publish import about_photos
from nsp_pipeline.calibration.training.photos import Photo
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.metadata.camera_names import read_aliases

SPELT = [Camera("NIKON CORPORATION", "NIKON D800", 800), Camera("Nikon", "D 800", 1600)]


def photos(cameras: list[Camera]) -> list[Photo]:
    return [Photo(Path("a.jpg"), np.zeros((4, 4, 3), np.uint8), camera) for camera in cameras]


def test_cameras_that_the_user_gave_one_name_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tmp_path / "cameras.toml"
    monkeypatch.setattr(publish, "aliases_file", lambda: names)
    assert about_photos(photos(SPELT))["camera_model"] is None
    read_aliases.cache_clear()
    names.write_text('[aliases]\n"NIKON D800" = "Studio"\n"D 800" = "Studio"\n')
    said = about_photos(photos(SPELT))
    assert (said["camera_model"], said["iso_min"], said["iso_max"]) == ("NIKON D800", 800, 1600)


def test_cameras_of_two_makers_are_not_one_whatever_the_user_calls_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tmp_path / "cameras.toml"
    names.write_text('[aliases]\n"NIKON D800" = "Studio"\n"ILCE-7M2" = "Studio"\n')
    monkeypatch.setattr(publish, "aliases_file", lambda: names)
    monkeypatch.setattr(survey, "aliases_file", lambda: names)
    both = [SPELT[0], Camera("SONY", "ILCE-7M2", 800)]
    assert about_photos(photos(both))["camera_model"] is None
    assert camera_noise_of([(camera, noisy_scene(0, 128, 128)) for camera in both]) is None


def test_a_broken_table_of_names_loses_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tmp_path / "cameras.toml"
    names.write_text("broken")
    monkeypatch.setattr(publish, "aliases_file", lambda: names)
    assert about_photos(photos(SPELT[:1]))["camera_model"] == "NIKON D800"
