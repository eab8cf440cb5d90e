"""Profiles whose graphs are exported anew."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from small_student import student_fields, student_graph

from nsp_pipeline.calibration.together.finish import exported_anew
from nsp_pipeline.profiles.bundle import (
    CARD_FILE,
    MODEL_FILES,
    UNSMOOTHED_FILE,
    WEIGHTS_FILE,
    Profile,
    write_profile,
)


def _profile(path: Path, name: str, seed: int, inner: bytes | None = None) -> Profile:
    save = pytest.importorskip("safetensors.torch").save
    weights = save(dict(student_graph(seed=seed).network.state_dict()))
    files = {MODEL_FILES["denoise"]: b"old graph", WEIGHTS_FILE: weights, CARD_FILE: b"# card\n"}
    return write_profile(path, student_fields(name=name), files | ({UNSMOOTHED_FILE: inner} if inner else {}))


def test_graphs_are_exported_anew_in_a_profile_and_those_in_it_and_all_else_stays(tmp_path: Path) -> None:
    second = _profile(tmp_path / "second.nsp", "second", 4)
    old = _profile(tmp_path / "first.nsp", "first", 3, second.path.read_bytes())
    asked: list[tuple[float, str, dict[str, str]]] = []

    def make(network: Any, mode: str, inference: Any, metadata: Any) -> bytes:
        asked.append((network.head.weight.sum().item(), mode, dict(metadata)))
        return f"new graph of {metadata['profile']}".encode()

    new = exported_anew(old, tmp_path / "new.nsp", make)

    networks: dict[str, Any] = {name: student_graph(seed=seed).network for name, seed in (("first", 3), ("second", 4))}
    heads = {name: network.head.weight.sum().item() for name, network in networks.items()}
    assert [(total, mode) for total, mode, _ in asked] == [(heads["first"], "denoise"), (heads["second"], "denoise")]
    assert [told["sha256"] for _, _, told in asked] == [part.spec.files[WEIGHTS_FILE] for part in (old, second)]
    assert new.content["model.onnx"] == b"new graph of first"
    assert new.unsmoothed is not None
    assert new.unsmoothed.content["model.onnx"] == b"new graph of second"
    for before, after in ((old, new), (second, new.unsmoothed)):
        assert after.content[WEIGHTS_FILE] == before.content[WEIGHTS_FILE]
        assert after.spec.model_dump(exclude={"files"}) == before.spec.model_dump(exclude={"files"})
