"""`nsp calibrate`, from the photos to a profile that `nsp denoise` takes."""

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from noisy_photos import noisy_scene, save_archive
from PIL import Image
from run_nsp import WITHOUT_EXPORT, Finished, finish, start_python, start_training

from nsp_pipeline.cli.calibrate import each
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.profiles.bundle import load_profile

Nsp = Callable[..., Finished]
RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 20
batch = 2
steps = 3
inputs-per-step = 3
pd-factor = 1
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return save_archive(tmp_path / "in", 3, iso=800)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(RECIPE)
    return path


def left(folder: Path) -> set[str]:
    """What is there besides the photos and the recipe."""
    return {path.name for path in folder.iterdir()} - {"in", "quick.toml", "file"}


def test_photos_in_profile_out_and_the_profile_denoises(
    denoising_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    (archive / "broken.jpg").write_bytes(b"")
    out = tmp_path / "a folder with a long name, so long that a line of 80 columns cannot hold it [raw]" / "mine.nsp"
    arguments: list[str | Path] = [
        "--recipe",
        recipe,
        "--max-steps",
        "2",
        "--licence",
        "CC0-1.0",
        "--exclude",
        "2.jpg",
        "--json",
    ]

    made = denoising_nsp("calibrate", archive, "--out", out, *arguments)

    assert made.code == 0, made.err
    assert json.loads(made.out) == load_profile(out).spec.model_dump(mode="json")
    assert json.loads(made.out)["training"]["steps"] == 2
    assert (json.loads(made.out)["data"]["photos"], json.loads(made.out)["data"]["licence"]) == (2, "CC0-1.0")
    lines = made.err.splitlines()
    assert "reading 3 photos" in lines
    assert any(line.startswith(f"left out: {archive / 'broken.jpg'}: the file is empty") for line in lines)
    assert any(line.startswith("step 2/2  loss 0.") and line.endswith("steps/s") for line in lines)
    assert f"use it: nsp denoise PHOTOS CLEAN --profile {out}" in lines, "one line, to be copied whole"

    cleaned = denoising_nsp("denoise", archive / "0.jpg", tmp_path / "clean.jpg", "--profile", out)
    assert cleaned.code == 0, cleaned.err
    assert (tmp_path / "clean.jpg").stat().st_size > 0


def test_photos_of_one_camera_are_picked(quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path) -> None:
    made = quick_nsp(
        "calibrate", archive, "--out", tmp_path / "m.nsp", "--recipe", recipe, "--iso", "800-900", "--json"
    )
    assert made.code == 0, made.err
    assert (json.loads(made.out)["iso_min"], json.loads(made.out)["iso_max"]) == (800, 900)
    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "n.nsp", "--recipe", recipe, "--camera", "Nikon")
    assert refused.code == 2
    assert "no photo is of that --camera and --iso" in refused.err


def test_an_archive_gives_a_profile_for_each_camera(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    Image.fromarray(noisy_scene(9)).save(archive / "no-metadata.png")
    (archive / "broken.jpg").write_bytes(b"")
    signed = Image.Exif()
    signed[305] = "GIMP 2.10"
    Image.fromarray(noisy_scene(8)).save(archive / "edited.jpg", exif=signed)
    arguments = ["--out", tmp_path / "made", "--recipe", recipe, "--split", "camera", "--json"]
    made = quick_nsp("calibrate", archive, *arguments)
    assert made.code == 0, made.err
    (profile,) = json.loads(made.out)
    assert (profile["camera_model"], profile["data"]["photos"]) == ("Maker One", 2)
    assert f"left out: {archive / 'broken.jpg'}: the file is empty" in made.err
    assert "left out: 1 photos that a program changed or resized" in made.err
    assert "left out: no metadata, ISO ?, PNG 64×48: 1 photos, at least 3 are needed" in made.err
    path = tmp_path / "made" / "maker-one-iso-800-1000-jpeg-64x48.nsp"
    assert load_profile(path).name == path.stem
    again = quick_nsp("calibrate", archive, *arguments)
    assert again.code == 0
    assert "is there already" in again.err


def test_cameras_of_an_archive_share_the_time_and_the_noisiest_come_first(
    quick_nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: dict[str, float | None] = {}

    def at_once(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        seconds[files[0].parent.name] = plan.max_time
        return Made(None, out, stopped=False)

    monkeypatch.setattr(each, "calibrate_one", at_once)
    save_archive(tmp_path / "in" / "low", 3, iso=100, camera=("Maker", "Low"))
    save_archive(tmp_path / "in" / "high", 5, iso=6400, camera=("Maker", "High"))
    arguments = ["--out", tmp_path / "made", "--split", "camera"]
    made = quick_nsp("calibrate", tmp_path / "in", *arguments, "--max-time", "8m")
    assert made.code == 0, made.err
    assert list(seconds) == ["high", "low"]
    # What looking at the photos took is gone, little as it is.
    assert seconds["high"] == pytest.approx(8 * 60 * 5 / 8, abs=20.0)
    assert (seconds["high"] or 0) < 8 * 60 * 5 / 8
    assert seconds["low"] == pytest.approx(8 * 60, abs=30.0), "what the first did not need is its"

    seconds.clear()
    refused = quick_nsp("calibrate", tmp_path / "in", *arguments, "--max-time", "30s")
    assert (refused.code, list(seconds)) == (2, [])
    assert "no profile can be made in this time" in refused.err

    made = quick_nsp("calibrate", tmp_path / "in", *arguments, "--max-time", "2m")
    assert list(seconds) == ["high"]
    assert re.search(r"left out: Maker Low, ISO 100-300, JPEG 64×48: its share of --max-time is 4\d s", made.err)


def test_a_camera_that_fails_does_not_end_the_others(
    quick_nsp: Nsp, archive: Path, tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        black = Image.new("RGB", (64, 48))
        exif = Image.Exif()
        exif[271], exif[272] = b"Maker", b"Black"
        exif.get_ifd(0x8769)[34855] = 12800
        black.save(archive / f"black-{number}.jpg", exif=exif)
    arguments = ["--out", tmp_path / "made", "--split", "camera", "--recipe", recipe]
    made = quick_nsp("calibrate", archive, *arguments)
    assert made.code == 1
    assert "no profile for Maker Black, ISO 12800, JPEG 64×48: no photo to calibrate on" in made.err
    assert [path.name for path in (tmp_path / "made").glob("*.nsp")] == ["maker-one-iso-800-1000-jpeg-64x48.nsp"]


def test_a_pair_of_shots_says_nothing_of_many_cameras(quick_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    pair = ("--pair", archive / "0.jpg", archive / "1.jpg")
    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "made", "--split", "group", *pair)
    assert refused.code == 2
    assert "--pair shows one camera" in refused.err


def test_noise_decides_what_a_recipe_leaves_open(quick_nsp: Nsp, recipe: Path, tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "in", 3, iso=800, size=(640, 480))
    recipe.write_text(RECIPE.replace("pd-factor = 1", 'pd-factor = "auto"') + 's = "auto"\njudge_every = 1\n')
    made = quick_nsp("calibrate", archive, "--out", tmp_path / "m.nsp", "--recipe", recipe, "--json")
    assert made.code == 0, made.err
    spec = json.loads(made.out)
    # The noise of neighbouring pixels is independent: the smallest s. A network that learnt for three steps makes
    # nothing of PD or none, so only that all ways were tried is sure.
    assert spec["pairs"]["s"] == 3
    assert len(spec["scores"]["inference_errors"]) == 4
    assert "PD at inference: " in made.err
    assert len(spec["noise"]) == 3
    assert len(spec["noise_correlation"]) == 10
    shown = quick_nsp("profiles", "show", tmp_path / "m.nsp", "-v")
    assert "noise σ, green" in shown.out
    known = load_profile(tmp_path / "m.nsp").camera_noise
    assert known is not None
    assert (known.isos, known.photos) == ((800, 900, 1000), (1, 1, 1))
    level = known.priors[1].table[0]
    # A JPEG halves the resolution of colour, and takes some of the 15 with it.
    assert 8 < 255 * float(level[0, 3] ** 2 + level[2, 3] ** 2) ** 0.5 < 15
    told = quick_nsp("profiles", "show", tmp_path / "m.nsp").out
    assert "known at ISO 800 to 1000 from 3 photos" in " ".join(told.split())
    page = tmp_path / "m.html"
    assert quick_nsp("profiles", "show", tmp_path / "m.nsp", "--report", page).code == 0
    html = page.read_text()
    # Photos kept out, noise of three channels, correlation, and the error step by step.
    assert [picture.count("<polyline") for picture in html.split("<figure>")[1:]] == [0, 3, 1, 1]
    assert [step for step, _ in spec["scores"]["history"]] == [1, 2, 3]
    assert "noise σ, green" in html
    refused = quick_nsp("profiles", "show", tmp_path / "m.nsp", "--report", tmp_path / "no" / "m.html")
    assert (refused.code, "cannot be written" in refused.err) == (4, True)


KEEPING_WEIGHTS = """
import hashlib, os, sys
from pathlib import Path
from nsp_pipeline.calibration.next_scale import calibrate as there

def keeping(*given, run, train=there.train, **named):
    trained = train(*given, run=run, **named)
    weights = b"".join(value.numpy().tobytes() for value in trained.network.state_dict().values())
    result = f"{trained.steps} {hashlib.sha256(weights).hexdigest()}"
    Path(os.environ["KEPT"], f"rank-{run.ranks.rank}-of-{run.ranks.count}").write_text(result)
    return trained

there.train = keeping
from nsp_pipeline.cli.main import main
sys.exit(main())
"""
"""Let each process of a training tell what network it ended with."""


def test_two_processes_end_with_the_same_network_and_make_one_profile(
    archive: Path, recipe: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program, kept = tmp_path / "file", tmp_path_factory.mktemp("kept")
    program.write_text(WITHOUT_EXPORT + KEEPING_WEIGHTS)
    torchrun: list[str | Path] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
    arguments: list[str | Path] = ["calibrate", archive, "--out", tmp_path / "m.nsp", "--recipe", recipe]
    limits = ("--max-steps", "10", "--max-time", "10m")
    made = finish(start_python(*torchrun, *arguments, *limits, OMP_NUM_THREADS="1", KEPT=str(kept)))
    assert made.code == 0, made.err
    assert made.err.count(f"profile {tmp_path / 'm.nsp'}: 10 steps") == 1
    assert left(tmp_path) == {"m.nsp", "m.nsp.training"}
    assert not list((tmp_path / "m.nsp.training").glob("cache-*"))
    results = sorted(kept.iterdir())
    assert [path.name for path in results] == ["rank-0-of-2", "rank-1-of-2"]
    assert results[0].read_text() == results[1].read_text()
    assert results[0].read_text().startswith("10 ")
    assert len(list((tmp_path / "m.nsp.training").glob("held-out-*.png"))) == 1


def until(process: Any, words: str) -> None:
    """Read the messages of a process up to a line with these words."""
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended without saying '{words}'")


SLOW_EXPORT = "import time; stages.make_onnx = lambda *_: time.sleep(100)"


@pytest.fixture
def training(request: pytest.FixtureRequest, archive: Path, recipe: Path, tmp_path: Path) -> Any:
    """A training that would take hours, under way; its parameter is a program that runs in its process first."""
    arguments: list[str | Path] = ["--recipe", recipe, "--max-steps", "10000000", "--out", tmp_path / "mine.nsp"]
    process = start_training("calibrate", archive, *arguments, first=getattr(request, "param", "pass"))
    until(process, "step 100/10000000")
    yield process
    process.kill()
    process.communicate()


def test_an_interrupt_writes_the_profile_so_far(training: Any, tmp_path: Path) -> None:
    training.send_signal(signal.SIGINT)
    ended = finish(training)

    assert ended.code == 130
    assert "stopping; writing the profile so far" in ended.err
    assert "Traceback" not in ended.err
    assert 100 <= load_profile(tmp_path / "mine.nsp").spec.training.steps < 10_000_000


@pytest.mark.parametrize("training", [SLOW_EXPORT], indirect=True)
def test_a_second_interrupt_gives_up_and_leaves_no_profile(training: Any, tmp_path: Path) -> None:
    training.send_signal(signal.SIGINT)
    until(training, "stopping; writing the profile so far")
    time.sleep(0.2)
    training.send_signal(signal.SIGINT)
    ended = finish(training)

    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "nsp: interrupted"
    assert "Traceback" not in ended.err
    assert not any("mine.nsp" in name and "training" not in name for name in left(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("base_channels", "base_chanels"), "unknown setting 'base_chanels'; did you mean 'base_channels'?"),
        (("steps = 3", "steps = 0"), "[calibrate]: steps: Input should be greater than or equal to 1"),
        (("steps = 3", 'steps = "many"'), "[calibrate]: steps: Input should be a valid integer"),
        (("steps = 3", "n = 5"), "n must be 1 to 4"),
        (("steps = 3", "s = 3\nt = 3"), "pair construction needs 1 < t < s, got s = 3, t = 3"),
        (("crop = 20", "crop = 8\ns = 9"), "[calibrate]: crop must be at least s = 9 pixels"),
        (("pd-factor = 1", "pd-factor = 3"), "[calibrate]: pd_factor must be 1 or t = 2"),
        (("[calibrate]", "[denoise]"), "has no [calibrate] table; it has: denoise"),
        (("[calibrate]", "[calibrate"), "is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_photo_is_read(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    recipe.write_text(RECIPE.replace(*change))
    ended = quick_nsp("calibrate", archive, "--out", tmp_path / "mine.nsp", "--recipe", recipe)

    assert ended.code == 2
    assert ended.err.startswith("nsp: ")
    assert message in ended.err
    assert "reading" not in ended.err
    assert left(tmp_path) == set()


def test_an_unknown_recipe_names_the_known_ones(quick_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    ended = quick_nsp("calibrate", archive, "--out", tmp_path / "mine.nsp", "--recipe", "camrea")
    assert ended.code == 2
    assert "there is no recipe 'camrea'; shipped ones: " in ended.err
    assert "camera" in ended.err


def test_photos_that_cannot_serve_are_refused_with_the_reason(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "empty").mkdir()
    (tmp_path / "in" / "texts").mkdir()
    (tmp_path / "in" / "texts" / "notes.txt").write_text("hello")
    save_archive(tmp_path / "in" / "small", 1, size=(40, 12))
    for folder, message in [
        ("empty", f"no photos in {archive / 'empty'}"),
        ("texts", f"no photos in {archive / 'texts'}"),
        ("small", f"no photo to calibrate on:\n  {archive / 'small' / '0.png'}: 40×12 pixels are too few"),
        ("nowhere", "there is no such file or folder"),
    ]:
        ended = quick_nsp("calibrate", archive / folder, "--out", tmp_path / "mine.nsp", "--recipe", recipe)
        assert ended.code == 2, folder
        assert message in ended.err
        assert left(tmp_path) == set(), folder


def test_an_output_that_cannot_be_is_refused_before_the_training(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    for out, message in [
        (tmp_path / "file", "exists already; a profile is never overwritten, name another"),
        (tmp_path / "file" / "mine.nsp", f"the profile cannot be written: {tmp_path / 'file'} is no folder"),
        (Path("/proc/mine.nsp"), "the profile cannot be written"),
    ]:
        ended = quick_nsp("calibrate", archive, "--out", out, "--recipe", recipe)
        assert ended.code == 4
        assert f"nsp: {out}: {message}" in ended.err
        assert "reading" not in ended.err
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert left(tmp_path) == set()


def test_a_device_that_is_not_there_is_wrong_usage(quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path) -> None:
    ended = quick_nsp("calibrate", archive, "--out", tmp_path / "m.nsp", "--recipe", recipe, "--device", "cuda:99")
    assert ended.code == 2
    assert "--device cuda:99: PyTorch cannot use it here: " in ended.err


@pytest.mark.parametrize("command", ["calibrate", "distill", "export"])
def test_without_pytorch_and_what_goes_with_it_pytorch_is_named_first(
    real_nsp: Nsp, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for package in ("torch", "onnxscript", "safetensors"):
        monkeypatch.setitem(sys.modules, package, None)
    ended = real_nsp(command, archive, "--out", tmp_path / "mine.nsp")
    assert ended.code == 3
    assert "this command needs PyTorch" in ended.err
    assert "onnxscript" not in ended.err
    assert "pip install 'nsp-pipeline[cpu,train]'" in ended.err


@pytest.mark.parametrize("missing", ["torch", "onnxscript", "safetensors"])
@pytest.mark.parametrize("command", ["calibrate", "export"])
def test_without_what_training_needs_the_command_that_mends_it_is_named(
    real_nsp: Nsp, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    ended = real_nsp(command, archive, "--out", tmp_path / "mine.nsp")
    assert ended.code == 3
    named = "PyTorch" if missing == "torch" else missing
    assert f"this command needs {named}, which cannot be used" in ended.err
    assert ("PyTorch" in ended.err) == (missing == "torch")
    assert "pip install 'nsp-pipeline[cpu,train]'" in ended.err


def test_a_folder_beside_the_profile_keeps_what_is_not_ours(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine.nsp.training"
    folder.mkdir()
    (folder / "diary.txt").write_text("my own")
    (folder / "held-out-000999.png").write_bytes(b"of an earlier training")

    made = quick_nsp("calibrate", archive, "--out", tmp_path / "mine.nsp", "--recipe", recipe, "--max-steps", "2")

    assert made.code == 0, made.err
    assert {path.name for path in folder.iterdir()} >= {"diary.txt", "log.csv", "held-out-000002.png"}
    assert not (folder / "held-out-000999.png").exists()
    assert not (folder / "checkpoint.pt").exists()


def test_a_training_that_was_cut_off_is_not_thrown_away(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "mine.nsp.training" / "checkpoint.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"a night's work")

    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "mine.nsp", "--recipe", recipe)

    assert refused.code == 2
    assert "--resume goes on with it" in refused.err
    assert checkpoint.read_bytes() == b"a night's work"
    assert not (tmp_path / "mine.nsp").exists()


@pytest.mark.parametrize("command", [("calibrate",), ("calibrate", "--stop-at", "teacher"), ("distill",)])
def test_where_there_is_nothing_to_resume_it_is_said_before_any_photo_is_read(
    quick_nsp: Nsp, archive: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    name, *options = command
    refused = quick_nsp(name, archive, *options, "--out", tmp_path / "mine.nsp", "--resume")
    assert refused.code == 2
    assert f"{tmp_path / 'mine.nsp.training'}: there is no training to resume" in refused.err
    assert "leave --resume out to start one" in refused.err
    assert "reading" not in refused.err
    assert left(tmp_path) == set(), "not even a folder"


def test_cameras_of_two_makers_under_one_name_get_no_profile(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_archive(archive / "other", 3, iso=800, camera=("Other", "Other Two"))
    (tmp_path / "file").write_text('[aliases]\n"Maker One" = "Studio"\n"Other Two" = "Studio"\n')
    monkeypatch.setattr(each, "aliases_file", lambda: tmp_path / "file")
    arguments = ["--out", tmp_path / "made", "--recipe", recipe, "--split", "camera"]
    refused = quick_nsp("calibrate", archive, *arguments)
    assert refused.code == 2, refused.err
    assert (
        "left out: Studio: cameras.toml gives this name to Maker One and Other Two, whose noise differs" in refused.err
    )
    assert "no profile can be made of these photos" in refused.err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("options", [("--split", "camera"), ("--split", "group", "--json")])
def test_an_archive_of_which_no_profile_can_be_made_is_no_success(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (archive / "0.jpg").unlink()
    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "made", "--recipe", recipe, *options)
    assert refused.code == 2
    assert "2 photos, at least 3 are needed" in refused.err
    assert "no profile can be made of these photos" in refused.err


def test_a_student_is_no_base(quick_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "x.nsp", "--base", "standard")
    assert refused.code == 2
    assert "standard is a student" in refused.err
    assert refused.err.rstrip().endswith(
        "To make a student for this camera that starts from standard: --student standard"
    )
    assert not list(tmp_path.glob("x.nsp*"))


def test_a_base_of_another_network_is_refused(quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.nsp"
    assert quick_nsp("calibrate", archive, "--out", base, "--recipe", recipe, "--max-steps", "1").code == 0
    recipe.write_text(RECIPE.replace("base_channels = 4", "backbone = 'dbsn'\nbase_channels = 6"))

    refused = quick_nsp("calibrate", archive, "--out", tmp_path / "x.nsp", "--recipe", recipe, "--base", base)

    assert refused.code == 2
    assert "another network than the recipe asks for: it has base_channels 4" in refused.err


def test_a_profile_that_does_not_beat_its_base_keeps_the_base_s_weights(
    quick_nsp: Nsp, archive: Path, recipe: Path, tmp_path: Path
) -> None:
    base, terms = tmp_path / "base.nsp", ("--licence", "research only")
    assert quick_nsp("calibrate", archive, "--out", base, "--recipe", recipe, "--max-steps", "1", *terms).code == 0
    recipe.write_text("[calibrate]\ncrop = 20\nbatch = 2\nsteps = 1\npd-factor = 1\nlearning-rate = 1e-9\n")

    made = quick_nsp("calibrate", archive, "--out", tmp_path / "x.nsp", "--recipe", recipe, "--base", base)

    assert made.code == 0, made.err
    assert "not accepted, the weights of base stay: not better than the base" in made.err
    scores = load_profile(tmp_path / "x.nsp").spec.scores
    assert (scores.accepted, scores.base) == (False, "base")
    assert load_profile(tmp_path / "x.nsp").read("weights.safetensors") == load_profile(base).read(
        "weights.safetensors"
    )
    # Weights keep the terms of those that they started from.
    assert load_profile(tmp_path / "x.nsp").spec.data.licence == "not stated; from base: research only"
    assert "Not accepted" in load_profile(tmp_path / "x.nsp").read("CARD.md").decode()


def test_two_shots_of_one_scene_decide(tmp_path: Path, archive: Path, recipe: Path, quick_nsp: Nsp) -> None:
    save_archive(tmp_path / "pair", 2, size=(600, 280))
    pair = ("--pair", tmp_path / "pair" / "0.png", tmp_path / "pair" / "1.png")
    first = quick_nsp("calibrate", archive, "--recipe", recipe, "--base", "none", "--out", tmp_path / "a.nsp", *pair)
    assert first.code == 0, first.err
    assert "on the pairs of shots:" in first.err
    second = quick_nsp(
        "calibrate", archive, "--recipe", recipe, "--base", tmp_path / "a.nsp", "--out", tmp_path / "b.nsp", *pair
    )
    assert second.code == 0, second.err
    scores = load_profile(tmp_path / "b.nsp").spec.scores
    assert scores.pair_gain is not None
    assert scores.verdict is not None
    assert "on pairs of shots" in scores.verdict
