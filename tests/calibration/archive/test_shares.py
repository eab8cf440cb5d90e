"""How groups share the time of their calibrations."""

from pathlib import Path

import pytest

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.calibration.archive.shares import share_of, with_time_enough, worth


def group(photos: int, iso: tuple[int, int] | None) -> Group:
    return Group("Maker One", "JPEG", None, False, iso, tuple(Path(f"{number}.jpg") for number in range(photos)))


def test_time_is_shared_by_the_number_of_photos() -> None:
    photos = {"a": 30, "b": 10}
    assert [share_of(key, photos, 400.0, {}) for key in photos] == [300.0, 100.0]


def test_what_a_finished_group_left_or_overdrew_is_the_others() -> None:
    assert share_of("b", {"b": 10, "c": 10}, 400.0, {"a": 100.0}) == 150.0
    assert share_of("b", {"b": 10, "c": 10}, 400.0, {"a": 500.0}) == 0.0


def test_what_a_group_took_in_a_run_that_was_killed_is_part_of_its_share_and_changes_no_other() -> None:
    photos = {"a": 30, "b": 10}
    assert [share_of(key, photos, 400.0, {"a": 250.0}) for key in photos] == [300.0, 100.0]


def test_groups_whose_share_teaches_nothing_leave_it_to_the_others() -> None:
    photos = {"few": 3, "some": 30, "many": 100}
    kept = with_time_enough(photos, 300.0, {}, least=60.0)
    assert kept == {"some": 30, "many": 100}
    assert sum(share_of(key, kept, 300.0, {}) for key in kept) == pytest.approx(300.0)
    assert with_time_enough(photos, 30.0, {}, least=60.0) == {}


def test_many_photos_and_high_iso_are_worth_most() -> None:
    many, noisy, few = group(40, (100, 100)), group(20, (6400, 6400)), group(4, (400, 400))
    assert sorted([few, many, noisy], key=worth, reverse=True) == [noisy, many, few]
    assert worth(group(4, (400, 1600))) == worth(group(4, (800, 800)))
    assert worth(group(4, None)) == worth(group(4, (100, 100)))
