"""The profiles that ship with nsp."""

from pathlib import Path

import onnx
import pytest

from nsp_pipeline.profiles.bundle import load_profile
from nsp_pipeline.profiles.choose import shipped_profiles


@pytest.mark.parametrize("path", shipped_profiles().values(), ids=lambda path: path.stem)
def test_they_have_one_name_wherever_it_stands(path: Path) -> None:
    profile = load_profile(path)
    assert profile.name == path.stem
    assert profile.read("CARD.md").decode().startswith(f"# {path.stem}\n")
    graphs = [name for name in profile.content if name.endswith(".onnx")]
    assert len(graphs) == 3
    for name in graphs:
        stored = {entry.key: entry.value for entry in onnx.load_from_string(profile.content[name]).metadata_props}
        assert stored["profile"] == path.stem, name
