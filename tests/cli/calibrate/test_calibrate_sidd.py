"""The paper's own training, nsp calibrate SIDD_Medium_Srgb --recipe paper-sidd-dbsn, on a small folder like that."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from noisy_photos import noisy_scene
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.recipe import recipe_folder

Nsp = Callable[..., Finished]

SMALLER = {"base_channels = 128": "base_channels = 4", "modules = 9": "modules = 1", "batch = 16": "batch = 2"}


@pytest.fixture
def sidd(tmp_path: Path) -> Path:
    """Four scenes, each in a folder of its own, with two noisy photos and the ground truth of each."""
    root = tmp_path / "SIDD_Medium_Srgb"
    (root / "Data").mkdir(parents=True)
    for scene in range(1, 5):
        folder = root / "Data" / f"{scene:04}_001_S6_00100_00060_3200_L"
        folder.mkdir()
        for shot in ("010", "011"):
            for role in ("NOISY", "GT"):
                picture = Image.fromarray(noisy_scene(scene)).resize((200, 180))
                picture.save(folder / f"{scene:04}_{role}_SRGB_{shot}.PNG")
    return root


@pytest.fixture
def small_paper(tmp_path: Path) -> Path:
    """The recipe as it ships, with a smaller network and batch."""
    text = (recipe_folder() / "paper-sidd-dbsn.toml").read_text()
    for there, here in SMALLER.items():
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "paper.toml").write_text(text)
    return tmp_path / "paper.toml"


def test_the_papers_training_learns_from_the_noisy_photos_of_sidd_alone_and_says_so(
    quick_nsp: Nsp, sidd: Path, small_paper: Path, tmp_path: Path
) -> None:
    made = quick_nsp(
        *("calibrate", sidd, "--recipe", small_paper, "--out", tmp_path / "sidd.nsp", "--max-steps", "2", "--json")
    )
    assert made.code == 0, made.err
    assert "left out: 8 photos, such as " in made.err
    assert "_GT_SRGB_010.PNG: by their names the ground truth of others" in made.err
    assert "reading 8 photos" in made.err
    spec = json.loads(made.out)
    assert (spec["backbone"]["name"], spec["pairs"]["s"], spec["inference"]["pd_factor"]) == ("dbsn", 5, 2)
    assert spec["training"]["steps"] == 2


def test_photos_that_are_only_called_like_ground_truth_are_learnt_from(
    quick_nsp: Nsp, sidd: Path, small_paper: Path, tmp_path: Path
) -> None:
    for path in sidd.rglob("*_NOISY_*"):
        path.unlink()
    made = quick_nsp(*("calibrate", sidd, "--recipe", small_paper, "--out", tmp_path / "sidd.nsp", "--max-steps", "1"))
    assert made.code == 0, made.err
    assert "left out" not in made.err
    assert "reading 8 photos" in made.err
