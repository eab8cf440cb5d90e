"""A recipe is found by its name whatever lies about, and what is no recipe is refused in words."""

import os
from pathlib import Path

import pytest

from nsp_pipeline.errors import RecipeError
from nsp_pipeline.recipe import list_recipes, load_recipe


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_lies_in_the_current_folder_is_not_taken_for_a_recipe_that_ships(here: Path, name: str, kind: str) -> None:
    section = next(section for section in ("calibrate", "distill") if _has(name, section))
    shipped = load_recipe(name, section, _Anything())
    if kind == "folder":
        (here / name).mkdir()
    else:
        (here / name).write_text("[calibrate]\nsteps = 7\n[distill]\nsteps = 7\n")
    assert load_recipe(name, section, _Anything()) == shipped


def test_a_file_of_the_users_is_told_by_its_ending_or_a_path(here: Path) -> None:
    for name in ("camera", "camera.toml", "mine"):
        (here / name).write_text("[calibrate]\nsteps = 7\n")
    for named in ("camera.toml", "./camera", str(here / "camera"), "mine"):
        assert load_recipe(named, "calibrate", ["steps"]) == {"steps": 7}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "there is no recipe ''|'' is a folder|recipe  is a folder"),
        (".", "recipe . is a folder"),
        ("n" * 300, "recipe 'n{100}…' cannot be read: File name too long; shipped ones: .*camera"),
        ("n/" * 3000, "cannot be read: File name too long|there is no recipe"),
        ("a\0b", r"recipe 'a\?b' cannot be read: .*null"),
        ("a\nb", r"there is no recipe 'a\?b'; shipped ones"),
        ("../recipes/camera", "there is no recipe '../recipes/camera'"),
        ("camera/", "there is no recipe 'camera/'"),
        ("Camera", "there is no recipe 'Camera'"),
        ("\udcff", r"there is no recipe '\?'"),
        ("folder", "recipe folder is a folder; name a TOML file, or one of: .*camera"),
        ("folder.toml", "recipe folder.toml is a folder"),
        ("empty.toml", r"recipe empty.toml has no \[calibrate\] table; it has: nothing"),
        ("latin.toml", "recipe latin.toml is not UTF-8 text"),
        ("picture.toml", "recipe picture.toml is not UTF-8 text"),
        ("words.toml", "recipe words.toml is not valid TOML"),
        ("deep.toml", "recipe deep.toml is not valid TOML|has no"),
        ("number.toml", "recipe number.toml is not valid TOML"),
        ("value.toml", r"has no \[calibrate\] table; it has: calibrate"),
        ("twice.toml", "'judge_every' stands there twice"),
        ("/dev/zero", "has more than 1048576 bytes"),
        ("loop.toml", "loop.toml' cannot be read"),
    ],
)
def test_what_is_no_recipe_is_refused_in_words(here: Path, name: str, message: str) -> None:
    (here / "folder").mkdir()
    (here / "folder.toml").mkdir()
    (here / "empty.toml").write_bytes(b"")
    (here / "latin.toml").write_bytes("[calibrate] # größer".encode("latin-1"))
    (here / "picture.toml").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(100))
    (here / "words.toml").write_text("steps: 7")
    (here / "deep.toml").write_text("a = " + "[" * 5000)
    (here / "number.toml").write_text("[calibrate]\nsteps = " + "9" * 5000)
    (here / "value.toml").write_text("calibrate = 7")
    (here / "twice.toml").write_text("[calibrate]\njudge-every = 1\njudge_every = 2")
    (here / "loop.toml").symlink_to("loop.toml")
    with pytest.raises(RecipeError, match=message) as refused:
        load_recipe(name, "calibrate", ["steps", "judge_every"])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_mark_that_windows_editors_put_first_is_no_part_of_it(here: Path) -> None:
    (here / "mine.toml").write_bytes(b"\xef\xbb\xbf[calibrate]\r\nsteps = 7\r\n")
    assert load_recipe("mine.toml", "calibrate", ["steps"]) == {"steps": 7}


class _Anything(list[str]):
    def __iter__(self):  # type: ignore[no-untyped-def]
        from nsp_pipeline.calibration.next_scale.settings import NextScaleSettings
        from nsp_pipeline.calibration.student.settings import StudentSettings

        return iter([*NextScaleSettings.model_fields, *StudentSettings.model_fields, "base"])


def _has(name: str, section: str) -> bool:
    try:
        load_recipe(name, section, _Anything())
    except RecipeError:
        return False
    return True
