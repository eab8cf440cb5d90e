"""Two networks that teach one: what they are told, what they find together, and that a student learns it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from nsp_pipeline.calibration.together.crops import Crops, joined  # noqa: E402
from nsp_pipeline.calibration.together.teachers import (  # noqa: E402
    Photos,
    Teachers,
    as_coarse_white,
    is_foreign,
    take_tables_as_coarse_white,
)
from nsp_pipeline.calibration.together.train import SIZES, TogetherSettings, train_together  # noqa: E402
from nsp_pipeline.core.noise import UNKNOWN  # noqa: E402
from nsp_pipeline.errors import UsageError  # noqa: E402
from nsp_pipeline.models.noise_net import NoiseNet  # noqa: E402
from nsp_pipeline.models.unet import UNet  # noqa: E402

SIDE = 64


def network(size: Any, seed: int) -> UNet:
    """One that changes what it is given, and listens to what it is told."""
    torch.manual_seed(seed)
    made = UNet(size[0], size[1], 2, True).eval().requires_grad_(False)
    torch.nn.init.normal_(made.tail.weight, std=0.01)
    return made


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    path = tmp_path_factory.mktemp("teachers")
    save_file(network(((32, 64, 128), (1, 1, 2)), 1).state_dict(), path / "camera.safetensors")
    save_file(network(SIZES["standard"], 2).state_dict(), path / "white.safetensors")
    return path / "camera.safetensors", path / "white.safetensors"


@pytest.fixture(scope="module")
def crops() -> Crops:
    rng = torch.Generator().manual_seed(3)
    noisy, table = torch.rand(2, 3, SIDE, SIDE, generator=rng), 0.05 * torch.rand(2, 4, 8, generator=rng)
    known, sharp = torch.zeros(2, 1, 1, 1), torch.zeros(2, 3, 2 * SIDE, 2 * SIDE)
    return Crops(noisy, noisy, sharp, known, table, torch.zeros(2, 4, SIDE // 16, SIDE // 16))


def photo(sigma: float) -> np.ndarray:
    """Noise as cameras leave it: colours smoothed more than brightness."""
    rng = np.random.default_rng(4)
    grey = rng.normal(0, 1, (192, 256, 1)).repeat(3, 2)
    colour = rng.normal(0, 1, (24, 32, 3)).repeat(8, 0).repeat(8, 1)
    ramp = np.linspace(60, 180, 256)[None, :, None]
    return np.clip(ramp + sigma * (grey + 0.5 * colour), 0, 255).astype(np.uint8)


def test_white_noise_is_as_strong_as_what_is_coarse_of_the_cameras() -> None:
    table = torch.tensor([2.0, 5.0, 1.0, 4.0]).view(1, 4, 1).expand(1, 4, 8) / 255
    assert (as_coarse_white(table)[0, :, 0] * 255).tolist() == pytest.approx([5, 5, 5 * 2**0.5, 5 * 2**0.5])
    unknown = torch.full((1, 4, 8), UNKNOWN)
    assert torch.equal(as_coarse_white(unknown), unknown)


def test_a_network_can_take_other_noise_as_white_by_itself(crops: Crops) -> None:
    before, after = network(SIZES["fast"], 5), network(SIZES["fast"], 5)
    take_tables_as_coarse_white(after)
    told, as_white = before(crops.noisy, crops.table), before(crops.noisy, as_coarse_white(crops.table))
    assert not torch.allclose(told, as_white, atol=1e-5)
    torch.testing.assert_close(after(crops.noisy, crops.table), as_white)


def both_ways(teacher: UNet, crops: Crops, table: Any) -> Any:
    return (teacher(crops.noisy, table) + teacher(crops.noisy.flip(2, 3), table).flip(2, 3)) / 2


def test_what_is_taught_lies_between_what_the_teachers_make(teachers: tuple[Path, Path], crops: Crops) -> None:
    taught = Teachers(*teachers, "cpu").taught(crops)
    camera, white = network(((32, 64, 128), (1, 1, 2)), 1), network(SIZES["standard"], 2)
    expected = (both_ways(camera, crops, crops.table) + both_ways(white, crops, as_coarse_white(crops.table))) / 2
    torch.testing.assert_close(taught.sharp, expected.clamp(0, 1), atol=0.01, rtol=0)  # bfloat16 where there is any
    torch.testing.assert_close(taught.clean, torch.nn.functional.avg_pool2d(taught.sharp, 2))
    assert taught.known.min() == 1
    assert torch.equal(taught.noisy, crops.noisy)


def tables(*rows: tuple[float, float, float, float]) -> Any:
    return torch.tensor(rows).unsqueeze(2).expand(-1, -1, 8) / 255


def test_noise_that_cameras_do_not_leave_is_foreign() -> None:
    smoothed, strong, unsmoothed, none = (3, 5, 1.5, 5), (9, 12, 3, 9), (3, 3, 4, 4.5), (0, 0, 0, 0)
    assert is_foreign(tables(smoothed, strong, unsmoothed, none)).tolist() == [False, True, True, True]


def test_of_foreign_noise_the_truth_is_taught_where_it_is_there(teachers: tuple[Path, Path], crops: Crops) -> None:
    clean = crops.noisy / 2
    strong = replace(crops, clean=clean, sharp=clean.repeat_interleave(2, 2).repeat_interleave(2, 3))
    strong = replace(strong, table=tables((9, 12, 3, 9), (9, 12, 3, 9)))
    taught = Teachers(*teachers, "cpu").taught(strong, true=1)
    assert torch.equal(taught.clean[0], clean[0])
    assert torch.equal(taught.sharp[0], strong.sharp[0])
    assert taught.known.flatten().tolist() == [0, 1], "the finer picture of a shot is not known, a teacher's is"
    assert float((taught.clean[1] - clean[1]).abs().mean()) > 0.1, "photos as they are have no truth"


def test_photos_are_cut_and_told_as_a_whole_and_unsmoothed_ones_are_left_out() -> None:
    smoothed = photo(6)
    white = np.random.default_rng(6).normal(120, 8, smoothed.shape).clip(0, 255).astype(np.uint8)
    drawn = np.full_like(smoothed, 90)
    photos = Photos.estimated([white, smoothed, drawn])
    assert len(photos.pixels) == len(photos.tables) == 1
    with pytest.raises(UsageError, match="none of the photos has noise as cameras leave it"):
        Photos.estimated([white, drawn])
    found = photos.draw(3, SIDE, torch.Generator().manual_seed(7))
    assert found.noisy.shape == (3, 3, SIDE, SIDE)
    assert torch.equal(found.table, photos.tables.expand(3, -1, -1))
    whole = torch.from_numpy(smoothed).permute(2, 0, 1).float() / 255
    first_rows = whole.unfold(2, SIDE, 1).permute(1, 2, 0, 3)
    for crop in found.noisy:
        top, left = (first_rows == crop[:, 0]).flatten(2).all(2).nonzero()[0].tolist()
        assert torch.equal(whole[:, top : top + SIDE, left : left + SIDE], crop)
    assert joined([found, found]).levels.shape == (6, 4, SIDE // 16, SIDE // 16)


def test_a_student_that_is_taught_comes_nearer_to_its_teachers(
    teachers: tuple[Path, Path], tmp_path: Path, crops: Crops
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    save_file(network(SIZES["fast"], 8).state_dict(), base / "fast.safetensors")
    save_file(NoiseNet((16, 32, 48, 64, 64)).state_dict(), base / "estimator.safetensors")

    def save(networks: Mapping[str, Any], figures: dict[str, Any]) -> None:
        save_file({key: part.contiguous() for key, part in networks["fast"].state_dict().items()}, tmp_path / "fast")

    settings = TogetherSettings(
        steps=15,
        counts=(0, 0, 2),
        photo_crops=2,
        side=SIDE,
        workers=1,
        pooled=64,
        students=["fast"],
        judge_every=1e9,
        judged=2,
        base=base,
        estimator=base / "estimator.safetensors",
        keep_estimator=True,
        teachers=teachers,
        ema_decay=0.5,
    )
    scenes = [photo(0)] * 2
    train_together(scenes, scenes, [(settings, save)], "cpu", say=lambda message: None, photos=[photo(6)])
    wanted = Teachers(*teachers, "cpu").taught(crops).clean
    first, last = network(SIZES["fast"], 8), network(SIZES["fast"], 8)
    last.load_state_dict(load_file(tmp_path / "fast"))
    errors = [float((net.cell_means(crops.noisy, crops.table) - wanted).square().mean()) for net in (first, last)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("lacking", ["photos", "teachers", "keep_estimator"])
def test_crops_of_photos_need_all_that_makes_sense_of_them(teachers: tuple[Path, Path], lacking: str) -> None:
    given: dict[str, Any] = {"teachers": teachers, "keep_estimator": True}
    photos = [] if lacking == "photos" else [photo(6)]
    settings = TogetherSettings(photo_crops=2, **{name: value for name, value in given.items() if name != lacking})
    with pytest.raises(UsageError, match="crops of photos need"):
        train_together([], [], [(settings, lambda *_: None)], "cpu", say=lambda message: None, photos=photos)
