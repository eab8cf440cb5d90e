"""What photos say of their camera's noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noisy_photos import noisy_scene

from nsp_pipeline.calibration.archive import survey
from nsp_pipeline.calibration.archive.survey import camera_noise_of
from nsp_pipeline.frames.frame import Camera

OURS = Camera("Maker", "Maker One", 800)


def shots(seeds: Sequence[int], camera: Camera = OURS, sigma: float = 6) -> list[tuple[Camera, Any]]:
    return [(camera, noisy_scene(seed, 128, 128, sigma)) for seed in seeds]


def test_it_is_that_of_the_photos_by_their_iso() -> None:
    louder = Camera("MAKER", "One", 3200)  # the same, as others spell it
    found = camera_noise_of(shots(range(3)) + shots(range(3, 6), louder, sigma=12))
    assert found is not None
    assert (found.isos, found.photos) == ((800, 3200), (3, 3))
    for prior, sigma in zip(found.priors, (6, 12), strict=True):
        grey, _, colour, _ = prior.table[0, :, 4]
        assert 255 * np.hypot(grey, colour) == pytest.approx(sigma, rel=0.15)


def test_photos_of_two_cameras_have_no_noise_in_common() -> None:
    assert camera_noise_of(shots([0]) + shots([1], Camera("Maker", "Maker Two", 800))) is None


def test_cameras_go_by_the_user_s_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "cameras.toml"
    table.write_text('[aliases]\n"Maker Two" = "Maker One"\n')
    monkeypatch.setattr(survey, "aliases_file", lambda: table)
    found = camera_noise_of(shots([0]) + shots([1], Camera("Maker", "Maker Two", 800)))
    assert found is not None
    assert found.photos == (2,)


def test_photos_that_name_no_camera_are_left_out_where_others_name_theirs() -> None:
    found = camera_noise_of(shots([0, 1]) + shots([2], Camera()) + shots([3], Camera(iso=800)))
    assert found is not None
    assert (found.isos, found.photos) == ((800,), (2,))
    unnamed = camera_noise_of(shots([0, 1], Camera()))
    assert unnamed is not None
    assert (unnamed.isos, unnamed.photos) == ((None,), (2,))


def test_an_edited_photo_among_originals_hardly_counts() -> None:
    found = camera_noise_of([*shots(range(6)), *shots([6], sigma=20)])
    alone = camera_noise_of(shots(range(6)))
    assert found is not None
    assert alone is not None
    np.testing.assert_allclose(found.priors[0].level[:, 3], alone.priors[0].level[:, 3], atol=0.12)


def test_drawings_and_photos_that_store_light_say_nothing() -> None:
    drawing = np.full((128, 128, 3), 90, np.uint8)
    light = noisy_scene(0, 128, 128).astype(np.float32) / 255
    assert camera_noise_of([(OURS, drawing), (OURS, light)]) is None
    assert camera_noise_of([]) is None
