"""`nsp export`: a file for other programs, or a reason and no file."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from run_nsp import Finished

import nsp_export.onnx_file
from nsp_export.onnx_file import ParityError
from nsp_pipeline.profiles.bundle import WEIGHTS_FILE, Profile

Nsp = Callable[..., Finished]


def test_a_file_is_written_once_and_replaced_only_when_asked(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path
) -> None:
    out = tmp_path / "mine [sr].onnx"
    first = real_nsp("export", tiny_profile.path, "--mode", "sr", "--out", out, "--json")
    assert first.code == 0, first.err
    assert json.loads(first.out) == {
        "file": str(out),
        "target": "onnx",
        "mode": "sr",
        "bytes": out.stat().st_size,
        "profile": "tiny",
        "sha256": tiny_profile.spec.files[WEIGHTS_FILE],
    }
    assert f"{out}: sr, 0.0 MB, agrees with PyTorch" in first.err.splitlines()
    facts = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert (facts["mode"], facts["scale"], facts["sha256"]) == ("sr", "2", tiny_profile.spec.files[WEIGHTS_FILE])
    assert list(tmp_path.iterdir()) == [out]

    written = out.read_bytes()
    out.write_bytes(b"theirs")
    second = real_nsp("export", tiny_profile.path, "--mode", "sr", "--out", out)
    assert (second.code, out.read_bytes()) == (4, b"theirs")
    assert f"nsp: {out}: exists already; --overwrite replaces it" in second.err
    third = real_nsp("export", tiny_profile.path, "--mode", "sr", "--out", out, "--overwrite")
    assert (third.code, out.read_bytes()) == (0, written)
    assert third.out == ""


def test_pd_is_the_profile_s_own_or_the_one_asked_for(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    multiples = {}
    for pd in ("auto", "on"):
        made = real_nsp("export", tiny_profile.path, "--pd", pd, "--out", tmp_path / f"{pd}.onnx")
        assert made.code == 0, made.err
        facts = {entry.key: entry.value for entry in onnx.load(tmp_path / f"{pd}.onnx").metadata_props}
        multiples[pd] = facts["multiple"]
    assert multiples == {"auto": "1", "on": "2"}
    refused = real_nsp("export", tiny_profile.path, "--pd", "on", "--mode", "sr", "--out", tmp_path / "sr.onnx")
    assert refused.code == 2
    assert "--pd acts in --mode denoise only, not in sr" in refused.err


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that takes no time."""
    monkeypatch.setattr(nsp_export.onnx_file, "onnx_bytes", lambda graph, metadata: b"graph")


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/mine.onnx", "cannot be written: Not a directory"),
        ("nowhere/mine.onnx", "cannot be written: No such file or directory"),
        ("n" * 300, "cannot be written: File name too long"),
        ("/proc/mine.onnx", "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, place: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    ended = real_nsp("export", tiny_profile.path, "--out", tmp_path / place)
    assert ended.code == 4
    assert f"nsp: {tmp_path / place}: {message}" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("instant")
def test_a_full_disk_leaves_what_was_there(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "mine.onnx").write_bytes(b"theirs")
    monkeypatch.setattr("os.fsync", full)
    ended = real_nsp("export", tiny_profile.path, "--out", tmp_path / "mine.onnx", "--overwrite")
    assert ended.code == 4
    assert "No space left on device" in ended.err
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("mine.onnx", b"theirs")]


def test_a_graph_that_does_not_agree_is_not_published(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disagree(content: bytes, graph: object) -> float:
        raise ParityError("the exported graph differs from PyTorch by 0.5 (allowed: 1e-04)")

    monkeypatch.setattr(nsp_export.onnx_file, "check_parity", disagree)
    ended = real_nsp("export", tiny_profile.path, "--out", tmp_path / "mine.onnx")
    assert ended.code == 1
    assert ended.err == "nsp: the exported graph differs from PyTorch by 0.5 (allowed: 1e-04)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("user_profiles", "tiny_builtin")
def test_an_unknown_profile_names_the_known_ones(real_nsp: Nsp, tmp_path: Path) -> None:
    ended = real_nsp("export", "bultin", "--out", tmp_path / "mine.onnx")
    assert ended.code == 2
    assert "there is no profile 'bultin': not a file or folder, and not one of: standard" in ended.err
