"""What is remembered of calibrations: when they are tried again, and when not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from run_nsp import start_python

from nsp_pipeline.calibration.archive.groups import Group
from nsp_pipeline.calibration.night import memory
from nsp_pipeline.calibration.night.candidates import Candidate
from nsp_pipeline.calibration.night.ledger import Ledger
from nsp_pipeline.calibration.night.memory import (
    Outcome,
    Record,
    fingerprint,
    held,
    place_of,
    recall,
    remember,
    settled,
)
from nsp_pipeline.frames.frame import Camera


@pytest.fixture
def photos(tmp_path: Path) -> Sequence[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path in paths:
        path.write_bytes(b"a photo")
    return paths


def candidate(photos: Sequence[Path], iso: tuple[int, int] = (800, 1600)) -> Candidate:
    return Candidate(Group("Maker One", "JPEG", None, False, iso, tuple(photos)), Camera("Maker", "Maker One"))


def put(photos: Sequence[Path], outcome: Outcome, seconds: float = 600.0) -> None:
    place = place_of(candidate(photos).key)
    place.mkdir(parents=True)
    remember(place, Record(outcome, "as it was", len(photos), (800, 1600), seconds, fingerprint(photos)))


def test_what_gained_nothing_is_not_tried_again_each_night(user_profiles: Path, photos: Sequence[Path]) -> None:
    put(photos, Outcome.NO_GAIN)
    reason = settled(candidate(photos), 600.0)
    assert reason is not None
    assert "it gained nothing before, so the built-in profile stays (as it was)" in reason
    assert "tried again with 8 photos, or 20 minutes for them" in reason
    photos[0].touch()
    assert settled(candidate(photos), 1199.0), "another photo, or a little more time, makes no difference"


def test_what_gained_nothing_is_tried_with_twice_the_photos_or_time_or_at_another_iso(
    user_profiles: Path, photos: Sequence[Path]
) -> None:
    put(photos, Outcome.NO_GAIN)
    assert settled(candidate([*photos, *photos]), 600.0) is None
    assert settled(candidate(photos), 1200.0) is None
    assert settled(candidate(photos, iso=(800, 6400)), 600.0) is None
    assert settled(candidate(photos, iso=(640, 2000)), 600.0), "within a stop it is the same"


def test_another_version_of_nsp_tries_again(
    user_profiles: Path, photos: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(photos, Outcome.NO_GAIN)
    monkeypatch.setattr(memory, "__version__", "99")
    assert settled(candidate(photos), 600.0) is None


def test_what_failed_is_tried_again_when_the_photos_change(user_profiles: Path, photos: Sequence[Path]) -> None:
    put(photos, Outcome.FAILED)
    assert settled(candidate(photos), 9999.0) == "it failed with these photos before: as it was"
    photos[0].write_bytes(b"another photo")
    assert settled(candidate(photos), 600.0) is None


def test_what_was_cut_off_goes_on(user_profiles: Path, photos: Sequence[Path]) -> None:
    put(photos, Outcome.CUT_OFF)
    assert settled(candidate(photos), 600.0) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"iso": 3}', b"\xff", b'{"iso": [1, 2], "outcome": "x"}'])
def test_a_damaged_record_is_none(user_profiles: Path, photos: Sequence[Path], content: bytes) -> None:
    put(photos, Outcome.NO_GAIN)
    (place_of(candidate(photos).key) / memory.RECORD_FILE).write_bytes(content)
    assert recall(place_of(candidate(photos).key)) is None
    assert settled(candidate(photos), 600.0) is None


def test_a_group_is_held_by_one_process_and_free_when_that_dies(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from nsp_pipeline.calibration.night.memory import held
with held(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(100)
"""
    process = start_python("-c", code, tmp_path / "group")
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    with held(tmp_path / "group") as mine:
        assert not mine
    process.kill()
    process.communicate()
    with held(tmp_path / "group") as mine:
        assert mine


def test_time_spent_counts_for_the_same_command_until_that_is_through(user_profiles: Path, tmp_path: Path) -> None:
    ledger = Ledger([tmp_path / "in"], tmp_path / "out")
    ledger.spend("a", 20.0)
    ledger.spend("b", 5.0)
    ledger.spend("a", 10.0)
    assert Ledger([tmp_path / "in"], tmp_path / "out").spent() == {"a": 30.0, "b": 5.0}
    assert Ledger([tmp_path / "in"], tmp_path / "elsewhere").spent() == {}
    ledger.close()
    assert ledger.spent() == {}


def test_a_ledger_that_cannot_be_written_or_read_ends_no_night(user_profiles: Path, tmp_path: Path) -> None:
    ledger = Ledger([tmp_path / "in"], tmp_path / "out")
    user_profiles.rmdir()
    user_profiles.write_bytes(b"no folder")
    ledger.spend("a", 20.0)
    assert ledger.spent() == {}


SPENDER = """
import sys
from pathlib import Path
from nsp_pipeline.calibration.night.ledger import Ledger
ledger = Ledger([Path("in")], Path("out"))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(60):
    ledger.spend("one", 1.0)
"""


def test_two_runs_of_one_command_lose_none_of_each_others_seconds(
    user_profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = start_python("-c", SPENDER)
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline().strip() == "ready"
    ledger = Ledger([Path("in")], Path("out"))
    other.stdin.write("\n")
    other.stdin.flush()
    for _ in range(60):
        ledger.spend("two", 1.0)
    other.communicate()
    assert ledger.spent() == {"one": 60.0, "two": 60.0}
