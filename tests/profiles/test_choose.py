"""By camera and ISO, else nearest ISO, else the built-in profile; and names."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_profile_files

from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles import choose
from nsp_pipeline.profiles.bundle import Profile, write_profile
from nsp_pipeline.profiles.choose import choose_profile, find_profile


@pytest.fixture
def two_installed(tmp_path: Path, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two profiles of one camera in the user's folder, at ISO 800 to 1600 and 6400 to 12800; and a built-in one."""
    monkeypatch.setattr(choose, "user_data_path", lambda *args, **kwargs: tmp_path)
    (tmp_path / "profiles").mkdir()
    fields, files = tiny_profile_files()
    write_profile(tmp_path / "profiles" / "low.nsp", {**fields, "name": "low"}, files)
    write_profile(tmp_path / "profiles" / "high", {**fields, "name": "high", "iso_min": 6400, "iso_max": 12800}, files)
    monkeypatch.setattr(choose, "shipped_profiles", lambda: {"standard": tiny_profile.path})
    choose._installed.cache_clear()
    choose._loaded.cache_clear()
    choose._builtin.cache_clear()
    yield
    choose._installed.cache_clear()
    choose._loaded.cache_clear()
    choose._builtin.cache_clear()


@pytest.mark.usefixtures("two_installed")
@pytest.mark.parametrize(
    ("model", "iso", "expected", "why"),
    [
        ("Maker One", 800, "low", "made for"),
        ("Maker One", 12800, "high", "made for"),
        ("Maker One", 2000, "low", "nearest ISO"),
        ("Maker One", 5000, "high", "nearest ISO"),
        ("Maker One", 100, "low", "nearest ISO"),
        ("Maker One", None, "tiny", "for any camera"),
        ("Maker Two", 800, "tiny", "for any camera"),
        (None, None, "tiny", "for any camera"),
    ],
)
def test_camera_first_then_iso(model: str | None, iso: int | None, expected: str, why: str) -> None:
    choice = choose_profile(Camera("Maker", model, iso), on_missing="nearest")

    assert choice.profile is not None
    assert choice.profile.name == expected
    assert why in choice.why


@pytest.mark.usefixtures("two_installed")
@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        ("MAKER CORPORATION", "One", "low"),
        ("maker", "MAKER One", "low"),
        ("Other", "One", "tiny"),
        (None, None, "tiny"),
    ],
)
def test_a_camera_is_known_however_it_is_spelt(make: str | None, model: str | None, expected: str) -> None:
    choice = choose_profile(Camera(make, model, 800), on_missing="nearest")
    assert choice.profile is not None
    assert choice.profile.name == expected


@pytest.mark.usefixtures("two_installed")
def test_a_camera_goes_by_the_user_s_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "cameras.toml"
    table.write_text('[aliases]\n"Second Body" = "Maker One"\n')
    monkeypatch.setattr(choose, "aliases_file", lambda: table)
    choice = choose_profile(Camera("Maker", "Second Body", 800), on_missing="nearest")
    assert choice.profile is not None
    assert (choice.profile.name, choice.why) == ("low", "made for Maker One, ISO 800")


@pytest.mark.usefixtures("two_installed")
def test_what_to_do_where_none_was_made() -> None:
    camera = Camera("Maker", "Maker One", 3200)

    builtin = choose_profile(camera, on_missing="builtin").profile
    assert builtin is not None
    assert builtin.name == "tiny"
    assert choose_profile(camera, on_missing="skip").profile is None
    with pytest.raises(UsageError, match="no profile for Maker One, ISO 3200"):
        choose_profile(camera, on_missing="error")


@pytest.mark.usefixtures("two_installed")
def test_profiles_go_by_name_and_by_path(tiny_profile: Profile) -> None:
    assert find_profile("high").spec.iso_max == 12800
    assert find_profile(str(tiny_profile.path)).sha256 == tiny_profile.sha256
    with pytest.raises(ProfileError, match=r"no profile 'hihg'.*standard, high, low"):
        find_profile("hihg")
    with pytest.raises(ProfileError, match="'dbsn-noncommercial' ships no longer; 'dbsn' took its place"):
        find_profile("dbsn-noncommercial")
