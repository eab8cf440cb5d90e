"""`--max-time` bounds the reading of photos too: an archive on a slow disk is read in part, from everywhere."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from noisy_photos import save_archive
from rich.console import Console
from run_nsp import Finished
from small_training import small_settings

from nsp_pipeline.calibration.archive.groups import group_photos, only, read_headers
from nsp_pipeline.calibration.archive.survey import measure_groups
from nsp_pipeline.calibration.training.photos import PhotoSet
from nsp_pipeline.calibration.training.ranks import Ranks
from nsp_pipeline.cli.calibrate import reading
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.cli.calibrate.reading import read_photos
from nsp_pipeline.cli.shared.stop_signals import StopSignals
from nsp_pipeline.cli.shared.training_folder import READ_FILE
from nsp_pipeline.cli.shared.training_run import Run
from nsp_pipeline.errors import UsageError

PLAN = Plan("camera", small_settings(crop=20), frozenset(), None, None, "cpu", False, 100.0, "tests", "any")
COUNT = 16


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(save_archive(tmp_path_factory.mktemp("archive"), COUNT, iso=800).iterdir())


@pytest.fixture
def read(
    archive: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[str], PhotoSet]]:
    """Read the archive, where each photo takes so many seconds; gives the names of those that serve."""
    (tmp_path / "cache-0").mkdir()

    def at_a_pace(seconds: float, **changes: object) -> tuple[list[str], PhotoSet]:
        now = [0.0]

        class Clock:
            @staticmethod
            def monotonic() -> float:
                now[0] += seconds
                return now[0]

        monkeypatch.setattr(reading, "time", Clock)
        this = Run(tmp_path, Ranks(), StopSignals(Console(stderr=True)), 0.0, Console(stderr=True))
        photos = read_photos(replace(PLAN, **changes), archive, this)  # type: ignore[arg-type]
        return sorted(photo.path.name for photo in [*photos.training, *photos.held_out]), photos

    return at_a_pace


def test_a_quick_disk_gives_all_photos_and_no_note(
    read: Callable[..., tuple[list[str], PhotoSet]], tmp_path: Path
) -> None:
    names, photos = read(0.1)
    assert (len(names), photos.unread) == (COUNT, 0)
    assert not (tmp_path / READ_FILE).exists()
    assert len(read(99.0, max_time=None)[0]) == COUNT, "without a limit there is time for all"


def test_a_slow_disk_gives_what_a_quarter_of_the_time_suffices_for_from_all_of_the_archive(
    read: Callable[..., tuple[list[str], PhotoSet]], archive: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names, photos = read(4.0)
    assert (len(names), photos.unread) == (7, COUNT - 7), "the seventh photo ends after 28 s of 100"
    places = [archive.index(archive[0].parent / name) for name in names]
    assert max(places) >= COUNT * 3 // 4, "not the first ones of the list"
    assert len(photos.held_out) == 1
    assert "7 of 16 photos were read, from all parts of the list: no more than 25" in capsys.readouterr().err


def test_three_photos_are_read_if_it_takes_most_of_the_time_and_no_fewer_will_do(
    read: Callable[..., tuple[list[str], PhotoSet]],
) -> None:
    assert len(read(30.0)[0]) == 3
    with pytest.raises(UsageError, match="only 2 of 16 photos could be read, and 3 are needed: give more time with"):
        read(60.0)


def test_a_training_that_is_resumed_has_the_photos_that_it_had_however_quick_the_disk_is_now(
    read: Callable[..., tuple[list[str], PhotoSet]],
) -> None:
    names, photos = read(4.0)
    again, same = read(0.0, resume=True, max_time=None)
    assert again == names
    assert [photo.path for photo in same.held_out] == [photo.path for photo in photos.held_out]
    assert len(read(0.0)[0]) == COUNT, "one that begins anew reads all that there is time for"


def test_headers_that_there_is_no_time_for_are_left_out(archive: list[Path]) -> None:
    known, refused = read_headers(archive, by=time.monotonic())
    assert (len(known), refused) == (1, [])
    assert only(archive, {}, camera="maker", iso=None, by=time.monotonic()) == [known[0][0]]
    assert only(archive, {}, camera="maker", iso=None, by=time.monotonic() + 60) == archive


def test_groups_that_there_is_no_time_to_measure_stay_as_they_are(archive: list[Path]) -> None:
    groups, _ = group_photos(archive, {})
    measured, refused = measure_groups(groups, 1, by=time.monotonic())
    assert (measured, refused) == (groups, [])


def test_the_command_says_what_it_had_no_time_to_look_at(
    quick_nsp: Callable[..., Finished], archive: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "HEADERS_SHARE", 0.0)
    options = ("--out", tmp_path / "out", "--split", "camera", "--max-time", "10m", "--stop-at", "teacher")
    ended = quick_nsp("calibrate", archive[0].parent, *options)
    assert ended.code == 2
    assert "left out: 15 of 16 photos, as --max-time is too short to look at all" in ended.err
