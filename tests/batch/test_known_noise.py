"""What a profile knows of its camera's noise takes part in denoising the camera's photos, and in no others."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from fake_engine import fake_profile
from knowing_profile import write_knowing
from night_photos import night_photo
from noisy_photos import noisy_scene
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.batch import photo as photo_steps
from nsp_pipeline.batch.listeners.words import noise_notes
from nsp_pipeline.batch.provenance import Provenance
from nsp_pipeline.calibration.archive.survey import camera_noise_of
from nsp_pipeline.denoise.denoiser import Denoiser
from nsp_pipeline.frames.formats import tiff_rows
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.noise import estimate
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import Choice
from nsp_pipeline.profiles.noise_file import NOISE_FILE, noise_file

Nsp = Callable[..., Finished]
SIDE = 192
OURS = Camera("Maker", "Maker One", 800)


def save(path: Path, pixels: Any, camera: Camera = OURS) -> None:
    path.parent.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[271], exif[272] = (camera.make or "").encode(), (camera.model or "").encode()
    if camera.iso:
        exif.get_ifd(0x8769)[34855] = camera.iso
    Image.fromarray(pixels).save(path, quality=100, subsampling=0, exif=exif)


def scene(seed: int, side: int = SIDE) -> Any:
    return noisy_scene(seed, side, side, sigma=8)


@pytest.fixture(scope="module")
def knowing() -> Profile:
    """The fake, calibrated on four photos of one camera."""
    noise = camera_noise_of([(OURS, scene(seed)) for seed in range(4)])
    assert noise is not None
    plain = fake_profile()
    spec: Any = SimpleNamespace(**vars(plain.spec), camera_make="Maker", camera_model="Maker One")
    return replace(plain, spec=spec, content={**plain.content, NOISE_FILE: noise_file(noise)})


def test_the_camera_s_own_photos_have_its_noise_and_others_theirs(nsp: Nsp, tmp_path: Path, knowing: Profile) -> None:
    photos = tmp_path / "in"
    save(photos / "ours.jpg", scene(9))
    save(photos / "another-iso.jpg", scene(9), replace(OURS, iso=3200))
    save(photos / "no-iso.jpg", scene(9), replace(OURS, iso=None))
    save(photos / "another.jpg", scene(9), replace(OURS, model="Maker Two"))
    halved = Image.fromarray(scene(9, 2 * SIDE)).resize((SIDE, SIDE), Image.Resampling.BOX)
    save(photos / "shrunk.jpg", np.asarray(halved))

    def choose(camera: Camera, **options: object) -> Choice:
        return Choice(knowing, "the only one")

    ended = nsp("denoise", photos, tmp_path / "out", "-v", choose_profile=choose)

    assert ended.code == 0, ended.err
    with sqlite3.connect(tmp_path / "out" / ".nsp" / "manifest.sqlite") as connection:
        rows = dict(connection.execute("SELECT output, noise_known FROM photos").fetchall())
    assert 0.3 < rows.pop("ours.jpg") < 1
    assert rows.pop("shrunk.jpg") == 0
    assert rows == {"another-iso.jpg": None, "no-iso.jpg": None, "another.jpg": None}
    lines = {Path(line.partition(": ")[0]).name: line for line in ended.err.splitlines()}
    assert "% of it known from the camera's other photos" in lines["ours.jpg"]
    assert "unlike the camera's other photos: estimated from this one alone" in lines["shrunk.jpg"]
    assert "camera's other" not in lines["another.jpg"]


def test_a_night_photo_that_is_brightened_says_so(nsp: Nsp, tmp_path: Path) -> None:
    Image.fromarray(night_photo()[0]).save(tmp_path / "night.png")
    ended = nsp("denoise", tmp_path / "night.png", tmp_path / "out.png", "-v")
    assert ended.code == 0, ended.err
    assert "of 255, as its noise lies under a tone curve" in ended.err


def test_a_library_s_user_who_says_the_camera_gets_the_same(knowing: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Any] = []
    opened = SimpleNamespace(info=SimpleNamespace(), close=lambda: None)
    monkeypatch.setattr(Denoiser, "_open", lambda self, opener: opened)

    def kept(frame: Any, settings: Any, context: Any, name: str) -> Any:
        tables.append(context.noise)
        return SimpleNamespace(frame=frame), None

    monkeypatch.setattr("nsp_pipeline.denoise.denoiser.denoise_trusted", kept)
    for camera in (OURS, replace(OURS, model="Maker Two"), None):
        Denoiser(knowing, camera=camera).denoise(scene(9))
    assert tables[0].known_share > 0.3
    assert tables[1:] == [None, None]


def save_tiff(path: Path, pixels: Any, **options: Any) -> None:
    said = [(271, 2, 0, "Maker", True), (272, 2, 0, "Maker One", True), (34855, 3, 1, 800, True)]
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=said, metadata=None, **options)


@pytest.mark.parametrize("kind", ["float32", "uint16"])
def test_a_folder_s_tiff_comes_out_as_from_a_denoiser_that_is_told_the_camera(
    real_nsp: Nsp, tmp_path: Path, knowing: Profile, kind: str
) -> None:
    assert knowing.camera_noise
    profile = write_knowing(tmp_path / "mine.nsp", OURS, knowing.camera_noise)
    pixels = (scene(9) / np.float32(255)).astype(np.float32)
    (tmp_path / "in").mkdir()
    save_tiff(tmp_path / "in" / "a.tif", pixels if kind == "float32" else np.rint(65535 * pixels).astype(np.uint16))
    read = read_frame(tmp_path / "in" / "a.tif")
    assert (read.pixels.dtype, read.camera) == (np.dtype(kind), OURS)

    ended = real_nsp("denoise", tmp_path / "in", tmp_path / "out", "--profile", profile.path, "--engine", "onnx")

    assert ended.code == 0, ended.err
    made = read_frame(tmp_path / "out" / "a.tif").pixels
    with Denoiser(profile, engine="onnx", camera=OURS) as told, Denoiser(profile, engine="onnx") as untold:
        np.testing.assert_array_equal(made, told.denoise(read.pixels))
        assert (made != untold.denoise(read.pixels)).any()


def test_without_the_estimator_s_network_photos_read_in_rows_have_their_camera_s_noise_too(
    nsp: Nsp, tmp_path: Path, knowing: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_rows, "LEAST_BYTES", 1)
    monkeypatch.setattr(tiff_rows, "LEAST_SIDE", 1)
    monkeypatch.setattr(estimate, "load_estimator", lambda: None)
    frames: list[Any] = []
    read = photo_steps.read_frame_in_rows

    def kept(*args: Any) -> Any:
        frames.append(read(*args))
        return frames[-1]

    monkeypatch.setattr(photo_steps, "read_frame_in_rows", kept)
    (tmp_path / "in").mkdir()
    save_tiff(tmp_path / "in" / "a.tif", scene(9), compression="deflate", rowsperstrip=8)

    ended = nsp("denoise", tmp_path / "in", tmp_path / "out", "-v", choose_profile=lambda *_, **__: Choice(knowing, ""))

    assert ended.code == 0, ended.err
    assert [frame.rows is not None for frame in frames] == [True]
    assert "% of it known from the camera's other photos" in ended.err


def test_a_picture_without_noise_is_not_called_unlike_its_camera(nsp: Nsp, tmp_path: Path, knowing: Profile) -> None:
    save(tmp_path / "in" / "drawing.png", np.full((SIDE, SIDE, 3), 90, np.uint8))
    ended = nsp("denoise", tmp_path / "in", tmp_path / "out", "-v", choose_profile=lambda *_, **__: Choice(knowing, ""))
    assert ended.code == 0, ended.err
    assert "drawing.png: " in ended.err
    assert "camera's other" not in ended.err


def test_a_share_that_rounds_to_nothing_is_not_named() -> None:
    assert noise_notes(Provenance(noise_known=0.004)) == []
    assert noise_notes(Provenance(noise_known=0.006)) == ["1 % of it known from the camera's other photos"]
    assert noise_notes(Provenance()) == []
