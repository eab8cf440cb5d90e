"""`nsp distill`, from photos to a student that `nsp denoise` takes."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from noisy_photos import clean_scene, save_archive
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.cli.main import main
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile, load_profile

Nsp = Callable[..., Finished]
RECIPE = """
[distill]
channels = [4, 8]
pairs = [1, 1]
crop = 32
painted = 1
teacher_crops = 2
batch = 2
steps = 3
judge-every = 3
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Clean photos, the profile of a student that was made of them, and what was printed: its exports take long."""
    folder = tmp_path_factory.mktemp("student")
    clean, target = save_archive(folder / "clean", 3, size=(128, 96)), folder / "s.nsp"
    (folder / "twice.toml").write_text(RECIPE + "self_ensemble = 2\n")
    options = ["--clean", clean, "--recipe", folder / "twice.toml", "--out", target, "--json"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["distill", *map(str, options)]) == 0
    return clean, target, json.loads(printed.getvalue())


def test_a_student_of_clean_photos_serves_any_camera_and_denoises(
    student: tuple[Path, Path, dict[str, Any]], tmp_path: Path, real_nsp: Nsp
) -> None:
    clean, target, spec = student
    assert (spec["backbone"]["name"], spec["pairs"], spec["camera_model"]) == ("unet", None, None)
    assert 0 < spec["scores"]["noise_left"] < 2
    assert not (target.parent / "s.nsp.training" / "checkpoint.pt").exists()
    assert "for photos of any camera" in " ".join(real_nsp("profiles", "show", target).out.split())

    # Little of it: after three steps its pictures have colours of their own, which are not let through whole.
    little = ("--profile", target, "--strength", "0.1")
    done = real_nsp("denoise", clean, tmp_path / "out", *little)
    assert done.code == 0, done.err
    before, after = (np.asarray(Image.open(folder / "0.png"), float) for folder in (clean, tmp_path / "out"))
    assert before.shape == after.shape
    large = tmp_path / "2x.png"
    enlarged = real_nsp("denoise", clean / "0.png", large, *little, "--mode", "sr")
    assert enlarged.code == 0, enlarged.err
    assert Image.open(large).size == (256, 192)


def test_a_students_bundle_holds_nothing_twice_and_no_digits_beyond_need(
    student: tuple[Path, Path, dict[str, Any]], tmp_path: Path, real_nsp: Nsp
) -> None:
    _, target, _ = student
    profile = load_profile(target)
    assert profile.spec.inference.self_ensemble == 2
    assert MODEL_FILES["sr"] not in profile.content
    assert profile.graph_file("sr") == MODEL_FILES["sr-direct"]
    bits = [part.view(np.uint32) for part in safetensors.numpy.load(profile.read(WEIGHTS_FILE)).values()]
    assert all((part & 0x1FFF == 0).all() for part in bits)
    assert sum((part != 0).sum() for part in bits) > 100
    for mode in ("sr", "sr-direct"):
        exported = real_nsp("export", target, "--mode", mode, "--target", "onnx", "--out", tmp_path / f"{mode}.onnx")
        assert exported.code == 0, exported.err
        info = open_engine(profile, mode=mode).info
        assert (info.mode, info.scale) == (mode, 2)
    assert real_nsp("profiles", "verify", target).code == 0


def test_a_student_of_a_cameras_photos_is_that_cameras(
    tmp_path: Path, recipe: Path, quick_nsp: Nsp, tiny_profile: Profile
) -> None:
    noisy = save_archive(tmp_path / "noisy", 3, iso=800, size=(128, 96))
    made = quick_nsp(
        "distill", noisy, "--teacher", tiny_profile.path, "--recipe", recipe, "--out", tmp_path / "s.nsp", "--json"
    )
    assert made.code == 0, made.err
    spec = json.loads(made.out)
    assert (spec["camera_model"], spec["iso_min"]) == ("Maker One", 800)
    assert "prepared 3/3" in made.err
    # Grey noise of 15/√3 in every photo: what was simulated goes from half to twice that.
    settings = spec["training"]["settings"]
    assert settings["least_sigma"] == pytest.approx(15 / 3**0.5 / 2, rel=0.25)
    assert settings["most_sigma"] == pytest.approx(15 / 3**0.5 * 2, rel=0.25)


def test_a_base_that_is_not_beaten_stays(tmp_path: Path, recipe: Path, quick_nsp: Nsp) -> None:
    clean = save_archive(tmp_path / "clean", 3, size=(128, 96))
    first = quick_nsp("distill", "--clean", clean, "--recipe", recipe, "--out", tmp_path / "a.nsp")
    assert first.code == 0, first.err
    reckless = tmp_path / "reckless.toml"
    reckless.write_text(RECIPE + "learning_rate = 0.9\n")
    start = ("--base", tmp_path / "a.nsp", "--out", tmp_path / "b.nsp")
    second = quick_nsp("distill", "--clean", clean, "--recipe", reckless, *start, "--json")
    assert second.code == 0, second.err
    scores = json.loads(second.out)["scores"]
    assert scores["accepted"] is False
    assert scores["base"] == "a"
    assert "RMS share" in scores["verdict"]
    assert scores["base_noise_left"] > 0
    held = [load_profile(tmp_path / f"{name}.nsp").read(WEIGHTS_FILE) for name in "ab"]
    assert held[0] == held[1]
    assert "not accepted" in second.err


def test_a_base_of_any_noise_is_widened_by_the_next_training(
    tmp_path: Path, recipe: Path, quick_nsp: Nsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Judging whole crops takes longer than the trainings.
    monkeypatch.setattr("nsp_pipeline.calibration.student.any_noise_objective.JUDGED_SIDE", 64)
    clean = tmp_path / "clean"
    clean.mkdir()
    for number in range(3):
        Image.fromarray(clean_scene(420, 440 + number).astype(np.uint8)).save(clean / f"{number}.png")
    any_noise = RECIPE + 'noise_kinds = "any"\nschedule = "trapezoid"\n'
    recipe.write_text(any_noise)
    made = quick_nsp("distill", "--clean", clean, "--recipe", recipe, "--out", tmp_path / "a.nsp", "--json")
    assert made.code == 0, made.err
    assert "painted" not in made.err
    recipe.write_text(any_noise.replace("[4, 8]", "[6, 8]"))
    start = ("--base", tmp_path / "a.nsp", "--out", tmp_path / "b.nsp", "--threads", "1")
    wider = quick_nsp("distill", "--clean", clean, "--recipe", recipe, *start, "--json")
    assert wider.code == 0, wider.err
    first, second = json.loads(made.out), json.loads(wider.out)
    assert second["backbone"]["sizes"]["channels"] == [6, 8]
    assert second["scores"]["base_noise_left"] == pytest.approx(first["scores"]["noise_left"], rel=1e-3)
    # And never back: what is wide cannot be a base of what is narrow.
    recipe.write_text(any_noise)
    refused = quick_nsp("distill", "--clean", clean, "--recipe", recipe, "--base", tmp_path / "b.nsp", "--out", "c.nsp")
    assert refused.code == 2
    assert "another network than the recipe asks for: it has channels [6, 8]" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give noisy PHOTOS with their --teacher, or --clean photos"),
        (["--clean", "CLEAN", "--recipe", "camera"], "[distill]"),
        (["--clean", "CLEAN", "--teacher", "nobody"], "there is no profile 'nobody'"),
        (["PHOTOS", "--teacher", "STUDENT"], "a teacher must be a blind-spot network"),
        (["--clean", "CLEAN", "--base", "TINY"], "another network"),
        (["--clean", "SMALL"], "pixels are too few"),
    ],
)
def test_trainings_that_cannot_be_are_refused(
    tmp_path: Path, recipe: Path, quick_nsp: Nsp, tiny_profile: Profile, arguments: list[str], message: str
) -> None:
    places = {
        "CLEAN": save_archive(tmp_path / "clean", 2, size=(128, 96)),
        "PHOTOS": save_archive(tmp_path / "photos", 2, size=(128, 96)),
        "SMALL": save_archive(tmp_path / "small", 1, size=(40, 30)),
        "STUDENT": tmp_path / "student.nsp",
        "TINY": tiny_profile.path,
    }
    if "STUDENT" in arguments:
        made = quick_nsp("distill", "--clean", places["CLEAN"], "--recipe", recipe, "--out", places["STUDENT"])
        assert made.code == 0, made.err
    chosen = [] if "--recipe" in arguments else ["--recipe", recipe]
    ended = quick_nsp("distill", *(places.get(each, each) for each in arguments), *chosen, "--out", tmp_path / "o.nsp")
    assert ended.code == 2, ended.err
    assert message in ended.err
    assert not (tmp_path / "o.nsp").exists()
