"""The noise that a profile was calibrated on, as a table, and as what is known of a photo beforehand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_levels import seen, times
from noisy_photos import noisy_scene
from numpy.typing import NDArray
from small_bundle import FIELDS

from nsp_pipeline.core.camera_noise import CameraNoise, camera_noise
from nsp_pipeline.core.noise_prior import NoisePrior, level_of, sigma_of
from nsp_pipeline.denoise.known_noise import known_noise
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.frames.frame import Camera, Kind
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.windows import BLOCK
from nsp_pipeline.profiles.bundle import Profile, load_profile, write_profile
from nsp_pipeline.profiles.noise import measured_noise, prior_for
from nsp_pipeline.profiles.noise_file import NOISE_FILE, noise_file, read_noise

STRAIGHT = {"a": 1e-3, "b": 1e-4, "straight": True, "brightness": [0.1, 0.9], "variance": [2e-4, 1e-3]}
BENT = {"a": 0.0, "b": 0.0, "straight": False, "brightness": [0.0, 0.5, 1.0], "variance": [1e-4, 9e-4, 1e-4]}


def profile(folder: Path, **fields: Any) -> Any:
    return write_profile(folder / "p.nsp", {**FIELDS, **fields}, {})


def test_measured_noise_becomes_a_table(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[BENT] * 3, noise_correlation=[0.6, 0.3, 0.2]))
    assert found is not None
    assert found.source == "profile small"
    level = np.hypot(found.table[0, 0], found.table[0, 2])
    np.testing.assert_allclose(level**2, np.interp(np.linspace(0, 1, 8), [0, 0.5, 1], [1e-4, 9e-4, 1e-4]), rtol=1e-4)
    assert (found.table[0, 1] > 1.5 * found.table[0, 0]).all()


def test_beyond_the_brightnesses_that_were_seen_noise_is_that_of_the_nearest(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[STRAIGHT] * 3))
    assert found is not None
    level = np.hypot(found.table[0, 0], found.table[0, 2]) ** 2
    np.testing.assert_allclose(level[[0, -1]], [2e-4, 1e-3], rtol=1e-4)


def test_a_and_b_alone_are_enough(tmp_path: Path) -> None:
    found = measured_noise(profile(tmp_path, noise=[{"a": 3e-4, "b": 1e-4}] * 3))
    assert found is not None
    np.testing.assert_allclose(np.hypot(found.table[0, 0], found.table[0, 2])[[0, -1]] ** 2, [1e-4, 4e-4], rtol=1e-4)


@pytest.mark.parametrize("noise", [None, []])
def test_a_profile_without_measured_noise_says_so(tmp_path: Path, noise: list[Any] | None) -> None:
    assert measured_noise(profile(tmp_path, noise=noise)) is None


@pytest.mark.parametrize(
    "channel",
    [
        {**BENT, "variance": [1e-4, 9e-4]},
        {**BENT, "brightness": [0.0, 1.0, 0.5]},
        {**BENT, "brightness": [0.5], "variance": [1e-4]},
        {**BENT, "variance": [1e-4, 9e9, 1e-4]},
        {"a": 1e300, "b": 0.0},
    ],
)
def test_what_is_no_noise_is_refused(tmp_path: Path, channel: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match=r"p\.nsp: profile\.json: the noise in it is not that of photos"):
        measured_noise(profile(tmp_path, noise=[channel] * 3))


def prior(sigma: float) -> NoisePrior:
    return NoisePrior(level_of(np.full((4, 8), sigma / 255)), np.full((4, 8), 0.1))


KNOWN = CameraNoise((800, 3200), (prior(2), prior(4)), (1, 3))
CAMERA = {"camera_make": "NIKON CORPORATION", "camera_model": "NIKON D800", "iso_min": 800, "iso_max": 3200}


def knowing(folder: Path, content: bytes | None = None, **fields: Any) -> Profile:
    return write_profile(
        folder / "known.nsp", {**FIELDS, **CAMERA, **fields}, {NOISE_FILE: content or noise_file(KNOWN)}
    )


def test_a_camera_s_noise_is_that_of_the_photo_s_iso(tmp_path: Path) -> None:
    found = prior_for(knowing(tmp_path), Camera("Nikon", "D800", 1600))
    assert found is not None
    np.testing.assert_allclose(255 * found.table, 8**0.5, rtol=1e-3)
    np.testing.assert_allclose(found.unsure, 0.1)


@pytest.mark.parametrize(
    "camera", [Camera("Nikon", "D810", 1600), Camera("Nikon", "D800", 25600), Camera("Nikon", "D800"), Camera(iso=1600)]
)
def test_of_other_cameras_and_iso_and_of_photos_that_state_none_nothing_is_known(
    tmp_path: Path, camera: Camera
) -> None:
    assert prior_for(knowing(tmp_path), camera) is None
    assert prior_for(profile(tmp_path), camera) is None


def test_of_photos_that_state_no_camera_nothing_is_known_by_a_profile_that_states_none(tmp_path: Path) -> None:
    unnamed = CameraNoise((None,), (prior(3),), (5,))
    found = knowing(tmp_path, noise_file(unnamed), camera_make=None, camera_model=None)
    assert prior_for(found, Camera()) is None
    assert prior_for(found, Camera(iso=1600)) is None
    assert prior_for(found, Camera("Nikon", "D800", 1600)) is None


def test_noise_of_photos_without_iso_is_that_of_the_camera_s_photos_of_any_iso(tmp_path: Path) -> None:
    found = knowing(tmp_path, noise_file(CameraNoise((None,), (prior(3),), (5,))))
    assert prior_for(found, Camera("Nikon", "D800", 1600)) is not None
    assert prior_for(found, Camera("Nikon", "D800")) is not None
    assert prior_for(found, Camera("Nikon", "D810", 1600)) is None


def test_a_camera_s_pictures_say_nothing_of_its_raw_and_raw_nothing_of_pictures(tmp_path: Path) -> None:
    shot = Camera("Nikon", "D800", 1600)
    (tmp_path / "raw").mkdir()
    pictures, raw = knowing(tmp_path), knowing(tmp_path / "raw", development={"colour_space": "camera"})
    assert known_noise(pictures, Kind.JPEG, shot) is not None
    assert known_noise(pictures, Kind.RAW, shot, "demosaiced") is None
    assert known_noise(raw, Kind.JPEG, shot) is None
    assert known_noise(raw, Kind.RAW, shot, "developed") is None
    assert known_noise(raw, Kind.RAW, shot, "demosaiced") is not None


def test_the_table_of_a_camera_is_at_the_iso_that_is_asked_for(tmp_path: Path) -> None:
    found = knowing(tmp_path)
    usual, asked = measured_noise(found), measured_noise(found, 800)
    assert usual is not None
    assert asked is not None
    assert (usual.source, asked.source) == ("profile small, ISO 3200", "profile small, ISO 800")
    np.testing.assert_allclose(255 * usual.table, 4, rtol=1e-3)
    np.testing.assert_allclose(255 * asked.table, 2, rtol=1e-3)
    with pytest.raises(UsageError, match="--iso 100: profile small knows the noise of ISO 800 to 3200"):
        measured_noise(found, 100)
    curves = write_profile(tmp_path / "curves.nsp", {**FIELDS, "noise": [BENT] * 3}, {})
    with pytest.raises(UsageError, match="knows one level of noise, of no stated ISO"):
        measured_noise(curves, 100)


CAMERAS_KINDS = np.array([3.0, 5.0, 1.2, 3.4])[:, None] * np.linspace(1.5, 0.7, 8) / 255
"""Noise that a camera has smoothed, more of it in the dark."""


def hardly_sure(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A noise estimator that takes the noise for half as strong again, and may be off by e to the fourth."""
    brightness = windows.mean(1).reshape(len(windows), windows.shape[2] // BLOCK, BLOCK, -1, BLOCK).mean((2, 4))
    rows = [np.interp(brightness, np.linspace(0, 1, 8), level_of(1.5 * row)) for row in CAMERAS_KINDS]
    return np.stack([*rows, *[np.full_like(rows[0], 4.0)] * 4], 1).astype(np.float32)


@pytest.mark.parametrize("unsure", [0.05, 0.15, 0.3])
def test_a_file_is_told_what_nsp_denoise_tells_of_a_photo_that_says_nothing_of_its_own(
    tmp_path: Path, unsure: float
) -> None:
    known = CameraNoise((800,), (NoisePrior(level_of(CAMERAS_KINDS), np.full((4, 8), unsure)),), (3,))
    found = knowing(tmp_path, noise_file(known))
    photo = noisy_scene(1, 512, 512, sigma=4.0)
    by_denoise = estimate_noise(photo, hardly_sure, prior=prior_for(found, Camera("Nikon", "D800", 800)))
    assert by_denoise.known_share == pytest.approx(1, abs=0.01)
    stated = measured_noise(found)
    assert stated is not None
    np.testing.assert_allclose(stated.table, by_denoise.as_told.table, rtol=0.01)
    assert (stated.table < by_denoise.table).all()
    np.testing.assert_allclose(stated.table / by_denoise.table, np.exp(-unsure), rtol=0.01)


def test_what_a_newer_nsp_adds_to_it_is_left_alone(tmp_path: Path) -> None:
    document = json.loads(noise_file(KNOWN)) | {"sensor": "blue"}
    document["camera"][0]["lens"] = "35 mm"
    assert prior_for(knowing(tmp_path, json.dumps(document).encode()), Camera("Nikon", "D800", 800)) is not None


def test_a_line_that_leads_beyond_what_noise_can_be_is_written_as_far_as_it_can_be(tmp_path: Path) -> None:
    known = camera_noise([(100, seen(times(5)))] * 30 + [(10_000_000, seen(times(5), 3.0))])
    assert known is not None
    assert sigma_of(known.priors[-1].level).max() > 1
    found = prior_for(knowing(tmp_path, noise_file(known)), Camera("Nikon", "D800", 10_000_000))
    assert found is not None
    assert found.table.max() == 1
    wild = CameraNoise((800,), (NoisePrior(np.full((4, 8), 900.0), np.full((4, 8), 1e9)),), (1,))
    (at_once,) = read_noise(noise_file(wild)).priors
    assert (at_once.table.max(), at_once.unsure.max()) == (1, 1e6)


def changed(**entry: Any) -> bytes:
    document = json.loads(noise_file(KNOWN))
    document["camera"][1] |= entry
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{}",
        b'{"camera": []}',
        changed(iso=800),
        changed(iso=None),
        changed(photos=0),
        changed(table=[[0.1] * 8] * 3),
        changed(table=[[0.1] * 7] * 4),
        changed(table=[[2.0] * 8] * 4),
        changed(table=[[float("nan")] * 8] * 4),
        changed(unsure=[[0.0] * 8] * 4),
        changed(unsure=[[1e-200] * 8] * 4),
        changed(photos=2**62),
        changed(unsure=[[float("inf")] * 8] * 4),
        b" " * (2 << 20),
    ],
)
def test_a_file_that_says_no_camera_s_noise_is_refused_when_the_profile_is_opened(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ProfileError, match=r"noise\.json: it does not say a camera's noise"):
        knowing(tmp_path, content)
    assert not (tmp_path / "known.nsp").exists()


def test_an_nsp_that_knows_nothing_of_the_file_reads_the_rest(tmp_path: Path) -> None:
    loaded = load_profile(knowing(tmp_path).path)
    assert set(loaded.spec.files) == {NOISE_FILE}
    assert "camera_noise" not in type(loaded.spec).model_fields
