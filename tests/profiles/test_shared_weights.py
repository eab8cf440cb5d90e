"""A bundle holds its weights once, and its graphs are what they were."""

import json
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
from tiny import tiny_model, tiny_profile_files, tiny_weights

from nsp_pipeline.errors import ProfileError
from nsp_pipeline.profiles import bundle
from nsp_pipeline.profiles.bundle import MODEL_FILES, SPEC_FILE, WEIGHTS_FILE, Profile, load_profile, write_profile
from nsp_pipeline.profiles.shared_weights import LEAST, with_weights, without_weights

MODEL = MODEL_FILES["denoise"]
MOST = 1 << 20


@pytest.fixture
def unpacked(tiny_profile: Profile, tmp_path: Path) -> Path:
    """The folder of a bundle."""
    with zipfile.ZipFile(tiny_profile.path) as source:
        source.extractall(tmp_path / "tiny")
    return tmp_path / "tiny"


def replace(folder: Path, file: str, content: bytes) -> None:
    """Put another file into a bundle, with its hash."""
    (folder / file).write_bytes(content)
    spec = json.loads((folder / SPEC_FILE).read_text())
    spec["files"][file] = sha256(content).hexdigest()
    (folder / SPEC_FILE).write_text(json.dumps(spec))


def outside(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """What tensors say of where they lie, by name."""
    held = (tensor for tensor in model.graph.initializer if tensor.data_location)
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in held}


def test_graphs_on_disk_hold_none_of_the_weights_and_in_memory_every_byte(unpacked: Path) -> None:
    profile = load_profile(unpacked)
    weights = {part.tobytes() for part in safetensors.numpy.load(tiny_weights()).values()}
    for mode, file in MODEL_FILES.items():
        assert profile.read(file) == tiny_model(mode)
        held = onnx.load_from_string((unpacked / file).read_bytes())
        shared = outside(held)
        whole = onnx.load_from_string(tiny_model(mode)).graph.initializer
        among_weights = [tensor.raw_data for tensor in whole if tensor.raw_data in weights]
        large = sum(len(content) for content in among_weights if len(content) >= LEAST)
        assert {entry["location"] for entry in shared.values()} == {WEIGHTS_FILE}
        assert sum(int(entry["length"]) for entry in shared.values()) == large > 0
        assert len((unpacked / file).read_bytes()) < len(tiny_model(mode))


def test_an_unpacked_bundle_is_read_by_any_program(unpacked: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    results = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": image})[0]
        for model in (str(unpacked / MODEL), tiny_model("denoise"))
    ]
    np.testing.assert_array_equal(*results)


def test_a_bundle_of_an_earlier_version_opens_as_ever(unpacked: Path) -> None:
    for mode, file in MODEL_FILES.items():
        replace(unpacked, file, tiny_model(mode))
    spec = json.loads((unpacked / SPEC_FILE).read_text())
    (unpacked / SPEC_FILE).write_text(json.dumps({**spec, "schema_version": 1}))
    assert load_profile(unpacked).content == load_profile(unpacked).content
    assert load_profile(unpacked).read(MODEL) == tiny_model("denoise")


def test_what_shares_nothing_is_written_as_earlier_versions_read_it(tmp_path: Path) -> None:
    fields, files = tiny_profile_files()
    other = {**files, **dict.fromkeys(MODEL_FILES.values(), b"weights.safetensors is no graph")}
    with pytest.raises(ProfileError, match=r"model[a-z-]*\.onnx does not fit weights\.safetensors"):
        write_profile(tmp_path / "odd.nsp", fields, other)
    plain = write_profile(tmp_path / "plain.nsp", fields, {**files, **dict.fromkeys(MODEL_FILES.values(), b"graph")})
    assert plain.spec.schema_version == 1
    assert write_profile(tmp_path / "tiny.nsp", fields, files).spec.schema_version == 2


def test_a_graph_that_asks_for_weights_that_are_not_there_is_refused(unpacked: Path) -> None:
    replace(unpacked, WEIGHTS_FILE, tiny_weights()[:-100])
    with pytest.raises(ProfileError, match=r"model[a-z-]*\.onnx does not fit weights\.safetensors \(it asks for \d+"):
        load_profile(unpacked)


def test_a_graph_that_takes_the_same_weights_again_and_again_is_refused(
    unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "LARGEST_FILE", LEAST)
    with pytest.raises(ProfileError, match=r"it asks for more than \d+ bytes"):
        load_profile(unpacked)


def test_graphs_that_are_too_large_together_are_refused(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk = sum(path.stat().st_size for path in unpacked.iterdir())
    monkeypatch.setattr(bundle, "LARGEST_BUNDLE", on_disk + 100)
    with pytest.raises(ProfileError, match="it would unpack to"):
        load_profile(unpacked)


def test_weights_in_any_other_file_stay_outside() -> None:
    stored = without_weights(tiny_model("denoise"), tiny_weights(), "/etc/passwd")
    assert outside(onnx.load_from_string(stored))
    assert with_weights(stored, tiny_weights(), WEIGHTS_FILE, MOST) == stored


def test_whatever_is_written_as_a_graph_is_read_back_or_refused() -> None:
    model, weights = tiny_model("denoise"), tiny_weights()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(model), 60):
        damaged = bytearray(model)
        damaged[place] ^= 1 << int(rng.integers(8))
        stored = without_weights(bytes(damaged), weights, WEIGHTS_FILE)
        assert with_weights(stored, weights, WEIGHTS_FILE, MOST) == damaged
    stored = without_weights(model, weights, WEIGHTS_FILE)
    refused = 0
    for place in rng.integers(0, len(stored), 300):
        damaged = bytearray(stored)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            with_weights(bytes(damaged), weights, WEIGHTS_FILE, MOST)
        except (ValueError, IndexError):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("weights", [b"", b"short", b"\xff" * 8, tiny_weights()[:50], b"\x02" + bytes(7) + b"[]"])
def test_without_readable_weights_a_graph_is_kept_whole(weights: bytes) -> None:
    assert without_weights(tiny_model("denoise"), weights, WEIGHTS_FILE) == tiny_model("denoise")
