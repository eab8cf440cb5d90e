"""Photos that nothing can be learnt from, or that few would think of."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from noisy_photos import noisy_scene, save_archive
from PIL import Image
from rich.console import Console
from run_nsp import Finished

from nsp_pipeline.cli.calibrate.originals import originals
from nsp_pipeline.profiles.bundle import load_profile

Nsp = Callable[..., Finished]
RECIPE = """
[calibrate]
backbone = "dbsn"
base_channels = 4
modules = 1
crop = 20
batch = 2
steps = 2
s = "auto"
pd-factor = "auto"
"""


@pytest.fixture
def calibrate(quick_nsp: Nsp, tmp_path: Path) -> Callable[[Path], Finished]:
    """Calibrate from a folder, starting from nothing, into mine.nsp."""
    recipe = tmp_path / "quick.toml"
    recipe.write_text(RECIPE)
    return lambda photos: quick_nsp("calibrate", photos, "--out", tmp_path / "mine.nsp", "--recipe", recipe)


def test_one_photo_trains_a_network_that_nothing_can_be_judged_by(
    calibrate: Callable[[Path], Finished], tmp_path: Path
) -> None:
    made = calibrate(save_archive(tmp_path / "in", 1, iso=800))
    assert made.code == 0, made.err
    assert "training on 1 photos, 0 held out" in made.err
    assert "No photo could be kept out of training" in load_profile(tmp_path / "mine.nsp").read("CARD.md").decode()


def test_photos_smaller_than_a_crop_are_named(calibrate: Callable[[Path], Finished], tmp_path: Path) -> None:
    refused = calibrate(save_archive(tmp_path / "in", 2, iso=800, size=(16, 12)))
    assert refused.code == 2
    assert f"{tmp_path / 'in' / '0.jpg'}: 16×12 pixels are too few: a crop takes 20 a side" in refused.err
    assert not (tmp_path / "mine.nsp").exists()


@pytest.mark.parametrize("value", [0, 255])
def test_clipped_photos_are_named(calibrate: Callable[[Path], Finished], tmp_path: Path, value: int) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(tmp_path / "in" / f"{name}.png")
    refused = calibrate(tmp_path / "in")
    assert refused.code == 2
    assert f"{tmp_path / 'in' / 'a.png'}: it is black or white nearly all over" in refused.err
    assert not (tmp_path / "mine.nsp").exists()


def test_without_a_flat_place_the_usual_settings_are_named(
    calibrate: Callable[[Path], Finished], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(3):
        stripes = np.random.default_rng(seed).integers(0, 2, (64, 64, 1)) * np.uint8(254)
        Image.fromarray(np.repeat(stripes, 3, 2).astype(np.uint8)).save(tmp_path / "in" / f"{seed}.png")
    made = calibrate(tmp_path / "in")
    assert made.code == 0, made.err
    assert "to measure their noise; s = 5, pd_factor = 2, as" in made.err
    assert load_profile(tmp_path / "mine.nsp").spec.noise is None


@pytest.mark.parametrize(("s", "code"), [('"auto"', 2), ("5", 0)])
def test_noise_that_no_s_parts_is_refused_unless_the_recipe_insists(
    calibrate: Callable[[Path], Finished], tmp_path: Path, s: str, code: int
) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text(RECIPE.replace('s = "auto"', f"s = {s}"))
    (tmp_path / "in").mkdir()
    for seed in range(3):
        noise = np.random.default_rng(seed).standard_normal((420, 420, 3))
        for axis in (0, 1):
            noise = np.lib.stride_tricks.sliding_window_view(noise, 20, axis=axis).sum(-1) / 20**0.5
        Image.fromarray((128 + 12 * noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / f"{seed}.png")
    made = calibrate(tmp_path / "in")
    assert made.code == code, made.err
    assert "no s up to 10 makes the noise independent: 10 pixels apart" in made.err
    assert (tmp_path / "mine.nsp").exists() == (code == 0)


def test_a_camera_may_call_itself_anything(
    quick_nsp: Nsp, calibrate: Callable[[Path], Finished], tmp_path: Path
) -> None:
    photos = save_archive(tmp_path / "in", 3, iso=800, camera=("../../Ma/ker", "📷 X/1 | [b]"))
    made = quick_nsp(
        "calibrate", photos, "--out", tmp_path / "made", "--recipe", tmp_path / "quick.toml", "--split", "camera"
    )
    assert made.code == 0, made.err
    (profile,) = (tmp_path / "made").glob("*.nsp")
    assert load_profile(profile).spec.camera_model == "📷 X/1 | [b]"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "made", "quick.toml"}
    shown = quick_nsp("profiles", "show", profile)
    assert "X/1 | [b]" in shown.out.replace("\\", "")


def test_a_base_that_nothing_could_beat_is_refused_before_the_training(
    quick_nsp: Nsp, calibrate: Callable[[Path], Finished], tmp_path: Path
) -> None:
    photos = save_archive(tmp_path / "in", 2, iso=800)
    assert calibrate(photos).code == 0
    recipe = tmp_path / "quick.toml"
    recipe.write_text("[calibrate]\ncrop = 20\nbatch = 2\nsteps = 2\npd-factor = 1\n")
    base = ("--base", tmp_path / "mine.nsp", "--recipe", recipe)
    refused = quick_nsp("calibrate", photos, "--out", tmp_path / "next.nsp", *base)
    assert refused.code == 2
    assert "too few to train from mine: none is left to be kept out of training" in refused.err
    assert "--pair A B" in refused.err
    assert "step 2/2" not in refused.err
    assert not (tmp_path / "next.nsp").exists()


def with_software(path: Path, seed: int, camera: str, software: str = "") -> None:
    exif = Image.Exif()
    exif.update({271: "Maker", 272: camera, 305: software} if software else {271: "Maker", 272: camera})
    Image.fromarray(noisy_scene(seed)).save(path, exif=exif)


def test_edited_photos_among_originals_are_left_out_and_named(tmp_path: Path) -> None:
    for seed in range(3):
        with_software(tmp_path / f"{seed}.jpg", seed, "One")
    with_software(tmp_path / "edited.jpg", 3, "One", "GIMP 2.10")
    console, said = told()
    kept = originals(console, sorted(tmp_path.glob("*.jpg")), {})
    assert [path.name for path in kept] == ["0.jpg", "1.jpg", "2.jpg"]
    assert f"left out: 1 photo, such as {tmp_path / 'edited.jpg'}: a program changed or resized them" in said()


def test_where_hardly_any_is_an_original_all_are_learnt_from(tmp_path: Path) -> None:
    with_software(tmp_path / "0.jpg", 0, "One")
    for seed in (1, 2):
        with_software(tmp_path / f"{seed}.jpg", seed, "One", "GIMP 2.10")
    files = sorted(tmp_path.glob("*.jpg"))
    console, said = told()
    assert originals(console, files, {}) == files
    assert "2 photos, such as" in said()
    assert "without them too few are left" in said()
    console, said = told()
    assert originals(console, files[1:], {}) == files[1:], "a user who gives edited photos alone means them"
    assert not said()


def test_files_that_cannot_be_read_are_no_originals(tmp_path: Path) -> None:
    for seed, software in enumerate(("", "", "GIMP 2.10", "GIMP 2.10")):
        with_software(tmp_path / f"{seed}.jpg", seed, "One", software)
    (tmp_path / "4.jpg").write_bytes(b"no photo")
    files = sorted(tmp_path.glob("*.jpg"))
    console, said = told()
    assert originals(console, files, {}) == files, "without the edited ones two would be left"
    assert "too few are left" in said()


def test_photos_of_several_cameras_are_learnt_from_together_with_a_word(tmp_path: Path) -> None:
    for seed, camera in enumerate(("One", "One", "Two")):
        with_software(tmp_path / f"{seed}.jpg", seed, camera)
    (tmp_path / "3.jpg").write_bytes(b"no photo: reading it later gives the reason")
    files = sorted(tmp_path.glob("*.jpg"))
    console, said = told()
    assert originals(console, files, {}) == files
    assert "photos of 2 cameras are learnt from together: Maker One (2), Maker Two (1). nsp denoise takes" in said()
    console, said = told()
    originals(console, files[:2], {})
    assert not said(), "of one camera nothing is said"


def test_a_name_for_cameras_of_two_makers_is_told(tmp_path: Path) -> None:
    for seed, maker in enumerate(("Maker", "Other")):
        exif = Image.Exif()
        exif.update({271: maker, 272: "One"})
        Image.fromarray(noisy_scene(seed)).save(tmp_path / f"{seed}.jpg", exif=exif)
    console, said = told()
    originals(console, sorted(tmp_path.glob("*.jpg")), {"one": "mine"})
    assert "cameras.toml gives this name to" in said()


def told() -> tuple[Console, Callable[[], str]]:
    """A console, and what was said on it, on one line."""
    file = io.StringIO()
    return Console(file=file, width=1000), lambda: " ".join(file.getvalue().split())
