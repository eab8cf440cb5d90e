"""The calibrations of a night: in which order, for how long, and what each leaves for the next run."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from night_training import PLAN, write_at_once
from noisy_photos import save_archive
from rich.console import Console

from nsp_pipeline.calibration.night.candidates import Candidate
from nsp_pipeline.calibration.night.fitting import fitting_profile
from nsp_pipeline.calibration.night.memory import Outcome, held, place_of, recall
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.night import device as night_device
from nsp_pipeline.cli.night import stage
from nsp_pipeline.cli.night.apart import Interrupts
from nsp_pipeline.cli.night.half_done import target_of
from nsp_pipeline.cli.night.one_group import calibrate_group
from nsp_pipeline.cli.night.stage import Night, Survey, calibrate_groups, survey
from nsp_pipeline.cli.night.task import GroupEnd, GroupTask, Train
from nsp_pipeline.cli.shared.training_folder import folder_of
from nsp_pipeline.errors import MissingCapabilityError, OutputError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.choose import look_again
from nsp_pipeline.profiles.install import LONGEST_NAME, remove_profile

pytestmark = pytest.mark.usefixtures("in_this_process")


def cut_off(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """A training that is interrupted after its first checkpoint."""
    folder_of(out).mkdir(parents=True, exist_ok=True)
    (folder_of(out) / "checkpoint.pt").write_bytes(b"half a night's work")
    raise KeyboardInterrupt


def killed_early(plan: Plan, files: Sequence[Path], out: Path) -> Made:
    """A training that is interrupted before its first checkpoint."""
    raise KeyboardInterrupt


class Trainings:
    """Stands in for trainings; knows which there were, and how long each might have taken."""

    def __init__(self, train: Train = write_at_once) -> None:
        self._train = train
        self.seconds: dict[str, float | None] = {}
        self.resumed: list[bool] = []

    def __call__(self, plan: Plan, files: Sequence[Path], out: Path) -> Made:
        """Train."""
        self.seconds[files[0].parent.name] = plan.max_time
        self.resumed.append(plan.resume)
        return self._train(plan, files, out)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Photos of three cameras: few, many, and some at high ISO."""
    save_archive(tmp_path / "in" / "few", 3, iso=100, camera=("Maker", "Few"))
    save_archive(tmp_path / "in" / "many", 6, iso=100, camera=("Maker", "Many"))
    save_archive(tmp_path / "in" / "noisy", 3, iso=6400, camera=("Maker", "Noisy"))
    return tmp_path / "in"


def night(archive: Path, train: Train, seconds: float = 1200.0) -> Night:
    return Night(seconds, [archive], archive.parent / "out", "cpu", None, train)


def work(archive: Path, train: Train, seconds: float = 1200.0) -> tuple[Survey, list[GroupEnd]]:
    """A night's calibrations, to their end."""
    this = night(archive, train, seconds)
    found = survey(sorted(archive.rglob("*.jpg")), this)
    ends, stopped = calibrate_groups(this, PLAN, found, Console(stderr=True), lambda end: None)
    assert not stopped
    return found, ends


def candidate_of(archive: Path, folder: str) -> Candidate:
    """The candidate that a folder's photos are."""
    (found,) = survey(sorted((archive / folder).glob("*.jpg")), night(archive, write_at_once)).candidates
    return found


def test_the_most_worthwhile_comes_first_and_time_is_shared_by_photos(user_profiles: Path, archive: Path) -> None:
    trainings = Trainings()
    _, ends = work(archive, trainings)
    assert [end.outcome for end in ends] == [Outcome.KEPT] * 3
    assert {(end.gain, end.gain_error) for end in ends} == {(0.12, 0.1)}, "the claim, never without its error"
    assert list(trainings.seconds) == ["noisy", "many", "few"]
    assert [round(seconds or 0) for seconds in trainings.seconds.values()] == [300, 800, 1200]
    # What was finished at once leaves its time to the others: 1200 · 3/12, 1200 · 6/9, 1200 · 3/3.


def test_auto_finds_what_was_kept_and_the_next_night_has_nothing_to_do(user_profiles: Path, archive: Path) -> None:
    work(archive, write_at_once)
    look_again()
    kept = "maker-many-iso-100-600-jpeg-64x48"
    assert fitting_profile(Camera("Maker", "Many", 300)) == kept
    assert (user_profiles / f"{kept}.nsp").is_file()
    trainings = Trainings()
    found, ends = work(archive, trainings)
    assert (list(found.candidates), ends, trainings.seconds) == ([], [], {})
    assert f"Maker Many, 6 photos: profile {kept} fits them" in map(str, found.left_out)


def test_what_gained_nothing_stays_with_the_built_in_profile_and_is_not_trained_again(
    user_profiles: Path, tmp_path: Path
) -> None:
    archive = save_archive(tmp_path / "in", 3, iso=800, camera=("Maker", "Dull"))
    _, (end,) = work(archive, write_at_once)
    assert (end.outcome, end.gain, end.gain_error) == (Outcome.NO_GAIN, None, None)
    assert str(end).endswith("nothing was surely gained, so the built-in profile stays: as the test has it")
    assert list(user_profiles.glob("*.nsp")) == []
    trainings = Trainings()
    found, ends = work(archive, trainings)
    assert (ends, trainings.seconds) == ([], {})
    assert "gained nothing before" in found.left_out[0].reason
    _, (end,) = work(archive, trainings, seconds=2400.0)
    assert end.outcome is Outcome.NO_GAIN, "twice the time is another try"


def test_what_beat_another_profile_than_the_built_in_one_is_not_kept(user_profiles: Path, archive: Path) -> None:
    def beats_another(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        made = write_at_once(plan, files, out)
        assert made.profile
        scores = made.profile.spec.scores.model_copy(update={"base": "dbsn"})
        spec = made.profile.spec.model_copy(update={"scores": scores})
        return replace(made, profile=replace(made.profile, spec=spec))

    end = calibrate_group(GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None), beats_another)
    assert end.outcome is Outcome.NO_GAIN
    assert list(user_profiles.glob("*.nsp")) == []


def test_a_group_that_fails_is_named_and_the_others_go_on(
    user_profiles: Path, archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_archive(archive / "black", 9, iso=800, camera=("Maker", "Black"))
    _, ends = work(archive, write_at_once)
    assert [end.outcome for end in ends] == [Outcome.FAILED, *[Outcome.KEPT] * 3]
    assert "Maker Black, ISO 800-1600, 9 photos: no profile, as no photo to calibrate on: " in capfd.readouterr().err
    found, ends = work(archive, write_at_once)
    assert ends == []
    assert any("it failed with these photos before" in entry.reason for entry in found.left_out)


def test_a_full_disk_ends_one_calibration_and_is_forgotten(user_profiles: Path, archive: Path) -> None:
    def full(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        if files[0].parent.name == "noisy":
            raise OutputError(f"{out}: cannot be written: No space left on device")
        return write_at_once(plan, files, out)

    _, ends = work(archive, full)
    assert [end.outcome for end in ends] == [Outcome.FAILED, Outcome.KEPT, Outcome.KEPT]
    assert "No space left on device" in ends[0].reason
    _, (end,) = work(archive, write_at_once)
    assert end.outcome is Outcome.KEPT, "there is room now"


def test_a_calibration_that_was_cut_off_goes_on_and_its_time_counts(user_profiles: Path, archive: Path) -> None:
    first = night(archive, cut_off)
    found = survey(sorted(archive.rglob("*.jpg")), first)
    end = calibrate_group(GroupTask(found.candidates[0], PLAN, 300.0, "cpu", None), cut_off)
    assert end.outcome is Outcome.CUT_OFF
    first.ledger.spend(found.candidates[0].key, 250.0)

    trainings = Trainings()
    again, ends = work(archive, trainings)
    assert again.is_begun(again.candidates[0]) is False, "it is through by now"
    assert [end.outcome for end in ends] == [Outcome.KEPT] * 3
    assert trainings.resumed == [True, False, False]
    # The one that goes on has its own 300 s in all; the 250 that it took are gone for the others: 950 · 6/9.
    assert [round(seconds or 0) for seconds in trainings.seconds.values()] == [300, 633, 950]


def test_a_checkpoint_of_other_photos_is_not_gone_on_with(user_profiles: Path, archive: Path) -> None:
    calibrate_group(GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None), cut_off)
    save_archive(archive / "few", 4, iso=100, camera=("Maker", "Few"))
    trainings = Trainings()
    calibrate_group(GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None), trainings)
    assert trainings.resumed == [False]


def test_a_checkpoint_that_does_not_fit_is_begun_again(user_profiles: Path, archive: Path) -> None:
    task = GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None)

    def choosy(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        if plan.resume:
            raise UsageError("the checkpoint was made with other settings")
        if not folder_of(out).exists():
            folder_of(out).mkdir(parents=True)
            (folder_of(out) / "checkpoint.pt").write_bytes(b"of an older nsp")
            raise KeyboardInterrupt
        return write_at_once(plan, files, out)

    assert calibrate_group(task, choosy).outcome is Outcome.CUT_OFF
    again = Trainings(choosy)
    assert calibrate_group(task, again).outcome is Outcome.CUT_OFF
    assert again.resumed == [True, False]


def test_a_profile_that_was_finished_when_its_run_was_killed_is_kept_without_training(
    user_profiles: Path, archive: Path
) -> None:
    task = GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None)

    def killed(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        write_at_once(plan, files, out)
        raise KeyboardInterrupt

    assert calibrate_group(task, killed).outcome is Outcome.CUT_OFF
    trainings = Trainings()
    assert calibrate_group(task, trainings).outcome is Outcome.KEPT
    assert trainings.seconds == {}
    assert recall(place_of(task.candidate.key)) is None


def test_what_an_interrupt_left_half_trained_is_no_profile(user_profiles: Path, archive: Path) -> None:
    def stopped(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        return replace(write_at_once(plan, files, out), stopped=True)

    task = GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None)
    assert calibrate_group(task, stopped).outcome is Outcome.CUT_OFF
    assert list(user_profiles.rglob("*.nsp")) == []


def test_a_second_profile_of_a_name_has_a_number(user_profiles: Path, archive: Path) -> None:
    taken = user_profiles / "maker-few-iso-100-300-jpeg-64x48.nsp"
    taken.write_bytes(b"damaged")
    end = calibrate_group(GroupTask(candidate_of(archive, "few"), PLAN, 300.0, "cpu", None), write_at_once)
    assert end.profile == "maker-few-iso-100-300-jpeg-64x48-2"
    assert taken.read_bytes() == b"damaged"


def test_a_group_that_another_run_calibrates_comes_last_and_its_profile_is_taken(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Locks are of processes, so another one is played by what the lock says."""
    noisy = candidate_of(archive, "noisy")
    looks = iter([False, True])
    others = iter([True] * 99)

    class Lock:
        def __init__(self, place: Path) -> None:
            self._real = held(place)
            self._mine = next(looks if place == place_of(noisy.key) else others, True)

        def __enter__(self) -> bool:
            self._real.__enter__()
            return self._mine

        def __exit__(self, *reason: object) -> None:
            self._real.__exit__(None, None, None)

    monkeypatch.setattr("nsp_pipeline.cli.night.one_group.held", Lock)
    trainings = Trainings()
    _, ends = work(archive, trainings)
    assert list(trainings.seconds) == ["many", "few", "noisy"]
    assert [end.outcome for end in ends] == [Outcome.KEPT] * 3
    said = capfd.readouterr().err
    assert "another run is calibrating these photos; the others come first" in said
    assert "waiting for the run that calibrates Maker Noisy, ISO 6400-6600" in said


def test_without_time_for_all_the_smallest_groups_are_left_out(user_profiles: Path, archive: Path) -> None:
    found, ends = work(archive, write_at_once, seconds=100.0)
    assert [end.title for end in ends] == ["Maker Many, ISO 100-600"]
    assert found.left_out[-1].reason == "its share of the time is 25 s, and 1 min 0 s are the least"


def task_of(archive: Path, folder: str = "few") -> GroupTask:
    return GroupTask(candidate_of(archive, folder), PLAN, 300.0, "cpu", None)


def test_a_device_that_fails_is_not_the_photos_fault_and_what_is_half_done_stays(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(archive)
    calibrate_group(task, cut_off)
    before = recall(place_of(task.candidate.key))

    def gone(device: str, threads: int | None) -> str:
        raise UsageError(f"--device {device}: PyTorch cannot use it here: the driver is being updated")

    with monkeypatch.context() as patch:
        patch.setattr(night_device, "usable", gone)
        with pytest.raises(MissingCapabilityError, match="driver is being updated; --calibrate trains there"):
            calibrate_group(task, write_at_once)
    assert recall(place_of(task.candidate.key)) == before
    trainings = Trainings()
    assert calibrate_group(task, trainings).outcome is Outcome.KEPT
    assert trainings.resumed == [True]


@pytest.mark.parametrize("links", [True, False])
def test_a_profile_that_appears_at_the_last_moment_is_not_replaced(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    task = task_of(archive)
    theirs = user_profiles / target_of(task.candidate).name
    real = os.path.lexists

    def and_then_it_is_there(path: Path) -> bool:
        found = real(path)
        if path == folder_of(theirs):
            theirs.write_bytes(b"theirs")
        return found

    def no_links(made: Path, final: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os.path, "lexists", and_then_it_is_there)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    end = calibrate_group(task, write_at_once)
    assert end.profile == f"{theirs.stem}-2"
    assert theirs.read_bytes() == b"theirs"
    look_again()
    assert fitting_profile(Camera("Maker", "Few", 200)) == end.profile


def test_what_is_killed_before_its_first_checkpoint_does_not_get_its_time_again(
    user_profiles: Path, archive: Path
) -> None:
    task = task_of(archive, "noisy")
    calibrate_group(task, killed_early)
    this = night(archive, write_at_once)
    this.ledger.spend(task.candidate.key, 100.0)
    trainings = Trainings()
    found, _ = work(archive, trainings)
    assert not found.is_begun(found.candidates[0]), "there is nothing to go on from"
    assert round(trainings.seconds["noisy"] or 0) == 200, "of its 300 s, 100 are gone"


def test_what_has_lost_nearly_all_its_time_is_left_to_the_next_night(user_profiles: Path, archive: Path) -> None:
    noisy = candidate_of(archive, "noisy")
    night(archive, write_at_once).ledger.spend(noisy.key, 250.0)
    found, ends = work(archive, write_at_once)
    assert [end.title for end in ends] == ["Maker Many, ISO 100-600", "Maker Few, ISO 100-300"]
    assert [entry.reason for entry in found.left_out if entry.title == noisy.title] == [stage.SPENT]


def test_only_what_has_a_checkpoint_is_said_to_go_on(user_profiles: Path, archive: Path) -> None:
    task = task_of(archive)
    found = survey(sorted(archive.rglob("*.jpg")), night(archive, write_at_once))
    calibrate_group(task, killed_early)
    assert not found.is_begun(task.candidate)
    calibrate_group(task, cut_off)
    assert found.is_begun(task.candidate)


def test_the_time_that_was_waited_for_another_run_is_taken_off(
    user_profiles: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = candidate_of(archive, "noisy")
    first = iter([True])

    def busy_at_first(task: GroupTask, train: Train, interrupts: Interrupts, on_tick: Callable[[], None]) -> GroupEnd:
        if "Noisy" in task.candidate.title and next(first, False):
            return GroupEnd(task.candidate.title, 3, Outcome.BUSY, "another run is calibrating these photos")
        return calibrate_group(task, train)

    clock = [time.monotonic()]
    busy = iter([True, True])
    monkeypatch.setattr(stage, "calibrate_apart", busy_at_first)
    monkeypatch.setattr(stage._Stage, "_is_busy", lambda self, candidate: next(busy, False))
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock[-1] + 100.0))
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    trainings = Trainings()
    work(archive, trainings)
    assert trainings.seconds["noisy"] == pytest.approx(1000.0, abs=2.0), "1200 s less two waits of 100"
    assert night(archive, trainings).ledger.spent()[noisy.key] >= 200.0


def test_names_of_many_bytes_leave_room_for_what_is_added_to_them(user_profiles: Path, tmp_path: Path) -> None:
    archive = save_archive(tmp_path / "in", 3, iso=100, camera=("Maker", "Few"))
    (candidate,) = survey(sorted(archive.glob("*.jpg")), night(archive, write_at_once)).candidates
    chinese = replace(candidate, group=replace(candidate.group, camera="相" * 90))
    end = calibrate_group(GroupTask(chinese, PLAN, 300.0, "cpu", None), write_at_once)
    assert end.outcome is Outcome.KEPT
    assert end.profile
    assert end.profile.startswith("相" * 26)
    assert len(end.profile.encode()) <= LONGEST_NAME
    removed = remove_profile(end.profile)
    assert not removed.exists()
