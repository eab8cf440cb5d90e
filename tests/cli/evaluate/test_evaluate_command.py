"""`nsp evaluate`: pairs by name, PSNR and SSIM as they are defined."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_nsp import Finished

from nsp_pipeline.errors import UsageError
from nsp_pipeline.evaluation.datasets.pairs import find_pairs, ground_truth
from nsp_pipeline.evaluation.metrics import psnr, ssim
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("noisy", "clean"),
    [
        ("Canon5D2_bag_Real.JPG", "Canon5D2_bag_mean.JPG"),
        ("d800_iso1600_1_real.png", "d800_iso1600_1_mean.png"),
        ("0001_NOISY_SRGB_010.PNG", "0001_GT_SRGB_010.PNG"),
        ("a_noisy.png", "a_gt.tif"),
        ("same.png", "same.png"),
    ],
)
def test_names_of_the_data_sets_pair(tmp_path: Path, noisy: str, clean: str) -> None:
    touch(tmp_path / "n", f"deep/{noisy}", "lonely_Real.JPG")
    touch(tmp_path / "c", clean)

    (pair,) = find_pairs(tmp_path / "n", tmp_path / "c")

    assert (pair.noisy.name, pair.clean.name) == (noisy, clean)


def test_one_folder_may_hold_both(tmp_path: Path) -> None:
    touch(tmp_path, "x_Real.JPG", "x_mean.JPG", "y_Real.JPG", "y_mean.JPG")

    assert [(pair.noisy.name, pair.clean.name) for pair in find_pairs(tmp_path, tmp_path)] == [
        ("x_Real.JPG", "x_mean.JPG"),
        ("y_Real.JPG", "y_mean.JPG"),
    ]


@pytest.mark.parametrize(
    ("names", "clean"),
    [
        (("d/0001_NOISY_SRGB_010.PNG", "d/0001_GT_SRGB_010.PNG", "d/0001_GT_SRGB_011.PNG"), {"d/0001_GT_SRGB_010.PNG"}),
        (("x_Real.JPG", "x_mean.JPG", "sea_mean.jpg"), {"x_mean.JPG"}),
        (("a.nef", "a_clean.jpg", "b/a_clean.jpg"), {"a_clean.jpg"}),
        (("a.jpg", "b.jpg", "a-real.jpg"), set()),
    ],
)
def test_ground_truth_is_what_lies_beside_its_noisy_photo(names: tuple[str, ...], clean: set[str]) -> None:
    assert {path.as_posix() for path in ground_truth([Path(name) for name in names])} == clean


def test_what_does_not_pair_is_said(tmp_path: Path) -> None:
    touch(tmp_path / "n", "a.png", "sub/a.jpg")
    touch(tmp_path / "c", "b.png")

    with pytest.raises(UsageError, match="both answer to 'a'"):
        find_pairs(tmp_path / "n", tmp_path / "c")
    with pytest.raises(UsageError, match="no pair"):
        find_pairs(tmp_path / "c", tmp_path / "n" / "sub")


def test_psnr_is_that_of_the_mean_square() -> None:
    one = np.full((20, 30, 3), 100, np.uint8)
    other = one.copy()
    other[..., 0] = 104

    assert psnr(one, other) == pytest.approx(10 * np.log10(255**2 / (16 / 3)))
    assert psnr(one, one) == float("inf")


def test_ssim_of_strips_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (150, 40, 3), dtype=np.uint8)
    other = (one * 0.8 + rng.normal(0, 20, one.shape)).clip(0, 255).astype(np.uint8)
    whole = ssim(one, other)

    monkeypatch.setattr("nsp_pipeline.evaluation.metrics.STRIP", 37)

    assert ssim(one, other) == pytest.approx(whole, abs=1e-9)
    assert ssim(one, one) == pytest.approx(1.0)
    assert 0.1 < whole < 0.95


def test_a_profile_is_measured_pair_by_pair(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clean = np.full((40, 50, 3), 120.0)
    for folder, picture in (("n", clean + rng.normal(0, 10, clean.shape)), ("c", clean)):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / folder / "a.png")
    folders = ["--noisy", tmp_path / "n", "--clean", tmp_path / "c"]

    untouched = real_nsp("evaluate", tiny_profile.path, *folders, "--strength", "0", "--json")
    table = real_nsp("evaluate", tiny_profile.path, *folders)

    assert untouched.code == 0, untouched.err
    document = json.loads(untouched.out)
    assert document["noisy"]["psnr"] == pytest.approx(28.1, abs=0.3)
    assert document["denoised"] == document["noisy"]
    assert [row["name"] for row in document["pairs"]] == ["a"]
    assert table.code == 0
    assert "mean" in table.out


def test_photos_of_different_sizes_are_no_pair(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    for folder, size in (("n", (50, 40)), ("c", (40, 50))):
        (tmp_path / folder).mkdir()
        Image.new("RGB", size).save(tmp_path / folder / "a.png")

    refused = real_nsp("evaluate", tiny_profile.path, "--noisy", tmp_path / "n", "--clean", tmp_path / "c")

    assert refused.code == 2
    assert "50×40" in refused.err
    assert "must be aligned" in refused.err
