"""`nsp calibrate` ends in a student: what it starts from, learns from, keeps, says and refuses."""

import base64
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
from noisy_photos import save_archive
from run_nsp import Finished
from small_student import write_pair

from nsp_pipeline.calibration.simulation import real_noise
from nsp_pipeline.calibration.student import own_noise
from nsp_pipeline.calibration.training.log import read_log
from nsp_pipeline.calibration.training.loop import Trained
from nsp_pipeline.cli.calibrate import stages
from nsp_pipeline.cli.calibrate.command import usual_plan
from nsp_pipeline.cli.calibrate.one import calibrate_one
from nsp_pipeline.cli.shared import training
from nsp_pipeline.core import noise_kind
from nsp_pipeline.engines.measured.speeds import speed_key
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.profiles.bundle import UNSMOOTHED_FILE, WEIGHTS_FILE, Profile, load_profile

Nsp = Callable[..., Finished]
RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 40
batch = 2
steps = 2
pd-factor = 1

[student]
crop = 32
batch = 4
steps = 60
judge-every = 30
learning-rate = 5e-3
with-teacher = true
teacher-share = 0.5
teacher-crops = 2
"""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in {"WINDOWS": 4, "JUDGED_WINDOWS": 2, "JUDGED": 12, "JUDGED_SIDE": 96}.items():
        monkeypatch.setattr(own_noise, name, count)
    # The student of these tests spoils pictures, so that it cannot tell where they are flat: all of the scene is.
    monkeypatch.setattr(real_noise, "FLAT", (100.0,))
    # The painted photos are noisier than cameras leave theirs, and it is the first network that is trained here.
    monkeypatch.setattr(noise_kind, "STRONGEST_SMOOTHED", 1.0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_archive(tmp_path_factory.mktemp("photos") / "in", 3, iso=800, size=(240, 200))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A student that spoils pictures, and a second network inside it."""
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def calibrate(quick_nsp: Nsp, archive: Path, pair: Profile, tmp_path: Path) -> Callable[..., Finished]:
    """Calibrate to mine.nsp from that student; `changes` are put in the place of words of the recipe."""

    def run(*options: str | Path, photos: Path = archive, changes: tuple[str, str] = ("", "")) -> Finished:
        (tmp_path / "quick.toml").write_text(RECIPE.replace(*changes))
        start = () if "--stop-at" in options or "--student" in options else ("--student", pair.path)
        recipe = ("--recipe", tmp_path / "quick.toml")
        return quick_nsp("calibrate", photos, "--out", tmp_path / "mine.nsp", *recipe, *start, *options)

    return run


def test_a_student_that_gains_is_taken_and_keeps_the_second_network(
    calibrate: Callable[..., Finished], quick_nsp: Nsp, pair: Profile, tmp_path: Path
) -> None:
    made = calibrate()
    assert made.code == 0, made.err
    profile = load_profile(tmp_path / "mine.nsp")
    spec = profile.spec
    assert (spec.backbone.name, spec.pairs, spec.camera_model) == ("unet", None, "Maker One")
    assert (spec.iso_min, spec.iso_max) == (800, 1000), "of the photo kept out too"
    assert spec.scores.accepted, made.err
    claim = spec.scores.claim
    assert claim
    assert claim.sure
    assert spec.scores.measures
    assert all(gain > claim.gain for gain, _ in spec.scores.measures.values()), "every measure promises more"
    assert spec.noise is not None
    assert profile.read(WEIGHTS_FILE) != pair.read(WEIGHTS_FILE)
    assert profile.content[UNSMOOTHED_FILE] == pair.content[UNSMOOTHED_FILE]
    assert "Networks for other noise" in profile.read("CARD.md").decode()
    said = f"photos gain {claim} over pair (judged by 1 photo kept out of training)"
    assert f"calibrated: {said}; learnt from 2 photos in" in made.err
    assert f"{said[0].upper()}{said[1:]}." in profile.read("CARD.md").decode()
    (line,) = [line for line in made.err.splitlines() if line.startswith("step 31/60")]
    assert " dB over pair so far  " in line or "nothing surely gained over pair so far  " in line
    assert line.endswith(" left")
    folder = tmp_path / "mine.nsp.training"
    assert {"teacher.nsp", "held-out-000060.png", "log.csv"} <= {path.name for path in folder.iterdir()}
    assert load_profile(folder / "teacher.nsp").spec.pairs is not None
    assert not list(folder.rglob("checkpoint.pt"))

    shown = " ".join(quick_nsp("profiles", "show", tmp_path / "mine.nsp").out.split())
    assert f"judged {said}" in shown
    assert "JPEGs have it; the others are as they were" in shown
    assert quick_nsp("profiles", "show", tmp_path / "mine.nsp", "--report", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "photos kept out of training: as they are, denoised by pair, and by this profile" in page
    shown_crops = folder / f"held-out-{spec.training.steps:06}.png"
    assert base64.b64encode(shown_crops.read_bytes()).decode() in page, "of the step that the profile holds"
    folder.rename(tmp_path / "elsewhere")
    assert quick_nsp("profiles", "show", tmp_path / "mine.nsp", "--report", tmp_path / "page.html").code == 0
    assert "photos kept out of training: as they are" not in (tmp_path / "page.html").read_text()


def test_a_student_that_does_not_gain_leaves_the_weights_and_says_so_in_a_sentence(
    calibrate: Callable[..., Finished], quick_nsp: Nsp, pair: Profile, tmp_path: Path
) -> None:
    reckless = ("learning-rate = 5e-3\nwith-teacher = true", "learning-rate = 0.9")
    made = calibrate("--max-steps", "2", changes=reckless)
    assert made.code == 0, made.err
    profile = load_profile(tmp_path / "mine.nsp")
    assert profile.spec.scores.accepted is False
    assert profile.read(WEIGHTS_FILE) == pair.read(WEIGHTS_FILE)
    assert profile.content[UNSMOOTHED_FILE] == pair.content[UNSMOOTHED_FILE]
    said = "nothing surely gained over pair, whose weights it has (judged by 1 photo kept out of training)"
    assert f"calibrated: {said}; learnt" in made.err
    assert (profile.spec.scores.gain, profile.spec.scores.claim) == (None, None), "no number is left that is no gain"
    shown = quick_nsp("profiles", "show", tmp_path / "mine.nsp").out
    assert f"judged {said}" in " ".join(shown.split())
    assert "JPEGs have it; it stays as it was, like the others" in " ".join(shown.split())
    assert not (tmp_path / "mine.nsp.training" / "teacher.nsp").exists(), "no share, no teacher"


def test_who_wants_to_know_hears_of_what_was_trained_though_the_profile_refuses_it(
    archive: Path, pair: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "make_onnx", lambda network, mode, *_: mode.encode())
    changes = ("learning-rate = 5e-3\nwith-teacher = true", "learning-rate = 0.9")
    (tmp_path / "reckless.toml").write_text(RECIPE.replace(*changes))
    asked = {"recipe": str(tmp_path / "reckless.toml"), "student": str(pair.path), "max_steps": 2, "device": "cpu"}
    heard: list[Trained] = []
    plan = usual_plan([archive], **asked)
    made = calibrate_one(plan, find_photos([archive]).paths, tmp_path / "mine.nsp", on_trained=heard.append)
    assert made.profile
    assert made.profile.spec.scores.accepted is False
    (trained,) = heard
    assert trained.steps == 2
    assert trained.judgement
    assert trained.judgement.claim
    held = safetensors.torch.load(made.profile.read(WEIGHTS_FILE))
    assert any((held[name] != part).any() for name, part in trained.network.state_dict().items())


def test_what_does_not_gain_runs_on_the_engines_that_were_built_and_measured_for_its_base(
    calibrate: Callable[..., Finished], pair: Profile, tmp_path: Path
) -> None:
    reckless = ("learning-rate = 5e-3\nwith-teacher = true", "learning-rate = 0.9")
    assert calibrate("--max-steps", "2", changes=reckless).code == 0
    profile = load_profile(tmp_path / "mine.nsp")
    assert not profile.spec.has_own_weights
    assert profile.read("model.onnx") == pair.read("model.onnx")
    assert speed_key(profile, "denoise", 1) == speed_key(pair, "denoise", 1)
    assert profile.read("model-sr-direct.onnx"), "which its base lacks: it is made anew"


def test_it_says_how_far_the_pieces_are_and_where_the_pictures_lie(
    calibrate: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PREPARED_EVERY", 0.0)
    made = calibrate("--max-steps", "2", changes=("with-teacher = true", ""))
    assert made.code == 0, made.err
    folder = tmp_path / "mine.nsp.training"
    said = made.err.splitlines()
    prepared, picture = (
        said.index(line)
        for line in ("prepared 1/6", f"photos kept out of training, before and after: {folder / 'held-out-000002.png'}")
    )
    assert said.index(next(line for line in said if "first, pieces of the photos" in line)) < prepared < picture
    (row,) = [row for row in read_log(folder) if row["step"] == "2"]
    assert float(row["gain_error"]) > 0
    assert row["accepted"] == f"{load_profile(tmp_path / 'mine.nsp').spec.scores.accepted:d}"


def test_noise_that_nobody_has_smoothed_trains_the_second_network_and_leaves_the_first(
    calibrate: Callable[..., Finished], quick_nsp: Nsp, pair: Profile, tmp_path: Path
) -> None:
    rough = save_archive(tmp_path / "rough", 3, size=(240, 200))
    made = calibrate(photos=rough, changes=("with-teacher = true", ""))
    assert made.code == 0, made.err
    assert "the network for such noise of pair is trained" in made.err
    profile = load_profile(tmp_path / "mine.nsp")
    assert profile.unsmoothed
    assert pair.unsmoothed
    assert profile.read(WEIGHTS_FILE) == pair.read(WEIGHTS_FILE)
    assert profile.spec.backbone == pair.spec.backbone
    assert profile.unsmoothed.read(WEIGHTS_FILE) != pair.unsmoothed.read(WEIGHTS_FILE)
    assert profile.spec.scores == profile.unsmoothed.spec.scores
    assert (profile.spec.scores.accepted, profile.spec.scores.base) == (True, "pair"), made.err
    assert (profile.name, profile.spec.data.photos) == ("mine", 2)
    shown = " ".join(quick_nsp("profiles", "show", tmp_path / "mine.nsp").out.split())
    assert "calibrated its network for developed RAW and other noise that nobody has smoothed; the other" in shown


def test_it_can_stop_at_the_teacher(calibrate: Callable[..., Finished], tmp_path: Path) -> None:
    made = calibrate("--stop-at", "teacher")
    assert made.code == 0, made.err
    assert load_profile(tmp_path / "mine.nsp").spec.backbone.name == "dbsn"
    assert not (tmp_path / "mine.nsp.training" / "teacher.nsp").exists()


def test_stopped_at_the_teacher_it_holds_what_the_student_would_have_started_from(
    calibrate: Callable[..., Finished], pair: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = stages.train_blind_spot

    def interrupted(*arguments: object) -> Profile | None:
        this = arguments[-1]
        with this.stop.finishing_first():  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGINT)
            return train(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stages, "train_blind_spot", interrupted)
    stopped = calibrate()
    assert stopped.code == 130, stopped.err
    profile = load_profile(tmp_path / "mine.nsp")
    assert profile.read(WEIGHTS_FILE) == pair.read(WEIGHTS_FILE)
    assert (profile.name, profile.spec.camera_model, profile.spec.scores.accepted) == ("mine", "Maker One", False)
    assert (tmp_path / "mine.nsp.training" / "teacher" / "checkpoint.pt").exists()

    monkeypatch.setattr(stages, "train_blind_spot", train)
    (tmp_path / "mine.nsp").rename(tmp_path / "so-far.nsp")
    refused = calibrate()
    assert refused.code == 2
    assert "--resume goes on with it" in refused.err
    resumed = calibrate("--resume", "--max-steps", "2")
    assert resumed.code == 0, resumed.err
    assert load_profile(tmp_path / "mine.nsp.training" / "teacher.nsp").spec.training.steps == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--student", "dbsn"], "--student dbsn is a blind-spot network"),
        (["--student", "nobody"], "there is no profile 'nobody'"),
        (["--student", "fast", "--stop-at", "teacher"], "leave --student and --with-teacher out"),
        (
            ["--recipe", "camera", "--student", "fast", "--base", "none"],
            "add --stop-at teacher to end in one, or --with-teacher",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_photo_is_read(
    calibrate: Callable[..., Finished], tmp_path: Path, options: list[str], message: str
) -> None:
    refused = calibrate(*options)
    assert refused.code == 2
    assert message in refused.err
    assert "reading" not in refused.err
    assert not list(tmp_path.glob("mine.nsp*"))


def test_one_photo_cannot_be_judged_by_and_is_refused(calibrate: Callable[..., Finished], tmp_path: Path) -> None:
    photos = save_archive(tmp_path / "one", 1, iso=800, size=(240, 200))
    refused = calibrate(photos=photos, changes=("with-teacher = true", ""))
    assert refused.code == 2
    assert "these photos are too few to train from pair" in refused.err
    assert "three photos or more" in refused.err
    assert refused.err.rstrip().endswith("or denoise with pair as it is")


def test_too_few_photos_are_refused_before_a_teacher_is_trained_on_them(
    calibrate: Callable[..., Finished], tmp_path: Path
) -> None:
    refused = calibrate(photos=save_archive(tmp_path / "two", 2, iso=800, size=(240, 200)))
    assert refused.code == 2
    assert "these photos are too few to train from pair" in refused.err
    assert "training on" not in refused.err
    assert not list(tmp_path.glob("mine.nsp*"))


def test_photos_smaller_than_what_is_learnt_from_are_named(calibrate: Callable[..., Finished], tmp_path: Path) -> None:
    photos = save_archive(tmp_path / "small", 3, iso=800, size=(70, 60))
    refused = calibrate(photos=photos)
    assert refused.code == 2
    assert "70×60 pixels are too few: a crop takes 80 a side" in refused.err
