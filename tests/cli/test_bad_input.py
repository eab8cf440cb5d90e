"""`nsp denoise` with its real engine, on what people's folders hold: every refusal has its reason and its exit code."""

import json
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from noisy_photos import noisy_scene, save_archive
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.profiles.bundle import CARD_FILE, SPEC_FILE, WEIGHTS_FILE, Profile, write_profile

Nsp = Callable[..., Finished]


@pytest.fixture
def denoise(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> Callable[..., Finished]:
    """Denoise the folder `in` into `out` with the tiny profile, and see that no traceback ever shows."""

    def run(*options: str | Path) -> Finished:
        ended = real_nsp("denoise", tmp_path / "in", tmp_path / "out", "--profile", tiny_profile.path, *options)
        assert "Traceback" not in ended.err
        return ended

    (tmp_path / "in").mkdir()
    return run


def encoded(kind: str, **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(noisy_scene(0)).save(stream, kind, **options)
    return stream.getvalue()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("names", [[], ["notes.txt", "list.csv", "README"]])
def test_a_folder_without_photos_is_wrong_usage(denoise: Nsp, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / "in" / name).write_text("hello")
    ended = denoise()
    assert ended.code == 2
    assert f"no photos in {tmp_path / 'in'}; is it the right folder, on a disk that is mounted?" in ended.err
    assert ("ignored 3 files that are no photos (.csv, .txt, no suffix)" in ended.err) == bool(names)
    assert not (tmp_path / "out").exists()


def test_damaged_files_are_named_with_their_reason_and_the_rest_is_done(denoise: Nsp, tmp_path: Path) -> None:
    folder = save_archive(tmp_path / "in", 1)
    broken = {
        "zero.jpg": (b"", "the file is empty"),
        "zero.tif": (b"", "the file is empty"),
        "text.jpg": (b"hello, I am a text\n", "text"),
        "page.png": (b"<!DOCTYPE html><html></html>", "text"),
        "half.jpg": (encoded("JPEG")[:900], "ends early"),
        "half.png": (encoded("PNG")[:900], "ends early"),
        "half.tif": (encoded("TIFF")[:900], "ends early"),
        "cmyk.jpg": (b"", "CMYK"),
    }
    for name, (content, _) in broken.items():
        (folder / name).write_bytes(content)
    Image.fromarray(np.dstack([noisy_scene(0), noisy_scene(1)[..., :1]]), "CMYK").save(folder / "cmyk.jpg")
    before = contents(folder)

    ended = denoise("--json")

    assert ended.code == 1
    document = json.loads(ended.out)
    failed = {Path(photo["name"]).name: photo for photo in document["photos"] if photo["outcome"] == "failed"}
    assert set(failed) == set(broken)
    for name, (_, reason) in broken.items():
        assert reason in failed[name]["reason"], name
        (line,) = [line for line in ended.err.splitlines() if f" {folder / name} failed: " in line]
        assert reason in line
    assert (document["summary"]["done"], document["summary"]["failed"]) == (1, len(broken))
    assert set(contents(tmp_path / "out")) == {"0.png"}
    assert contents(folder) == before


def test_wrongly_named_photos_are_what_their_content_says(denoise: Nsp, tmp_path: Path) -> None:
    for name, kind in (("a.png", "JPEG"), ("b.jpg", "PNG"), ("c.png", "TIFF")):
        (tmp_path / "in" / name).write_bytes(encoded(kind))
    ended = denoise("--strength", "0")
    assert ended.code == 0, ended.err
    for name, kind in (("a.png", "JPEG"), ("b.jpg", "PNG"), ("c.png", "TIFF")):
        made = Image.open(tmp_path / "out" / name)
        assert made.format == kind
        tolerance = 12 if kind == "JPEG" else 0
        original = np.asarray(Image.open(tmp_path / "in" / name), int)
        assert np.abs(np.asarray(made, int) - original).max() <= tolerance


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_png_becomes_its_colours(denoise: Nsp, tmp_path: Path, transparent: bool) -> None:
    palette = Image.fromarray(noisy_scene(0)).quantize(64)
    palette.save(tmp_path / "in" / "a.png", transparency=3 if transparent else None)
    mode = "RGBA" if transparent else "RGB"
    with Image.open(tmp_path / "in" / "a.png") as image:
        colours = np.asarray(image.convert(mode), int)

    assert denoise("--strength", "0").code == 0
    made = Image.open(tmp_path / "out" / "a.png")
    assert made.mode == mode
    np.testing.assert_array_equal(np.asarray(made), colours)

    assert denoise("--strength", "0.1").code == 0
    near = np.asarray(Image.open(tmp_path / "out" / "a.png"), int)
    # A tenth of the way to the estimate of a network without training: no channel has changed places.
    assert np.abs(near - colours).max() < 40
    assert all(np.corrcoef(near[..., c].ravel(), colours[..., c].ravel())[0, 1] > 0.95 for c in range(3))


@pytest.mark.parametrize("mode", ["denoise", "sr", "sr-direct"])
def test_the_smallest_and_the_longest_photos_go_through(denoise: Nsp, tmp_path: Path, mode: str) -> None:
    sizes = [(1, 1), (3, 5), (5, 3), (30_000, 2), (2, 1200)]
    for width, height in sizes:
        Image.fromarray(noisy_scene(0, height, width)).save(tmp_path / "in" / f"{width}x{height}.png")
    ended = denoise("--mode", mode, *(["--strength", "1"] if mode == "denoise" else []))
    assert ended.code == 0, ended.err
    scale = 1 if mode == "denoise" else 2
    for width, height in sizes:
        assert Image.open(tmp_path / "out" / f"{width}x{height}.png").size == (scale * width, scale * height)


def test_photos_are_never_written_over(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    folder = save_archive(tmp_path / "in", 2)
    before = contents(folder)
    for output, message in [
        (folder, f"{folder}: OUTPUT is also an INPUT; originals are never written over"),
        (tmp_path / "in" / ".." / "in", "OUTPUT is also an INPUT"),
        (folder / "clean", f"OUTPUT lies inside the INPUT {folder}"),
    ]:
        ended = real_nsp("denoise", folder, output, "--profile", tiny_profile.path, "--overwrite")
        assert ended.code == 2
        assert message in ended.err
    ended = real_nsp("denoise", folder / "0.png", folder / "0.png", "--profile", tiny_profile.path, "--overwrite")
    assert ended.code == 2
    assert "is the photo" in ended.err
    assert contents(folder) == before
    assert not (folder / ".nsp").exists()


@pytest.mark.parametrize("place", ["file/out", "/proc/nsp"])
def test_an_output_that_cannot_be_made_is_exit_code_4(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, place: str
) -> None:
    save_archive(tmp_path / "in", 1)
    (tmp_path / "file").write_bytes(b"")
    ended = real_nsp("denoise", tmp_path / "in", tmp_path / place, "--profile", tiny_profile.path)
    assert ended.code == 4
    assert ended.err.startswith(f"nsp: {tmp_path / place}")
    assert "cannot be made" in ended.err


def truncated(content: bytes, folder: Path) -> Path:
    (folder / "bad.nsp").write_bytes(content[: len(content) // 2])
    return folder / "bad.nsp"


def flipped(content: bytes, folder: Path) -> Path:
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    (folder / "bad.nsp").write_bytes(changed)
    return folder / "bad.nsp"


def unpacked(content: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(BytesIO(content)) as file:
        file.extractall(folder / "bad")
    return folder / "bad"


def of_other_weights(content: bytes, folder: Path) -> Path:
    (unpacked(content, folder) / WEIGHTS_FILE).write_bytes(b"others")
    return folder / "bad"


def with_a_stranger(content: bytes, folder: Path) -> Path:
    (unpacked(content, folder) / "run_me.py").write_text("print()")
    return folder / "bad"


def without_its_card(content: bytes, folder: Path) -> Path:
    (unpacked(content, folder) / CARD_FILE).unlink()
    return folder / "bad"


def of_the_future(content: bytes, folder: Path) -> Path:
    path = unpacked(content, folder) / SPEC_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3}))
    return folder / "bad"


def with_an_unknown_word(content: bytes, folder: Path) -> Path:
    path = unpacked(content, folder) / SPEC_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "iso_maximum": 800}))
    return folder / "bad"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "the profile is damaged or cut short"),
        (flipped, "damaged"),
        (of_other_weights, "weights.safetensors was changed or damaged since the profile was made"),
        (with_a_stranger, "the profile holds files that profile.json does not vouch for: run_me.py"),
        (without_its_card, "the profile is incomplete: CARD.md is missing"),
        (of_the_future, "made by a newer nsp (profile schema 3, this one reads 2); update nsp"),
        (with_an_unknown_word, "profile.json: iso_maximum: Extra inputs are not permitted"),
    ],
)
@pytest.mark.parametrize("command", ["denoise", "export"])
def test_a_bad_profile_is_refused_before_any_work(
    real_nsp: Nsp,
    tiny_profile: Profile,
    tmp_path: Path,
    damage: Callable[[bytes, Path], Path],
    message: str,
    command: str,
) -> None:
    save_archive(tmp_path / "in", 1)
    bad, out = damage(tiny_profile.path.read_bytes(), tmp_path), tmp_path / "out"
    arguments = {"denoise": [tmp_path / "in", out, "--profile", bad], "export": [bad, "--out", out]}
    ended = real_nsp(command, *arguments[command])
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"nsp: {bad}: ")
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not out.exists()


@pytest.mark.usefixtures("tiny_builtin")
@pytest.mark.parametrize("on_missing", ["nearest", "builtin"])
def test_a_damaged_profile_of_the_user_stops_no_run_and_is_mentioned(
    real_nsp: Nsp, user_profiles: Path, tmp_path: Path, on_missing: str
) -> None:
    save_archive(tmp_path / "in", 1)
    (user_profiles / "mine.nsp").write_bytes(b"PK")
    (user_profiles / "mine.nsp.training").mkdir()
    ended = real_nsp("denoise", tmp_path / "in", tmp_path / "out", "--on-missing-profile", on_missing)
    assert ended.code == 0
    assert "one of your profiles cannot be read, `nsp doctor` names it" in ended.err


def test_a_profile_that_lacks_the_mode_is_refused(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    save_archive(tmp_path / "in", 1)
    fields = tiny_profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    files = {name: data for name, data in tiny_profile.content.items() if name != "model-sr.onnx"}
    write_profile(tmp_path / "plain.nsp", fields, files)
    arguments = ["denoise", tmp_path / "in", tmp_path / "out", "--profile", tmp_path / "plain.nsp"]
    ended = real_nsp(*arguments, "--mode", "sr")
    assert ended.code == 2
    assert f"{tmp_path / 'plain.nsp'}: this profile has no model-sr.onnx; it was made for other modes" in ended.err
    assert real_nsp(*arguments).code == 0


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("[denoise]\nstrenght = 0.5", "mine.toml, [denoise]: unknown setting 'strenght'; did you mean 'strength'?"),
        ("[denoise]\ntile-size = 64", "unknown setting 'tile_size'"),
        ("[denoise]\nstrength = 5", "mine.toml, [denoise]: strength: 5"),
        ("[denoise]\nstrength = 0.5\n[denoise]", "is not valid TOML"),
        ("", "has no [denoise] table; it has: nothing"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_work(denoise: Nsp, tmp_path: Path, recipe: str, message: str) -> None:
    save_archive(tmp_path / "in", 1)
    (tmp_path / "mine.toml").write_text(recipe)
    ended = denoise("--recipe", tmp_path / "mine.toml")
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_recipe_names_the_known_ones(denoise: Nsp, tmp_path: Path) -> None:
    ended = denoise("--recipe", "nigth")
    assert ended.code == 2
    assert "there is no recipe 'nigth'; shipped ones: " in ended.err
    assert "camera" in ended.err


def test_without_onnx_runtime_nothing_is_begun(denoise: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_archive(tmp_path / "in", 1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ended = denoise()
    assert ended.code == 3
    assert "pip install 'nsp-pipeline[cpu]'" in ended.err
    assert not (tmp_path / "out").exists()
