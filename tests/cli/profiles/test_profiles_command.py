"""`nsp profiles`: what there is, what a profile says, and whether it is whole."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from run_nsp import Finished, run_here
from tiny import tiny_model

from nsp_pipeline.cli.profiles import command
from nsp_pipeline.cli.profiles.words import GAINS
from nsp_pipeline.cli.shared import exporting
from nsp_pipeline.engines.measured.speeds import Speed, keep_speeds, speed_key
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles.bundle import CARD_FILE, MODEL_FILES, WEIGHTS_FILE, Profile, write_profile
from nsp_pipeline.profiles.choose import find_profile

Nsp = Callable[..., Finished]


@pytest.fixture
def installed(user_profiles: Path, tiny_builtin: Profile) -> Path:
    """A built-in profile; two in the user's folder, one of them damaged; names that look like rich's markup."""
    (user_profiles / "[red]cut.nsp").write_bytes(tiny_builtin.path.read_bytes()[:1000])
    fields = tiny_builtin.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    fields |= {"camera_make": None, "camera_model": None, "iso_min": None, "iso_max": None}
    fields["data"]["licence"] = "[/b] mine"
    write_profile(user_profiles / "any [raw].nsp", fields, tiny_builtin.content)
    return user_profiles


def test_the_list_as_json_is_one_document_with_every_profile(real_nsp: Nsp, installed: Path) -> None:
    listed = real_nsp("profiles", "list", "--json")
    builtin, cut, whole = json.loads(listed.out)
    assert (listed.code, listed.err) == (0, "")
    assert (builtin["name"], builtin["camera"], builtin["iso"]) == ("standard", "Maker One", "800-1600")
    assert (whole["name"], whole["camera"], whole["iso"]) == ("any [raw]", "several", "any")
    assert whole["path"] == str(installed / "any [raw].nsp")
    assert (cut["name"], cut["path"]) == ("[red]cut", str(installed / "[red]cut.nsp"))
    assert cut["error"].startswith(f"{installed / '[red]cut.nsp'}: the profile is damaged or cut short")


def test_the_list_for_people_shows_names_as_they_are(
    real_nsp: Nsp, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    listed = real_nsp("profiles", "list")
    assert listed.code == 0
    assert listed.err == ""
    for words in ("standard", "[red]cut", "any [raw]", "[/b] mine", "damaged or cut short", "Maker One"):
        assert words in listed.out


def test_show_gives_the_card_or_the_description(real_nsp: Nsp, tiny_profile: Profile) -> None:
    words = real_nsp("profiles", "show", tiny_profile.path)
    assert (words.code, words.err) == (0, "")
    assert f"--profile {tiny_profile.path}" in words.out
    assert "batch" not in words.out
    card = real_nsp("profiles", "show", tiny_profile.path, "-v")
    assert (card.code, card.err[:24]) == (0, "nsp profiles show took 0")
    assert tiny_profile.read(CARD_FILE).decode().strip("# \n") in card.out
    shown = real_nsp("profiles", "show", tiny_profile.path, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out) == tiny_profile.spec.model_dump(mode="json")


def test_verify_runs_every_model(real_nsp: Nsp, tiny_profile: Profile) -> None:
    verified = real_nsp("profiles", "verify", tiny_profile.path, "--json")
    expected = {"hashes": f"{len(tiny_profile.spec.files)} files match"}
    expected |= dict.fromkeys(MODEL_FILES.values(), "runs on CPUExecutionProvider")
    assert (verified.code, verified.err) == (0, "")
    found = json.loads(verified.out)
    assert found.pop(WEIGHTS_FILE).startswith("all models agree with them to ")
    assert found == expected
    verified = real_nsp("profiles", "verify", tiny_profile.path)
    assert (verified.code, verified.out) == (0, "")
    assert verified.err.splitlines()[:-1] == [f"{name}: {finding}" for name, finding in expected.items()]


def test_without_torch_verify_says_what_it_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny_profile: Profile
) -> None:
    def missing() -> None:
        raise MissingCapabilityError("this command needs PyTorch")

    monkeypatch.setattr(exporting, "require_training", missing)
    verified = run_here(capsys, "profiles", "verify", tiny_profile.path)
    assert verified.code == 0
    assert f"{WEIGHTS_FILE}: not compared with the models: this command needs PyTorch" in verified.err.splitlines()


def test_verify_finds_a_model_of_other_weights(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    fields = tiny_profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    other = tiny_model("denoise", 2)
    write_profile(tmp_path / "odd.nsp", fields, {**tiny_profile.content, MODEL_FILES["denoise"]: other})
    ended = real_nsp("profiles", "verify", tmp_path / "odd.nsp")
    assert ended.code == 2
    assert f"{tmp_path / 'odd.nsp'}: model.onnx is not the network of the weights" in ended.err


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_damaged_profile_is_wrong_usage(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, command: str) -> None:
    content = tiny_profile.path.read_bytes()
    (tmp_path / "cut.nsp").write_bytes(content[: len(content) // 2])
    ended = real_nsp("profiles", command, tmp_path / "cut.nsp", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert f"nsp: {tmp_path / 'cut.nsp'}: the profile is damaged or cut short" in ended.err


def test_verify_finds_a_model_that_is_none(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    fields = tiny_profile.spec.model_dump(mode="json", exclude={"schema_version", "files"})
    write_profile(tmp_path / "odd.nsp", fields, {**tiny_profile.content, MODEL_FILES["sr"]: b"no model"})
    ended = real_nsp("profiles", "verify", tmp_path / "odd.nsp")
    assert ended.code == 2
    assert f"{tmp_path / 'odd.nsp'}: model-sr.onnx is not a model ONNX Runtime can run" in ended.err


def test_on_a_narrow_screen_names_stay_whole(
    real_nsp: Nsp, installed: Path, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    name = "one-that-has-to-be-typed"
    (installed / f"{name}.nsp").write_bytes(tiny_profile.path.read_bytes())
    assert name in real_nsp("profiles", "list").out


def test_the_list_and_what_is_shown_of_a_profile_fit_80_columns(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "printed_to_a_terminal", lambda: True)
    described = real_nsp("profiles", "show", "standard").out.splitlines()
    assert max(map(len, described)) <= 80
    shown = real_nsp("profiles", "list").out.splitlines()
    assert max(len(line.rstrip()) for line in shown) <= 80
    assert shown[0].split() == ["name", "camera", "ISO", "for", "gain", "licence"]
    assert any(line.startswith("standard ") and "any use" in line for line in shown)


def test_the_gains_that_are_listed_are_those_that_were_published() -> None:
    text = (Path(__file__).parents[3] / "docs" / "quality.md").read_text(encoding="utf-8")
    table = text.split("## ")[1]
    psnr = {
        name: float(value) for name, value in re.findall(r"^\| `?([\w-]+)`?[^|]*\| \**([\d.]+)", table, re.MULTILINE)
    }
    assert {name: round(psnr[name] - psnr["noisy"], 1) for name in GAINS} == GAINS


def test_the_list_has_the_speed_of_what_was_measured_on_this_machine(real_nsp: Nsp) -> None:
    key = speed_key(find_profile("standard"), "denoise", None)
    assert "s/MP" not in real_nsp("profiles", "list").out.splitlines()[0]
    keep_speeds(key, [Speed("onnx", "fp32", 0.1, 2.34), Speed("openvino", "fp32", 1.0, 1.23)])
    try:
        head, *rows = real_nsp("profiles", "list").out.splitlines()
        assert "s/MP" in head.split()
        assert any(row.startswith("standard ") and "1.2" in row.split() for row in rows)
    finally:
        key.path.unlink()
