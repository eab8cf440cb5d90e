"""`nsp evaluate --against`: other denoisers on the same pairs."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from knowing_profile import write_knowing
from noisy_photos import clean_scene, noisy_scene
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.calibration.archive.survey import camera_noise_of
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.with_pd import EngineWithPd
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.evaluation.rivals import candidates
from nsp_pipeline.evaluation.rivals import programs as other_programs
from nsp_pipeline.evaluation.rivals.candidates import find_rival
from nsp_pipeline.evaluation.rivals.compare import telling_crop
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile
from nsp_pipeline.profiles.spec import InferenceSpec

Nsp = Callable[..., Finished]


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    noisy.mkdir()
    clean.mkdir()
    for seed in range(2):
        Image.fromarray(noisy_scene(seed, 80, 96)).save(noisy / f"{seed}.png")
        Image.fromarray(np.rint(clean_scene(80, 96)).astype(np.uint8)).save(clean / f"{seed}.png")
    return noisy, clean


@pytest.fixture
def small_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """BM3D, tried on as large a picture as RawTherapee needs, takes longer than all else."""
    monkeypatch.setattr(candidates, "TRIAL_SIDE", 48)


def test_rivals_stand_beside_the_profile_at_their_best(real_nsp: Nsp, pairs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="non-local means is OpenCV's")
    noisy, clean = pairs
    sheet = tmp_path / "crops.png"
    arguments = ["--noisy", noisy, "--clean", clean, "--against", "nlm", "--against", "standard", "--sheet", sheet]

    done = real_nsp("evaluate", "fast", *arguments, "--json")

    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert [row["denoiser"] for row in rows] == ["noisy", "nlm", "fast", "standard"]
    assert all(row["psnr"] > rows[0]["psnr"] + 1 for row in rows[1:])
    assert rows[1]["setting"].startswith("h ")
    # Four denoisers and the clean photo, a row for each pair, at 100 %.
    with Image.open(sheet) as picture:
        assert picture.size == (5 * 100 - 4, 16 + 2 * 84 - 4)
        first = np.asarray(picture)[16 : 16 + 80, :96]
    assert np.array_equal(first, noisy_scene(0, 80, 96))
    assert "nlm" in real_nsp("evaluate", "fast", *arguments).out


def test_a_profile_that_knows_its_camera_s_noise_has_one_score_alone_and_beside_others(
    real_nsp: Nsp, pairs: tuple[Path, Path], tmp_path: Path
) -> None:
    camera = Camera("Maker", "Maker One", 800)
    noise = camera_noise_of([(camera, noisy_scene(seed, 160, 192)) for seed in range(2, 5)])
    assert noise is not None
    mine = write_knowing(tmp_path / "mine.nsp", camera, noise).path
    exif = Image.Exif()
    exif[271], exif[272], exif.get_ifd(0x8769)[34855] = "Maker", "Maker One", 800
    noisy, clean = pairs
    for photo in noisy.iterdir():
        with Image.open(photo) as picture:
            picture.save(photo, exif=exif)
    arguments = ["--noisy", noisy, "--clean", clean, "--engine", "onnx", "--json"]
    alone = json.loads(real_nsp("evaluate", mine, *arguments).out)
    first = json.loads(real_nsp("evaluate", mine, *arguments, "--against", "fast").out)
    second = json.loads(real_nsp("evaluate", "fast", *arguments, "--against", mine).out)
    scores = [{row["denoiser"]: row["psnr"] for row in rows} for rows in (first, second)]
    assert scores[0][str(mine)] == scores[1][str(mine)] == pytest.approx(alone["denoised"]["psnr"])
    assert scores[0]["fast"] == scores[1]["fast"] != scores[0][str(mine)]


@pytest.mark.usefixtures("small_trial")
def test_what_is_not_installed_is_named(
    real_nsp: Nsp, pairs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy, clean = pairs
    monkeypatch.setenv("PATH", os.devnull)
    refused = real_nsp("evaluate", "fast", "--noisy", noisy, "--clean", clean, "--against", "rawtherapee")
    assert (refused.code, "rawtherapee-cli is not on the PATH" in refused.err) == (3, True)
    for folder in pairs:
        (folder / "1.png").unlink()  # BM3D takes seconds for each
    everything = real_nsp("evaluate", "fast", "--noisy", noisy, "--clean", clean, "--against", "all", "--json")
    assert everything.code == 0
    assert "left out: rawtherapee-cli is not on the PATH" in everything.err
    assert json.loads(everything.out)[-1]["denoiser"] == "fast"


@pytest.mark.parametrize("profile", ["fast", "tiny"])
def test_the_papers_way_is_pd_and_the_plain_mean(
    real_nsp: Nsp, pairs: tuple[Path, Path], tiny_profile: Profile, tmp_path: Path, profile: str
) -> None:
    noisy, clean = pairs
    asked = str(tiny_profile.path) if profile == "tiny" else profile
    arguments = ["--noisy", noisy, "--clean", clean, "--engine", "onnx", "--json"]
    rows = json.loads(real_nsp("evaluate", asked, *arguments, "--against", "paper").out)
    # A student has no PD: there the built-in next-scale network stands for the paper.
    network = asked if profile == "tiny" else "dbsn"
    assert [row["denoiser"] for row in rows] == ["noisy", f"paper ({network})", asked]
    assert [row["setting"] for row in rows] == ["", "strength 1", ""]
    engine = EngineWithPd(
        InferenceSpec(pd_factor=2), lambda mode: open_engine(find_profile(network), mode=mode, engine="onnx")
    )
    truth = np.rint(clean_scene(80, 96))
    found = []
    for seed in range(2):
        image = noisy_scene(seed, 80, 96).astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255)
        estimate = np.rint(engine.run(image)[0].transpose(1, 2, 0).clip(0, 1) * 255)
        found.append(10 * np.log10(255**2 / ((estimate - truth) ** 2).mean()))
    assert rows[1]["psnr"] == pytest.approx(np.mean(found), abs=0.05)


@pytest.mark.parametrize(
    ("ending", "words"),
    [("echo no display >&2; exit 1", "no display"), ("echo working; kill -SEGV $$", "it ended with exit code -11")],
)
def test_a_program_that_fails_is_quoted(
    ending: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "darktable-cli"
    program.write_text(f"#!/bin/sh\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(MissingCapabilityError, match=f"darktable-cli failed: {words}"):
        find_rival("darktable").variants[0].run(np.zeros((8, 8, 3), np.uint8))


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "darktable-cli"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(other_programs, "TIMEOUT", 1)
    with pytest.raises(MissingCapabilityError, match="darktable-cli took longer than"):
        find_rival("darktable").variants[0].run(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.usefixtures("small_trial")
def test_of_all_a_program_that_cannot_run_is_left_out(
    real_nsp: Nsp, pairs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("darktable-cli", "rawtherapee-cli"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_bytes(b"#!/bin/sh\nprintf 'no \\377 display' >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    # It takes seconds for each photo, and the test of what is not installed has it.
    monkeypatch.setitem(sys.modules, "bm3d", SimpleNamespace(bm3d_rgb=lambda image, sigma: image))
    done = real_nsp("evaluate", "fast", "--noisy", pairs[0], "--clean", pairs[1], "--against", "all", "--json")
    assert done.code == 0, done.err
    assert "left out: darktable-cli failed: no" in done.err
    names = [row["denoiser"] for row in json.loads(done.out)]
    assert names[-1] == "fast"
    assert not {"darktable", "rawtherapee"} & set(names)


@pytest.mark.parametrize("name", ["darktable", "rawtherapee"])
def test_other_programs_take_noise_away_and_leave_the_brightness(name: str) -> None:
    try:
        rival = find_rival(name)
    except MissingCapabilityError as error:
        pytest.skip(str(error))
    # Little colour: strong reduction of colour noise reaches far, and pales a picture as small as this one.
    clean = 128 + (clean_scene(320, 400).mean(2, keepdims=True) - 128) * np.ones(3)
    noise = np.random.default_rng(0).normal(0, 8, clean.shape)
    noisy = np.rint(clean + noise).clip(0, 255).astype(np.uint8)
    results = [variant.run(noisy) for variant in rival.variants]
    assert min(float(((result - clean) ** 2).mean()) for result in results) < 0.5 * float((noise**2).mean())
    assert all(np.abs(result.mean((0, 1)) - noisy.mean((0, 1))).max() < 3 for result in results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sheet", "x.png"), "name some with --against"),
        (("--against", "nlm", "--mode", "sr"), "--mode sr enlarges"),
        (("--against", "nothing"), "nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(
    real_nsp: Nsp, pairs: tuple[Path, Path], arguments: tuple[str, ...], message: str
) -> None:
    refused = real_nsp("evaluate", "fast", "--noisy", pairs[0], "--clean", pairs[1], *arguments)
    assert refused.code == 2
    assert message in refused.err


def test_the_crop_shown_is_where_there_is_detail() -> None:
    picture = np.full((64, 96, 3), 128, np.uint8)
    picture[:, 32:] = np.random.default_rng(0).integers(0, 255, (64, 64, 1))
    rows, columns = telling_crop(picture, 32)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (32, 32)
    assert columns.start >= 32
