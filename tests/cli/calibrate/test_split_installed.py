"""`nsp calibrate --split camera` leaves out what the user has profiles for, and says how to install what it makes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from night_training import write_at_once
from noisy_photos import save_archive
from run_nsp import Finished

from nsp_pipeline.calibration.night.memory import NoiseProfile, Outcome, Record, place_of, remember
from nsp_pipeline.cli.calibrate import each
from nsp_pipeline.cli.calibrate.one import Made
from nsp_pipeline.cli.calibrate.plan import Plan
from nsp_pipeline.profiles.bundle import load_profile
from nsp_pipeline.profiles.choose import look_again

Nsp = Callable[..., Finished]


@pytest.fixture
def made_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trainings take a moment; of how many photos each was."""
    counts: list[int] = []

    def at_once(plan: Plan, files: Sequence[Path], out: Path) -> Made:
        counts.append(len(files))
        return write_at_once(plan, files, out)

    monkeypatch.setattr(each, "calibrate_one", at_once)
    return counts


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Photos of a camera whose calibrations gain, and of one whose calibrations do not."""
    save_archive(tmp_path / "in" / "few", 3, iso=100, camera=("Maker", "Few"))
    save_archive(tmp_path / "in" / "dull", 3, iso=100, camera=("Maker", "Dull"))
    return tmp_path / "in"


def test_what_helps_is_installed_by_the_commands_that_it_ends_with_and_then_left_out(
    quick_nsp: Nsp, user_profiles: Path, archive: Path, made_of: list[int], tmp_path: Path
) -> None:
    (tmp_path / "my photos").mkdir()
    arguments = ("calibrate", archive, "--split", "camera", "--out", tmp_path / "my photos")
    made = quick_nsp(*arguments)
    assert made.code == 0, made.err
    few = tmp_path / "my photos" / "maker-few-iso-100-300-jpeg-64x48.nsp"
    assert made.err.splitlines()[-2:] == [
        "for nsp denoise to take them by itself:",
        f"  nsp profiles install '{few}'",
    ], "not what gained nothing"
    few.rename(user_profiles / few.name)
    look_again()

    save_archive(archive / "few", 4, iso=200, camera=("Maker", "Few"))
    save_archive(archive / "more", 3, iso=400, camera=("Maker", "Few"))
    made_of.clear()
    again = quick_nsp(*arguments)
    assert again.code == 0, again.err
    assert f"left out: Maker Few, 2 photos: your profile {few.stem} fits them (to make another one all the" in again.err
    assert made_of == [5], "those whose ISO it does not know"


def test_where_all_have_a_profile_nothing_is_left_to_do(
    quick_nsp: Nsp, user_profiles: Path, archive: Path, made_of: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "made"
    out.mkdir()
    arguments = ("calibrate", archive, "--split", "camera", "--out", out)
    assert quick_nsp(*arguments, "--camera", "Few").code == 0
    (made,) = out.glob("*.nsp")
    made.rename(user_profiles / made.name)
    look_again()
    again = quick_nsp(*arguments, "--camera", "Few")
    assert (again.code, made_of) == (0, [3]), again.err
    assert "your profile" in again.err


def test_what_a_night_kept_for_the_noise_alone_is_no_reason_to_leave_a_camera_out(
    quick_nsp: Nsp, user_profiles: Path, archive: Path, made_of: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "made"
    out.mkdir()
    arguments = ("calibrate", archive, "--split", "camera", "--camera", "Dull", "--out", out)
    assert quick_nsp(*arguments).code == 0
    (made,) = out.glob("*.nsp")
    kept = made.rename(user_profiles / made.name)
    noise = NoiseProfile.of(load_profile(kept), kept.stem)
    place = place_of("maker-dull-0")
    place.mkdir(parents=True)
    remember(place, Record(Outcome.NOISE, "", 3, (100, 300), 600.0, "", noise=noise))
    look_again()
    assert quick_nsp(*arguments).code == 0
    assert made_of == [3, 3]
