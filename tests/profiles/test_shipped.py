"""The profiles that ship with nsp."""

from pathlib import Path

import onnx
import pytest

from nsp_pipeline.profiles.bundle import MODEL_FILES, load_profile
from nsp_pipeline.profiles.choose import shipped_profiles


@pytest.mark.parametrize("path", shipped_profiles().values(), ids=lambda path: path.stem)
def test_they_have_one_name_wherever_it_stands(path: Path) -> None:
    profile = load_profile(path)
    assert profile.name == path.stem
    assert profile.read("CARD.md").decode().startswith(f"# {path.stem}\n")
    graphs = [name for name in profile.content if name.endswith(".onnx")]
    assert set(graphs) == {profile.graph_file(mode) for mode in MODEL_FILES}
    for name in graphs:
        stored = {entry.key: entry.value for entry in onnx.load_from_string(profile.content[name]).metadata_props}
        assert stored["profile"] == path.stem, name


def test_together_they_are_small() -> None:
    assert sum(path.stat().st_size for path in shipped_profiles().values()) <= 20.5e6


def test_the_readme_names_them_all() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert [name for name in shipped_profiles() if f"`{name}`" not in text] == []


def test_free_and_not_free_are_distinguished() -> None:
    for name, path in shipped_profiles().items():
        assert ("non-commercial" in load_profile(path).spec.data.licence.lower()) == ("noncommercial" in name)


def test_the_slow_one_says_that_it_is_slow() -> None:
    cards = {name: load_profile(path).read("CARD.md").decode() for name, path in shipped_profiles().items()}
    assert "4 times as slow" in cards["quality"]
    assert "small and fast" not in cards["quality"]
    assert all("small and fast" in cards[name] for name in ("standard", "fast"))


def test_what_started_from_clean_targets_says_so_and_nobody_else_says_a_word() -> None:
    pairs = load_profile(shipped_profiles()["dbsn"]).spec.pairs
    assert pairs
    assert pairs.model_dump()["clean_targets"] is True
    # Versions that do not know of it refuse fields that they do not know.
    assert "clean_targets" not in pairs.model_copy(update={"clean_targets": False}).model_dump()
