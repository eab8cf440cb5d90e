"""One bad thing in the user's profile folder never stands in the way of the others, and is named."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from run_nsp import Finished
from small_student import student_profile_files, write_three

from nsp_pipeline.cli.doctor import command as doctor
from nsp_pipeline.errors import ProfileError, UsageError
from nsp_pipeline.frames.frame import Camera
from nsp_pipeline.profiles import choose
from nsp_pipeline.profiles.bundle import (
    MODEL_FILES,
    SPEC_FILE,
    WEIGHTS_FILE,
    WHITE_FILE,
    Profile,
    load_profile,
    read_spec,
    write_profile,
)
from nsp_pipeline.profiles.choose import choose_profile, find_profile

Nsp = Callable[..., Finished]
CAMERA = Camera("Maker", "Maker One", 800)

pytestmark = pytest.mark.usefixtures("tiny_builtin")


def install(profile: Profile, path: Path, **changes: object) -> Profile:
    fields = profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    return write_profile(path, {**fields, **changes}, profile.content)


def cut(folder: Path, profile: Profile) -> None:
    (folder / "bad.nsp").write_bytes(profile.path.read_bytes()[:3000])


def empty(folder: Path, profile: Profile) -> None:
    (folder / "bad.nsp").touch()


def without_description(folder: Path, profile: Profile) -> None:
    (folder / "bad.nsp").mkdir()
    (folder / "bad.nsp" / WEIGHTS_FILE).write_bytes(b"w")


def description_not_json(folder: Path, profile: Profile) -> None:
    (folder / "bad").mkdir()
    (folder / "bad" / SPEC_FILE).write_bytes(b"\xff{")


def description_of_something_else(folder: Path, profile: Profile) -> None:
    (folder / "bad").mkdir()
    (folder / "bad" / SPEC_FILE).write_text('{"schema_version": 1, "name": "x"}')


def newer(folder: Path, profile: Profile) -> None:
    (folder / "bad").mkdir()
    (folder / "bad" / SPEC_FILE).write_text('{"schema_version": 99}')


def description_is_a_folder(folder: Path, profile: Profile) -> None:
    (folder / "bad" / SPEC_FILE).mkdir(parents=True)


def dead_link(folder: Path, profile: Profile) -> None:
    (folder / "bad.nsp").symlink_to("gone")


def loop(folder: Path, profile: Profile) -> None:
    (folder / "bad.nsp").symlink_to("bad.nsp")


def pipe(folder: Path, profile: Profile) -> None:
    os.mkfifo(folder / "bad.nsp")


def name_of_one_that_ships(folder: Path, profile: Profile) -> None:
    shutil.copy(profile.path, folder / "standard.nsp")


BAD = (
    cut, empty, without_description, description_not_json, description_of_something_else, newer,
    description_is_a_folder, dead_link, loop, pipe, name_of_one_that_ships,
)  # fmt: skip


def training(folder: Path, profile: Profile) -> None:
    (folder / "mine.nsp.training" / "cache-0").mkdir(parents=True)
    (folder / "mine.nsp.training" / "log.csv").write_text("step")


def foreign_file(folder: Path, profile: Profile) -> None:
    (folder / "notes.txt").write_text("mine")


def foreign_folder(folder: Path, profile: Profile) -> None:
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").touch()


FOREIGN = training, foreign_file, foreign_folder


@pytest.mark.parametrize("make", [*BAD, *FOREIGN], ids=lambda make: make.__name__)
def test_a_bad_entry_stands_in_nobodys_way(
    user_profiles: Path, tiny_profile: Profile, make: Callable[[Path, Profile], None]
) -> None:
    make(user_profiles, tiny_profile)
    for on_missing in ("nearest", "builtin"):
        chosen = choose_profile(CAMERA, on_missing=on_missing)
        assert chosen.profile == tiny_profile
        assert ("cannot be read, `nsp doctor` names it" in chosen.why) == (make in BAD)
    assert choose_profile(CAMERA, on_missing="skip").profile is None
    with pytest.raises(UsageError, match="no profile for Maker One, ISO 800"):
        choose_profile(CAMERA, on_missing="error")
    choose._installed.cache_clear()
    good = install(tiny_profile, user_profiles / "good.nsp", name="good")
    assert choose_profile(CAMERA, on_missing="error").profile == good
    assert find_profile("good") == good
    assert find_profile("builtin") == tiny_profile


@pytest.mark.parametrize("make", [*BAD, *FOREIGN], ids=lambda make: make.__name__)
def test_doctor_and_list_name_it(
    real_nsp: Nsp, user_profiles: Path, tiny_profile: Profile, make: Callable[[Path, Profile], None]
) -> None:
    install(tiny_profile, user_profiles / "good.nsp", name="good")
    make(user_profiles, tiny_profile)
    (name,) = (entry.name for entry in user_profiles.iterdir() if entry.name != "good.nsp")
    summary, wrong = doctor._user_profiles()
    assert (summary.what, summary.ok, summary.detail) == ("your profiles", None, f"1 in {user_profiles}")
    assert wrong.what == ("no profile" if make in FOREIGN else f"profile {name.removesuffix('.nsp')}")
    assert wrong.ok is (None if make in FOREIGN else False)
    assert str(user_profiles / name) in wrong.detail
    rows = {row["path"]: row for row in json.loads(real_nsp("profiles", "list", "--json").out)}
    assert "error" not in rows[str(user_profiles / "good.nsp")]
    assert rows[str(user_profiles / name)]["error"].startswith(str(user_profiles / name))


def test_a_damaged_profile_is_no_sound_installation(real_nsp: Nsp, user_profiles: Path, tiny_profile: Profile) -> None:
    cut(user_profiles, tiny_profile)
    examined = real_nsp("doctor")
    assert examined.code == 3
    assert f"broken   profile bad           {user_profiles / 'bad.nsp'}: the profile is damaged" in examined.out


def test_a_folder_without_anything_wrong_is_ok(user_profiles: Path, tiny_profile: Profile) -> None:
    install(tiny_profile, user_profiles / "good.nsp", name="good")
    (found,) = doctor._user_profiles()
    assert (found.ok, found.detail) == (True, f"1 in {user_profiles}")


def test_a_profile_folder_that_is_none_is_named(user_profiles: Path) -> None:
    user_profiles.rmdir()
    user_profiles.write_bytes(b"")
    assert choose_profile(CAMERA, on_missing="nearest").profile == find_profile("builtin")
    _, wrong = doctor._user_profiles()
    assert (wrong.ok, wrong.detail.partition(";")[0]) == (False, f"{user_profiles}: cannot be read: Not a directory")


def damaged_weights(path: Path) -> None:
    """A bundle whose description is whole and whose weights are not."""
    with (path / WEIGHTS_FILE).open("r+b") as file:
        file.seek(500)
        file.write(b"damaged!")


def test_of_a_damaged_profile_that_would_have_been_taken_the_next_best_stands_in(
    user_profiles: Path, tiny_profile: Profile
) -> None:
    install(tiny_profile, user_profiles / "a", name="a")
    damaged_weights(user_profiles / "a")
    chosen = choose_profile(CAMERA, on_missing="nearest")
    assert chosen.profile == tiny_profile
    assert f"left out: {user_profiles / 'a'}: {WEIGHTS_FILE} was changed or damaged" in chosen.why
    with pytest.raises(UsageError, match=f"{WEIGHTS_FILE} was changed or damaged"):
        choose_profile(CAMERA, on_missing="error")
    choose._installed.cache_clear()
    farther = install(tiny_profile, user_profiles / "b", name="b", iso_min=3200, iso_max=3200)
    assert choose_profile(CAMERA, on_missing="nearest").profile == farther
    choose._installed.cache_clear()
    as_good = install(tiny_profile, user_profiles / "c", name="c")
    assert choose_profile(CAMERA, on_missing="error").profile == as_good


def test_a_profile_without_the_modes_graph_is_passed_over(user_profiles: Path, tiny_profile: Profile) -> None:
    content = {name: data for name, data in tiny_profile.content.items() if name != "model-sr.onnx"}
    fields = tiny_profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    plain = write_profile(user_profiles / "plain.nsp", {**fields, "name": "plain"}, content)
    assert choose_profile(CAMERA, on_missing="nearest").profile == plain
    chosen = choose_profile(CAMERA, on_missing="nearest", mode="sr")
    assert chosen.profile == tiny_profile
    assert "plain.nsp: this profile has no model-sr.onnx" in chosen.why


def test_only_the_profile_that_is_taken_is_loaded(
    user_profiles: Path, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for iso in (100, 200, 400, 800, 1600):
        install(tiny_profile, user_profiles / f"{iso}.nsp", name=str(iso), iso_min=iso, iso_max=iso)
    loaded = []

    def load(path: Path) -> Profile:
        loaded.append(path.stem)
        return load_profile(path)

    hashed = 0
    sha256 = hashlib.sha256

    def counting(data: bytes = b"") -> "hashlib._Hash":
        nonlocal hashed
        hashed += 1
        return sha256(data)

    monkeypatch.setattr(choose, "load_profile", load)
    monkeypatch.setattr(hashlib, "sha256", counting)
    for _ in range(3):
        assert choose_profile(CAMERA, on_missing="nearest").profile is not None
    assert loaded == ["800"]
    assert hashed == 1 + len(tiny_profile.spec.files)


def test_the_description_alone_is_what_the_whole_bundle_says(user_profiles: Path, tiny_profile: Profile) -> None:
    for path in (tiny_profile.path, install(tiny_profile, user_profiles / "folder").path):
        assert read_spec(path) == load_profile(path).spec


def test_a_description_that_swells_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.nsp", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(SPEC_FILE, b" " * (17 << 20))
    with pytest.raises(ProfileError, match=r"bomb\.nsp: not a profile: its profile.json is too large"):
        read_spec(tmp_path / "bomb.nsp")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "a\nb", "/nowhere/x", "x/", "..", ".", ""])
def test_what_is_no_profiles_name_is_refused_in_one_line(
    tmp_path: Path, user_profiles: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError) as refused:
        find_profile(name)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_folder_of_a_profiles_name_in_the_current_folder_is_not_taken_for_it(
    tmp_path: Path, user_profiles: Path, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("builtin", "standard"):
        (tmp_path / name).mkdir()
        assert find_profile(name) == tiny_profile


def test_one_whose_network_for_white_noise_is_damaged_is_passed_over_and_named_too(
    real_nsp: Nsp, user_profiles: Path, tiny_profile: Profile, tmp_path: Path
) -> None:
    three = write_three(tmp_path)
    fields = three.spec.model_dump(exclude={"schema_version", "files"})
    damaged = {**three.content, WHITE_FILE: three.content[WHITE_FILE][:-200]}
    write_profile(user_profiles / "bad.nsp", fields, damaged)
    camera = Camera(three.spec.camera_make, three.spec.camera_model, three.spec.iso_min)
    chosen = choose_profile(camera, on_missing="nearest")
    assert chosen.profile == tiny_profile
    assert f"left out: {user_profiles / 'bad.nsp' / WHITE_FILE}: the profile is damaged" in chosen.why
    assert f"{WHITE_FILE}: the profile is damaged" in real_nsp("doctor").out


def test_every_network_of_a_profile_must_be_made_for_the_mode(tmp_path: Path) -> None:
    enlarging = {MODEL_FILES["sr-direct"]: b"a graph"}
    inner = write_profile(tmp_path / "inner.nsp", *student_profile_files(4))
    _, files = student_profile_files()
    outer = Profile(tmp_path / "outer.nsp", inner.spec, "", {**files, **enlarging, WHITE_FILE: inner.path.read_bytes()})
    outer.require_mode("denoise")
    with pytest.raises(ProfileError, match=r"outer\.nsp/white\.nsp: this profile has no model-sr-direct\.onnx"):
        outer.require_mode("sr")
