"""`nsp export`: a file for other programs, or a reason and no file."""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from run_nsp import Finished
from tiny import tiny_model, tiny_profile_files

import nsp_export.onnx_file
from nsp_export.agreement import ParityError
from nsp_pipeline.engines.cache_folder import FOLDER_VARIABLE
from nsp_pipeline.engines.tensorrt import build as tensorrt_build
from nsp_pipeline.engines.tensorrt import engine as tensorrt
from nsp_pipeline.engines.tensorrt.cache import EngineCache, EngineKey
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile, write_profile

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
        "precision": "fp32",
        "io": "float32",
        "bytes": out.stat().st_size,
        "size": "any size",
        "multiple": 2,
        "halo": 2 * tiny_profile.spec.backbone.halo,
        "scale": 2,
        "noise": None,
        "profile": "tiny",
        "sha256": tiny_profile.spec.files[WEIGHTS_FILE],
    }
    assert f"{out}: sr, fp32, any size, 0.0 MB, agrees with PyTorch" in first.err.splitlines()
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
    assert "--pd works with --mode denoise only, not with sr" in refused.err


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that takes no time."""
    monkeypatch.setattr(nsp_export.onnx_file, "onnx_bytes", lambda graph, metadata: b"graph")


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/mine.onnx", "cannot be written: {tmp}/file is no folder"),
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
    assert f"nsp: {tmp_path / place}: {message.format(tmp=tmp_path)}" in ended.err
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


def test_float16_of_one_size_with_integer_pixels(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "mine.onnx"
    overrides = ("--precision", "fp16", "--io", "uint8", "--size", "32x48", "--mode", "sr-direct")
    ended = real_nsp("export", tiny_profile.path, *overrides, "--out", out, "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert (facts["precision"], facts["io"], facts["size"]) == ("fp16", "uint8", "32x48")
    assert "agrees with PyTorch, fp16 with fp32 to " in ended.err
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 48), dtype=np.uint8)
    (result,) = onnxruntime.InferenceSession(out).run(None, {"image": image})
    assert (result.dtype, result.shape) == (np.uint8, (1, 3, 64, 96))


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_an_engine_is_built_from_the_profile_s_graph(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "mine.engine"
    overrides = ("--target", "tensorrt-rtx", "--precision", "fp16", "--max-size", "512x512")
    ended = real_nsp("export", tiny_profile.path, *overrides, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["size"] == "1x1 to 512x512"
    assert "its graph agrees with PyTorch, fp16 with fp32 to " in ended.err
    assert out.stat().st_size > 10_000
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--min-size", "64x64"), "an ONNX file takes any size"),
        (("--target", "tensorrt-rtx", "--max-size", "64x64", "--size", "64x64"), "work for engines of dynamic size"),
        (("--compute-capability", "8.9"), "works with --target tensorrt-rtx only"),
        (("--target", "tensorrt-rtx", "--io", "uint16"), "tensorrt-rtx has no such type"),
        (("--target", "tensorrt-rtx", "--min-size", "64x64", "--max-size", "32x32"), "the first must be the smaller"),
        (("--size", "64"), "'64' is no size; write height and width like 1024x768"),
        (("--list",), "--list and --prune stand alone"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    real_nsp: Nsp,
    tiny_profile: Profile,
    tmp_path: Path,
    overrides: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorrt_build, "import_tensorrt", lambda flavour: None)
    ended = real_nsp("export", tiny_profile.path, *overrides, "--out", tmp_path / "mine")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_disagrees_with_the_weights_is_not_built(
    real_nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_build, "import_tensorrt", lambda flavour: None)
    fields, files = tiny_profile_files()
    model = onnx.load_from_string(tiny_model("denoise"))
    tensor = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(1.5)).tobytes()
    files[MODEL_FILES["denoise"]] = model.SerializeToString()
    write_profile(tmp_path / "odd.nsp", fields, files)
    ended = real_nsp("export", tmp_path / "odd.nsp", "--target", "tensorrt-rtx", "--out", tmp_path / "mine")
    assert ended.code == 2
    assert "model.onnx is not the network of the weights" in ended.err


def test_without_tensorrt_the_command_that_installs_it_is_named(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    ended = real_nsp("export", tiny_profile.path, "--target", "tensorrt", "--out", tmp_path / "mine")
    assert ended.code == 3
    assert "pip install 'nsp-pipeline[cpu,tensorrt]'" in ended.err


def test_kept_engines_are_listed_and_useless_ones_removed(
    real_nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert json.loads(real_nsp("export", "--list", "--json").out) == {"folder": str(folder), "files": []}
    parts = dict.fromkeys(EngineKey.__dataclass_fields__, "x")
    cache = EngineCache(folder, lambda line: None)
    for driver in ("old", "new"):
        cache.engine(EngineKey(**{**parts, "flavour": "tensorrt-rtx", "driver": driver}), lambda: b"engine")
    (folder / "damaged.engine").write_bytes(b"")
    (folder / "mine.txt").write_bytes(b"mine")
    listed = json.loads(real_nsp("export", "--list", "--json").out)["files"]
    assert {(entry.get("driver"), entry.get("trouble")) for entry in listed} == {
        ("old", None), ("new", None), (None, "it was not written by this nsp")
    }  # fmt: skip
    assert "damaged.engine" in real_nsp("export", "--list").out

    monkeypatch.setattr(tensorrt, "this_machine", lambda: {"tensorrt-rtx": {"driver": frozenset({"new"})}})
    ended = real_nsp("export", "--prune", "--json")
    assert ended.code == 0
    assert "made for driver old; here it is new" in ended.err
    assert {entry.get("driver") for entry in json.loads(ended.out)["removed"]} == {"old", None}
    left = [path for path in folder.iterdir() if path.suffix == ".engine"]
    assert len(left) == 1
    assert (folder / "mine.txt").exists()
