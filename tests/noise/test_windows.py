"""A small photo is looked at everywhere, a large one at a fixed number of places."""

import numpy as np
import pytest

from nsp_pipeline.noise.windows import BLOCK, MOST, SIDE, cut_windows


@pytest.mark.parametrize("shape", [(20_000, 20_000), (256, 100_000), (70_000, 300), (4000, 6000)])
def test_large_photos_cost_no_more_than_small_ones(shape: tuple[int, int]) -> None:
    windows = cut_windows(np.broadcast_to(np.uint8(99), (*shape, 3)))
    assert MOST // 2 <= len(windows) <= MOST
    assert windows.shape[1:] == (3, SIDE, SIDE)


@pytest.mark.parametrize("shape", [(64, 64), (33, 500), (512, 512), (16, 40), (700, 900), (17, 17)])
def test_windows_are_whole_blocks_and_reach_both_ends(shape: tuple[int, int]) -> None:
    ramp = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(*shape, 1)
    windows = cut_windows(ramp)
    assert all(side % BLOCK == 0 for window in windows for side in window.shape[1:])
    assert all(window.shape[0] == 3 for window in windows)
    spared = (BLOCK * max(shape) + BLOCK) / ramp.size
    assert min(window.min() for window in windows) <= spared
    assert max(window.max() for window in windows) >= 1 - spared


def test_all_of_a_photo_of_a_third_of_a_megapixel_is_looked_at() -> None:
    picture = np.arange(512 * 640, dtype=np.float32).reshape(512, 640, 1) / 2**19
    seen = np.unique(np.concatenate([window[0].ravel() for window in cut_windows(picture)]))
    assert len(seen) == picture.size


@pytest.mark.parametrize("shape", [(15, 4000), (1, 1)])
def test_of_slivers_nothing_is_looked_at(shape: tuple[int, int]) -> None:
    assert not len(cut_windows(np.zeros((*shape, 3), np.uint8)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_depth_arrives_as_0_to_1(dtype: type) -> None:
    (window,) = cut_windows(np.full((64, 64, 3), np.iinfo(dtype).max, dtype))
    assert window.dtype == np.float32
    assert np.all(window == 1)
