"""The user's own profiles: where they lie, and the names they go by."""

from pathlib import Path

import pytest

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles.bundle import Profile, write_profile
from nsp_pipeline.profiles.choose import choose_profile, find_profile, installed_profiles


def install(profile: Profile, path: Path, **changes: object) -> Profile:
    """Put a copy of a profile, with other fields, at a path."""
    fields = profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    return write_profile(path, {**fields, **changes}, profile.content)


def test_files_and_folders_of_the_user_folder_go_by_their_names(
    user_profiles: Path, tiny_builtin: Profile, tmp_path: Path
) -> None:
    install(tiny_builtin, user_profiles / "canon.nsp", name="canon")
    install(tiny_builtin, user_profiles / "nikon", name="nikon")
    (user_profiles / "notes.txt").write_text("mine")
    (user_profiles / ".canon.nsp").write_text("left by another program")
    assert list(installed_profiles()) == ["standard", "canon", "nikon"]
    assert [find_profile(name).name for name in ("canon", "nikon")] == ["canon", "nikon"]
    with pytest.raises(ProfileError, match=r"no profile 'canno': not a file .*, and not one of: standard, canon"):
        find_profile("canno")


def test_no_file_of_the_user_takes_the_name_of_the_built_in_one(user_profiles: Path, tiny_builtin: Profile) -> None:
    for name in ("builtin", "standard"):
        install(tiny_builtin, user_profiles / f"{name}.nsp", name="mine")
        assert find_profile(name).name == "tiny"
    assert choose_profile(Camera(), on_missing="builtin").profile == find_profile("builtin")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "", "~"])
def test_names_that_no_disk_takes_are_unknown(user_profiles: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError):
        find_profile(name)


def test_without_a_user_folder_there_is_the_built_in_one(user_profiles: Path, tiny_builtin: Profile) -> None:
    user_profiles.rmdir()
    assert list(installed_profiles()) == ["standard"]
    assert choose_profile(Camera("Maker", "Maker One", 800), on_missing="nearest").profile == tiny_builtin


def test_a_profile_covers_the_ends_of_its_range_and_an_open_range_all(
    user_profiles: Path, tiny_builtin: Profile
) -> None:
    install(tiny_builtin, user_profiles / "a.nsp", name="low", iso_min=100, iso_max=800)
    install(tiny_builtin, user_profiles / "b.nsp", name="any", camera_model="Maker Two", iso_min=None, iso_max=None)

    def chosen(model: str, iso: int | None, on_missing: str = "nearest") -> str | None:
        profile = choose_profile(Camera("Maker", model, iso), on_missing=on_missing).profile
        return profile.name if profile else None

    assert [chosen("Maker One", iso, "skip") for iso in (99, 100, 800, 801)] == [None, "low", "low", None]
    assert chosen("Maker Two", 102_400, "skip") == "any"
    assert chosen("Maker Three", 400, "skip") is None
    assert chosen("Maker Three", 400) == "tiny", "nearest never crosses cameras"


def test_of_two_profiles_the_one_fewer_stops_away_is_nearest(user_profiles: Path, tiny_builtin: Profile) -> None:
    """ISO 3000 is 2200 above 800 and 3400 below 6400, but 1.9 stops from the one and 1.1 from the other."""
    install(tiny_builtin, user_profiles / "a.nsp", name="low", iso_min=400, iso_max=800)
    install(tiny_builtin, user_profiles / "b.nsp", name="high", iso_min=6400, iso_max=6400)
    choice = choose_profile(Camera("Maker", "Maker One", 3000), on_missing="nearest")
    assert choice.profile is not None
    assert choice.profile.name == "high"
    assert "nearest ISO of the same camera for Maker One, ISO 3000" in choice.why
