"""Which photos a calibration takes, how much of them, and which it keeps out to judge by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisy_photos import noisy_scene, save_archive
from PIL import Image

from nsp_pipeline.calibration.training.crops import CropSampler
from nsp_pipeline.calibration.training.photos import PhotoSet, load_photos
from nsp_pipeline.errors import ExitCode, OutputError, UsageError
from nsp_pipeline.frames.find import find_photos
from nsp_pipeline.frames.find_rules import FindRules


def load(paths: list[Path], *, smallest_side: int = 20, memory: int = 1 << 30, seed: int = 0, **cache: Any) -> PhotoSet:
    return load_photos(paths, smallest_side=smallest_side, memory=memory, seed=seed, **cache)


def names(photos: PhotoSet) -> tuple[list[str], list[str]]:
    return [photo.path.stem for photo in photos.training], [photo.path.stem for photo in photos.held_out]


def test_photos_are_found_in_files_and_folders_without_hidden_and_excluded_ones(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/B.PNG", "sub/c.nef", ".cache/d.jpg", "sub/.e.jpg", "notes.txt", "sub/preview_a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    roots = [tmp_path, tmp_path / "a.jpg", tmp_path / "notes.txt"]
    found = find_photos(roots, FindRules(exclude=("preview*",)))
    # What is named outright is taken at its word.
    assert found.paths == [tmp_path / name for name in ("a.jpg", "notes.txt", "sub/B.PNG", "sub/c.nef")]


@pytest.mark.parametrize("files", [[], ["notes.txt", "list.csv"]])
def test_a_folder_without_photos_is_wrong_usage(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("x")
    with pytest.raises(UsageError, match=f"no photos in {tmp_path}") as refused:
        find_photos([tmp_path]).require_some()
    assert refused.value.exit_code == ExitCode.USAGE


def test_what_cannot_serve_is_left_out_with_its_reason(tmp_path: Path) -> None:
    save_archive(tmp_path, 3)
    Image.fromarray(noisy_scene(9, 19, 90)).save(tmp_path / "narrow.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    photos = load(find_photos([tmp_path]).paths)
    training, held_out = names(photos)
    assert sorted(training + held_out) == ["0", "1", "2"]
    broken, narrow = photos.refused
    assert broken.startswith(f"{tmp_path / 'broken.png'}: ")
    assert narrow == f"{tmp_path / 'narrow.png'}: 90×19 pixels are too few: a crop takes 20 a side"


def test_when_no_photo_can_serve_the_first_reasons_are_said(tmp_path: Path) -> None:
    save_archive(tmp_path, 7, size=(30, 12))
    with pytest.raises(UsageError, match="no photo to calibrate on") as refused:
        load(find_photos([tmp_path]).paths)
    assert str(refused.value).count("30×12 pixels are too few: a crop takes 20 a side") == 5
    with pytest.raises(UsageError, match="none was found"):
        load([])


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 0), (3, 1), (10, 1), (20, 2), (29, 2)])
def test_one_photo_in_ten_is_kept_out_of_training(tmp_path: Path, count: int, held_out: int) -> None:
    paths = find_photos([save_archive(tmp_path, count)]).paths
    training, judging = names(load(paths))
    assert (len(training), len(judging)) == (count - held_out, held_out)
    assert sorted(training + judging) == sorted(path.stem for path in paths)
    # The order in which they were found makes no difference, the seed does.
    assert names(load(paths[::-1])) == (training, judging)
    if count >= 10:
        assert {tuple(names(load(paths, seed=seed))[1]) for seed in range(8)} > {tuple(judging)}


def test_grey_photos_become_three_channels_and_depth_stays(tmp_path: Path) -> None:
    Image.fromarray(noisy_scene(0)[..., 0].astype(np.uint16) * 257).save(tmp_path / "grey.png")
    (photo,) = load([tmp_path / "grey.png"]).training
    assert (photo.pixels.shape, photo.pixels.dtype.name) == ((48, 64, 3), "uint16")
    assert np.ptp(photo.pixels, axis=2).max() == 0


def test_a_large_archive_gives_a_window_of_each_photo_and_stays_in_its_memory(tmp_path: Path) -> None:
    paths = find_photos([save_archive(tmp_path, 6, size=(120, 90))]).paths
    whole = {path.stem: noisy_scene(int(path.stem), 90, 120) for path in paths}
    memory = 6 * 120 * 90 * 3 // 5
    photos = load(paths, memory=memory)
    windows = [*photos.training, *photos.held_out]
    assert len(windows) == 6
    assert 0.7 * memory < sum(photo.pixels.nbytes for photo in windows) <= memory
    for photo in windows:
        height, width = photo.pixels.shape[:2]
        assert width / height == pytest.approx(120 / 90, abs=0.1)
        everywhere = np.lib.stride_tricks.sliding_window_view(whole[photo.path.stem], photo.pixels.shape)
        assert (everywhere == photo.pixels).all((-1, -2, -3)).any(), "a window holds the photo's own pixels"
        assert photo.pixels.base is None, "a view would keep the whole photo in memory"
    assert not np.array_equal(windows[0].pixels, load(paths, memory=memory, seed=1).training[0].pixels)


def test_a_window_is_never_smaller_than_a_crop(tmp_path: Path) -> None:
    paths = find_photos([save_archive(tmp_path, 4, size=(120, 90))]).paths
    photos = load(paths, memory=1, smallest_side=33)
    assert {photo.pixels.shape for photo in photos.training} == {(33, 33, 3)}


def test_what_memory_does_not_hold_is_mapped_from_the_cache(tmp_path: Path) -> None:
    paths = find_photos([save_archive(tmp_path / "in", 6, size=(120, 90))]).paths
    one = 120 * 90 * 3
    (tmp_path / "cache").mkdir()
    photos = load(paths, memory=2 * one, cache=10 * one, cache_folder=tmp_path / "cache")

    found = [*photos.training, *photos.held_out]
    mapped = [photo for photo in found if isinstance(photo.pixels, np.memmap)]
    assert (len(found), len(mapped), len(list((tmp_path / "cache").iterdir()))) == (6, 4, 4)
    for photo in found:
        np.testing.assert_array_equal(photo.pixels, noisy_scene(int(photo.path.stem), 90, 120))
    in_memory = load(paths)
    crops = [
        CropSampler([photo.pixels for photo in part.training], 40, "cpu").draw(8, np.random.default_rng(0))
        for part in (photos, in_memory)
    ]
    assert torch.equal(*crops), "where photos lie changes nothing"


def test_the_cache_keeps_to_its_bound(tmp_path: Path) -> None:
    paths = find_photos([save_archive(tmp_path / "in", 6, size=(120, 90))]).paths
    one = 120 * 90 * 3
    (tmp_path / "cache").mkdir()
    photos = load(paths, memory=one, cache=2 * one, cache_folder=tmp_path / "cache")

    cached = [photo.pixels.nbytes for photo in photos.training if isinstance(photo.pixels, np.memmap)]
    assert 0 < sum(cached) <= 2 * one
    assert sum(photo.pixels.nbytes for photo in (*photos.training, *photos.held_out)) <= 3 * one
    assert len(photos.training) == 5, "every photo contributes a window"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    paths = find_photos([save_archive(tmp_path / "in", 2, size=(120, 90))]).paths
    with pytest.raises(OutputError, match=r"gone/1\.npy: photos cannot be cached there: No such file"):
        load(paths, memory=1, cache=1 << 30, cache_folder=tmp_path / "gone")
