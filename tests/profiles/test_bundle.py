"""A profile is used only when it is whole, ours and unchanged."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import tiny_profile_files

from nsp_pipeline.errors import ExitCode, OutputError, ProfileError
from nsp_pipeline.profiles import bundle
from nsp_pipeline.profiles.bundle import CARD_FILE, SPEC_FILE, WEIGHTS_FILE, Profile, load_profile, write_profile


def as_folder(profile: Profile, folder: Path) -> Path:
    """Unpack a profile to where a test may damage it."""
    with zipfile.ZipFile(profile.path) as source:
        source.extractall(folder)
    return folder


@pytest.mark.parametrize("name", ["mine.nsp", "mine"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    fields, files = tiny_profile_files()

    write_profile(tmp_path / name, fields, files)
    profile = load_profile(tmp_path / name)

    assert profile.name == "tiny"
    assert {file: profile.read(file) for file in files} == files
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folder_and_file_of_the_same_content_have_the_same_hash(tiny_profile: Profile, tmp_path: Path) -> None:
    assert load_profile(as_folder(tiny_profile, tmp_path / "tiny")).sha256 == tiny_profile.sha256


def test_a_profile_in_words_is_short(tiny_profile: Profile) -> None:
    assert len(repr(tiny_profile)) < 10_000


def test_an_existing_profile_is_never_overwritten(tiny_profile: Profile) -> None:
    before = tiny_profile.path.read_bytes()

    with pytest.raises(OutputError, match="exists already"):
        write_profile(tiny_profile.path, *tiny_profile_files())

    assert tiny_profile.path.read_bytes() == before


def test_a_profile_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, files: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_write_zip", full)

    with pytest.raises(OutputError, match=r"mine\.nsp.*No space left"):
        write_profile(tmp_path / "mine.nsp", *tiny_profile_files())
    assert list(tmp_path.iterdir()) == []


def test_every_cut_is_noticed(tiny_profile: Profile, tmp_path: Path) -> None:
    content = tiny_profile.path.read_bytes()
    cut = tmp_path / "cut.nsp"

    for length in range(0, len(content), max(1, len(content) // 60)):
        cut.write_bytes(content[:length])
        with pytest.raises(ProfileError, match=r"cut\.nsp.*damaged"):
            load_profile(cut)


def test_flipped_bits_are_noticed_or_harmless(tiny_profile: Profile, tmp_path: Path) -> None:
    content = tiny_profile.path.read_bytes()
    noticed = 0

    for place in range(0, len(content), max(1, len(content) // 60)):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        (tmp_path / "flipped.nsp").write_bytes(flipped)
        try:
            profile = load_profile(tmp_path / "flipped.nsp")
        except ProfileError:
            noticed += 1
        else:  # dates and flags of the zip itself: the content is what it was
            assert profile.sha256 == tiny_profile.sha256
    assert noticed > 30


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"other"), f"{WEIGHTS_FILE} was changed or damaged"),
        (lambda folder: (folder / CARD_FILE).unlink(), f"{CARD_FILE} is missing"),
        (lambda folder: (folder / "extra.py").write_text("print()"), "does not vouch for: extra.py"),
        (lambda folder: (folder / SPEC_FILE).unlink(), f"it has no {SPEC_FILE}"),
        (lambda folder: (folder / SPEC_FILE).write_text("{"), f"{SPEC_FILE} is damaged"),
        (lambda folder: (folder / SPEC_FILE).write_text("[]"), SPEC_FILE),
    ],
)
def test_a_changed_folder_is_refused(
    tiny_profile: Profile, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = as_folder(tiny_profile, tmp_path / "tiny")
    damage(folder)

    with pytest.raises(ProfileError, match=message) as refused:
        load_profile(folder)

    assert str(folder) in str(refused.value)
    assert refused.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, r"made by a newer nsp \(profile schema 99"),
        ({"halo": 3}, "halo"),
        ({"iso_min": "low"}, "iso_min"),
        ({"inference": {"pd_factor": 0}}, r"inference\.pd_factor"),
    ],
)
def test_a_wrong_description_names_the_field(
    tiny_profile: Profile, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    folder = as_folder(tiny_profile, tmp_path / "tiny")
    spec = json.loads((folder / SPEC_FILE).read_text())
    (folder / SPEC_FILE).write_text(json.dumps({**spec, **changes}))

    with pytest.raises(ProfileError, match=message):
        load_profile(folder)


@pytest.mark.parametrize("name", ["../outside", "sub/profile.json"])
def test_a_zip_with_paths_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "p.nsp", "w") as file:
        file.writestr(name, b"x")

    with pytest.raises(ProfileError, match="not a profile"):
        load_profile(tmp_path / "p.nsp")


def test_a_zip_that_swells_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST_FILE", 1000)
    with zipfile.ZipFile(tmp_path / "p.nsp", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weights.safetensors", bytes(100_000))

    with pytest.raises(ProfileError, match=r"weights\.safetensors \(100000 bytes\)"):
        load_profile(tmp_path / "p.nsp")


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"gone\.nsp: there is no such profile"):
        load_profile(tmp_path / "gone.nsp")


def test_a_mode_the_profile_was_not_made_for_is_named(tiny_profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"has no other\.onnx"):
        tiny_profile.read("other.onnx")
