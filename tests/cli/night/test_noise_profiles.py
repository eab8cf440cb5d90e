"""A night keeps what it learnt of a camera's noise where no weights gained: that serves, and settles nothing."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from night_training import PLAN, write_at_once
from noisy_photos import save_archive
from rich.console import Console

from nsp_pipeline.calibration.night import memory
from nsp_pipeline.calibration.night.memory import Outcome, place_of, recall
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night import keep, one_group
from nsp_pipeline.cli.night.half_done import goes_on, target_of
from nsp_pipeline.cli.night.one_group import calibrate_group
from nsp_pipeline.cli.night.stage import Night, Survey, calibrate_groups, document, survey
from nsp_pipeline.cli.night.task import GroupEnd, GroupTask, Train
from nsp_pipeline.cli.profiles.words import purpose_of
from nsp_pipeline.cli.shared.training_folder import folder_of
from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.noise_prior import NoisePrior, level_of, sigma_of
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import load_profile, write_profile
from nsp_pipeline.profiles.choose import choose_profile, look_again
from nsp_pipeline.profiles.install import remove_profile
from nsp_pipeline.profiles.noise_file import NOISE_FILE, noise_file

pytestmark = pytest.mark.usefixtures("in_this_process")

NAME = "maker-dull-iso-800-1000-jpeg-64x48"
DULL = Camera("Maker", "Dull", 800)


class Knowing:
    """Stands in for trainings that get to know the camera's noise; weights gain nothing, unless they do."""

    def __init__(self, *, sigma: float = 9.0, gains: bool = False, base: str = "standard") -> None:
        self.count = 0
        self._sigma, self._changes = sigma, {"accepted": gains, "base": base}

    def __call__(self, plan: Plan, files: Sequence[Path], out: Path) -> Made:
        """Write a profile, and a training beside it."""
        self.count += 1
        made = write_at_once(plan, files, out.with_name("plain"))
        assert made.profile
        spec = made.profile.spec
        prior = NoisePrior(level_of(np.full((4, 8), self._sigma / 255)), np.full((4, 8), 0.2))
        noise = CameraNoise((800,), (prior,), (len(files),))
        fields = spec.model_dump(exclude={"schema_version", "files"})
        fields |= {"name": out.stem, "scores": spec.scores.model_dump() | self._changes}
        profile = write_profile(out, fields, {**made.profile.content, NOISE_FILE: noise_file(noise)})
        for part in made.profile.path.iterdir():
            part.unlink()
        made.profile.path.rmdir()
        folder_of(out).mkdir(exist_ok=True)
        (folder_of(out) / "log.csv").write_text("step")
        return Made(profile, folder_of(out), stopped=False)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Photos of which no training gains anything."""
    return save_archive(tmp_path / "in", 3, iso=800, camera=("Maker", "Dull"))


def work(archive: Path, train: Train, seconds: float = 1200.0) -> tuple[Survey, list[GroupEnd]]:
    """A night's calibrations, to their end."""
    this = Night(seconds, [archive], archive.parent / "out", "cpu", None, train)
    found = survey(sorted(archive.rglob("*.jpg")), this)
    ends, stopped = calibrate_groups(this, PLAN, found, Console(stderr=True), lambda end: None)
    assert not stopped
    this.ledger.close()
    look_again()
    return found, ends


def sigma_in(profile: Path) -> float:
    """What a profile says of its camera's noise, of 255."""
    known = load_profile(profile).camera_noise
    assert known
    return 255 * float(sigma_of(known.priors[0].level)[0, 0])


def task_of(archive: Path, train: Train) -> GroupTask:
    this = Night(1200.0, [archive], archive.parent / "out", "cpu", None, train)
    (candidate,) = survey(sorted(archive.rglob("*.jpg")), this).candidates
    return GroupTask(candidate, PLAN, 1200.0, "cpu", None)


def test_what_is_known_of_the_noise_is_kept_and_serves_and_the_weights_are_not_trained_again(
    user_profiles: Path, archive: Path
) -> None:
    knowing = Knowing()
    found, (end,) = work(archive, knowing)
    assert (end.outcome, end.profile, end.gain) == (Outcome.NOISE, NAME, None)
    assert end.reason == (
        "no weights surely gained, so those that ship stay (as the test has it); how noisy the camera is at ISO 800 is "
        f"known now; kept as {NAME}"
    )
    assert document(found, [end])["groups"][0]["outcome"] == "noise known"
    assert (user_profiles / f"{NAME}.nsp.training" / "log.csv").exists()
    chosen = choose_profile(DULL, on_missing="builtin")
    assert chosen.profile
    assert (chosen.profile.path.stem, chosen.why) == (NAME, "made for Maker Dull, ISO 800")
    assert purpose_of(NAME, chosen.profile.spec) == "this camera's noise; weights of standard"

    found, ends = work(archive, knowing)
    assert (ends, knowing.count) == ([], 1)
    assert found.left_out[0].reason == (
        f"it gained nothing before, so profile {NAME} stays, the weights that ship and the camera's noise (as the test "
        "has it); it is tried again with 6 photos, or 40 minutes for them"
    )


@pytest.mark.parametrize(
    ("knowing", "why"),
    [(Knowing(base="dbsn"), "it has other weights than those that ship"), (write_at_once, "it knows no noise")],
)
def test_what_would_change_nothing_or_be_weaker_is_not_kept(
    user_profiles: Path, archive: Path, knowing: Train, why: str
) -> None:
    _, (end,) = work(archive, knowing)
    assert end.outcome is Outcome.NO_GAIN, why
    assert not list(user_profiles.glob("*.nsp"))


def test_it_is_tried_again_as_what_gained_nothing_is_and_the_newer_takes_the_place_of_the_older(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(archive, Knowing(sigma=9.0))
    _, (end,) = work(archive, Knowing(sigma=10.0), seconds=2400.0)
    assert (end.outcome, end.profile) == (Outcome.NOISE, NAME)
    assert [path.name for path in user_profiles.glob("*.nsp*")] == [f"{NAME}.nsp", f"{NAME}.nsp.training"]
    assert sigma_in(user_profiles / f"{NAME}.nsp") == pytest.approx(10.0, rel=0.01)
    save_archive(archive, 6, iso=800, camera=("Maker", "Dull"))
    _, (end,) = work(archive, Knowing(sigma=11.0), seconds=2400.0)
    (profile,) = user_profiles.glob("*.nsp")
    assert (profile.stem, end.profile) == ("maker-dull-iso-800-1300-jpeg-64x48",) * 2, "of the ISO that are there now"
    assert sigma_in(profile) == pytest.approx(11.0, rel=0.01)
    with monkeypatch.context() as patch:
        for module in ("calibration.night.memory", "cli.night.half_done"):
            patch.setattr(f"nsp_pipeline.{module}.__version__", "99")
        knowing = Knowing(sigma=12.0)
        work(archive, knowing, seconds=2400.0)
        assert knowing.count == 1, "another version"


def test_a_folder_of_the_users_that_has_its_name_is_never_touched(user_profiles: Path, archive: Path) -> None:
    work(archive, Knowing(sigma=9.0))
    mine = user_profiles / NAME
    shutil.copytree(save_archive(archive.parent / "other", 3, iso=800, camera=("Maker", "Other")), mine)
    (mine / "profile.json").write_text("{}")
    before = sorted(path.name for path in mine.iterdir())
    _, (end,) = work(archive, Knowing(sigma=10.0), seconds=2400.0)
    assert end.outcome is Outcome.NOISE
    assert sorted(path.name for path in mine.iterdir()) == before
    assert sigma_in(user_profiles / f"{NAME}.nsp") == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("gains", [False, True])
def test_what_is_known_of_one_iso_stays_when_another_is_calibrated(
    user_profiles: Path, archive: Path, tmp_path: Path, *, gains: bool
) -> None:
    work(archive, Knowing())
    bright = save_archive(tmp_path / "bright", 3, iso=6400, camera=("Maker", "Dull"))
    _, (end,) = work(bright, Knowing(gains=gains))
    assert end.profile
    assert sorted(path.stem for path in user_profiles.glob("*.nsp")) == sorted([NAME, end.profile])
    train = Knowing()
    for photos in (archive, bright, archive):
        work(photos, train)
    assert train.count == 0, "no night after the other trains for what the last one did"


def test_a_group_whose_number_changes_is_known_again(user_profiles: Path, archive: Path, tmp_path: Path) -> None:
    photos = tmp_path / "all"
    for iso in (800, 6400):
        save_archive(photos / str(iso), 3, iso=iso, camera=("Maker", "Dull"))
    made = Knowing(gains=True)
    # A profile of ISO between theirs makes two groups of them.
    work(save_archive(tmp_path / "between", 3, iso=2400, camera=("Maker", "Dull")), made)
    middle = next(user_profiles.glob("*.nsp"))
    trains: list[Train] = []

    def by_turns(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        trains.append(Knowing(gains=not trains))
        return trains[-1](plan, files, out)

    work(photos, by_turns)
    assert len(trains) == 2
    found, ends = work(photos, by_turns)
    assert (ends, len(trains)) == ([], 2), "the second group is the first one now"
    assert any("gained nothing before" in entry.reason for entry in found.left_out)
    assert len(list(user_profiles.glob("*.nsp"))) == 3
    assert middle.exists()


def test_weights_that_gain_take_its_place(user_profiles: Path, archive: Path) -> None:
    work(archive, Knowing())
    _, (end,) = work(archive, Knowing(gains=True), seconds=2400.0)
    assert (end.outcome, end.profile) == (Outcome.KEPT, NAME)
    (profile,) = user_profiles.glob("*.nsp")
    assert load_profile(profile).spec.scores.accepted
    found, ends = work(archive, Knowing(), seconds=4800.0)
    assert ends == []
    assert found.left_out[0].reason == f"profile {NAME} fits them"


def test_a_later_try_that_fails_or_learns_nothing_of_the_noise_leaves_it_where_it_is(
    user_profiles: Path, archive: Path
) -> None:
    work(archive, Knowing())
    _, (end,) = work(archive, write_at_once, seconds=2400.0)
    assert end.outcome is Outcome.NO_GAIN
    found, ends = work(archive, Knowing(), seconds=2400.0)
    assert ends == []
    assert f"so profile {NAME} stays" in found.left_out[0].reason
    _, (end,) = work(archive, Knowing(sigma=11.0), seconds=4800.0)
    assert end.outcome is Outcome.NOISE
    (profile,) = user_profiles.glob("*.nsp")
    assert sigma_in(profile) == pytest.approx(11.0, rel=0.01), "it is still known for what it is"


def test_one_that_the_user_deletes_comes_again_with_the_next_try_and_not_before(
    user_profiles: Path, archive: Path
) -> None:
    knowing = Knowing()
    work(archive, knowing)
    remove_profile(NAME)
    found, ends = work(archive, knowing)
    assert (ends, knowing.count) == ([], 1)
    assert "so the built-in profile stays (as the test has it)" in found.left_out[0].reason
    _, (end,) = work(archive, knowing, seconds=2400.0)
    assert (end.outcome, end.profile) == (Outcome.NOISE, NAME)


def test_a_profile_that_the_user_put_in_its_place_or_renamed_is_the_users_own(
    user_profiles: Path, archive: Path
) -> None:
    work(archive, Knowing())
    kept = user_profiles / f"{NAME}.nsp"
    kept.rename(user_profiles / "mine.nsp")
    found, ends = work(archive, Knowing(), seconds=2400.0)
    assert (ends, found.left_out[0].reason) == ([], "profile mine fits them")
    (user_profiles / "mine.nsp").unlink()
    kept.write_bytes(b"theirs")
    _, (end,) = work(archive, Knowing(), seconds=2400.0)
    assert end.profile == f"{NAME}-2"
    assert kept.read_bytes() == b"theirs"


def test_a_profile_of_the_users_whose_weights_gained_is_chosen_before_it(user_profiles: Path, archive: Path) -> None:
    work(archive, Knowing())
    Knowing(gains=True)(PLAN, sorted(archive.glob("*.jpg")), user_profiles / "z-mine.nsp")
    look_again()
    for iso in (800, 3200):
        chosen = choose_profile(replace(DULL, iso=iso), on_missing="nearest").profile
        assert chosen
        assert chosen.path.stem == "z-mine"
    found, ends = work(archive, Knowing(), seconds=2400.0)
    assert (ends, found.left_out[0].reason) == ([], "profile z-mine fits them")
    assert (user_profiles / f"{NAME}.nsp").exists(), "it settles nothing, and stays until a night has a better one"


class PowerCutError(BaseException):
    """Ends everything at once."""


def test_a_power_cut_before_what_gained_nothing_is_removed_costs_no_other_training(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(one_group, "remove", Mock(side_effect=PowerCutError))
        with pytest.raises(PowerCutError):
            calibrate_group(task_of(archive, write_at_once), write_at_once)
    found, ends = work(archive, write_at_once)
    assert ends == []
    assert "so the built-in profile stays" in found.left_out[0].reason


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "in the place of an older one"])
@pytest.mark.parametrize("moment", ["make_room", "remember", "keep", "link", "unlink", "remembered", "rename"])
def test_a_power_cut_at_any_moment_of_keeping_loses_nothing_and_leaves_nothing_twice(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, moment: str, again: bool
) -> None:
    if again:
        work(archive, Knowing(sigma=9.0))
        monkeypatch.setattr(memory, "AGAIN", 1)
    task, knowing = task_of(archive, Knowing()), Knowing(sigma=11.0)

    def cut(*args: object, **kwargs: object) -> None:
        raise PowerCutError

    def then_cut(real: Callable[..., object]) -> Callable[..., object]:
        def both(*args: object) -> None:
            real(*args)
            cut()

        return both

    with monkeypatch.context() as patch:
        match moment:
            case "make_room" | "keep":
                patch.setattr(one_group, moment, cut)
            case "remember":
                patch.setattr(
                    one_group,
                    "remember",
                    lambda place, record: cut() if record.outcome is Outcome.NOISE else memory.remember(place, record),
                )
            case "link":
                patch.setattr(os, "link", cut)
            case "unlink":
                patch.setattr(os, "link", then_cut(os.link))
            case "remembered":
                patch.setattr(keep, "_moved", then_cut(keep._moved))
            case "rename":
                patch.setattr(keep, "_name", Mock(side_effect=[NAME, PowerCutError]))  # before, and at the end
        with pytest.raises(PowerCutError):
            calibrate_group(task, knowing)
    assert target_of(task.candidate).exists() == goes_on(task.candidate)
    monkeypatch.setattr(memory, "AGAIN", 2)
    _, ends = work(archive, knowing)
    assert [end.outcome for end in ends] == [Outcome.NOISE] * len(ends)
    assert knowing.count == 1, "what was trained is not trained again"
    (profile,) = user_profiles.glob("*.nsp")
    assert profile.stem == NAME
    assert sigma_in(profile) == pytest.approx(11.0, rel=0.01)
    record = recall(place_of(task.candidate.key))
    assert record
    assert record.serving == NAME
    assert not list(place_of(task.candidate.key).glob("*.nsp"))
    found, ends = work(archive, knowing)
    assert ends == []
    assert f"so profile {NAME} stays" in found.left_out[0].reason
