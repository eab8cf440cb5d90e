"""The estimator that ships finds the noise that was put there, beside texture and without, on either runtime."""

import time
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
from noisy_photos import noisy_scene

from nsp_pipeline.core.depth import from_unit
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS, UNKNOWN, measure_noise
from nsp_pipeline.noise import estimate
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.noise.runtime import NETWORK_FILE, Network, load_estimator, on_onnx_runtime, on_openvino
from nsp_pipeline.noise.windows import MOST

pytest.importorskip("onnxruntime")


def scene(side: int = 512) -> np.ndarray:
    """A photo-like picture (H, W, 3) in 0..1: a ramp, discs, and stripes in one quarter."""
    y, x = np.mgrid[0:side, 0:side] / side
    picture = 0.2 + 0.5 * x
    picture[(y - 0.3) ** 2 + (x - 0.6) ** 2 < 0.03] = 0.7
    picture[side // 2 :, : side // 2] += 0.1 * np.sin(np.arange(side // 2) * 1.1)
    return np.repeat(picture[..., None], 3, 2)


def eight_bit(picture: np.ndarray) -> np.ndarray:
    return from_unit(picture.astype(np.float32), np.dtype(np.uint8))


def white(sigma: float, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma / 255, shape)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0, 40.0])
def test_white_noise_is_found_within_a_tenth(sigma: float) -> None:
    clean = scene()
    assert estimate_noise(eight_bit(clean + white(sigma, clean.shape))).sigma == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_grey_photo_has_no_colour_noise(dtype: type) -> None:
    clean = scene()[..., :1]
    level = estimate_noise(from_unit((clean + white(6, clean.shape)).astype(np.float32), np.dtype(dtype)))
    assert level.variance.shape[1] == 1
    assert level.sigma == pytest.approx(6, rel=0.12)
    assert not level.table[0, TABLE_ROWS // 2 :].any()


def test_coarse_noise_is_told_from_fine() -> None:
    clean = scene()
    noise = white(6, (512, 512, 1))
    mixed = np.sum([np.roll(noise, (dy, dx), (0, 1)) for dy in (0, 1) for dx in (0, 1)], 0) / 2
    (table,) = estimate_noise(eight_bit(clean + mixed.repeat(3, 2))).table
    grey, coarse, colour, _ = 255 * table[:, 2:5].mean(1)
    assert grey == pytest.approx(6, rel=0.15)
    # A mean over 4×4 pixels leaves 7/4 as much of what 2×2 means make of white noise.
    assert coarse == pytest.approx(10.5, rel=0.15)
    assert colour < 1


def test_where_nothing_is_flat_texture_does_not_pass_for_noise() -> None:
    rng = np.random.default_rng(3)
    # Cobbles: blotches of 3×3 pixels all over, which flat patches cannot be found in.
    clean = np.clip(0.45 + 0.1 * rng.normal(0, 1, (171, 171, 1)).repeat(3, 0).repeat(3, 1)[:512, :512], 0.05, 0.95)
    noisy = eight_bit(clean.repeat(3, 2) + white(3, (512, 512, 3)))
    told, measured = (255 * found.table[0, :, 3] for found in (estimate_noise(noisy), measure_noise(noisy)))
    assert 0.5 * 3 / 3**0.5 < told[0] < 0.25 * measured[0]
    assert told[2] < 1.2 * 3 * (2 / 3) ** 0.5


def test_white_noise_over_sand_is_told_by_its_colour() -> None:
    rng = np.random.default_rng(1)
    stones = rng.normal(0, 30, (16, 22, 1)).repeat(12, 0).repeat(12, 1)[:192, :256]
    sand = 110 + stones + rng.normal(0, 12, (192, 256, 1))
    grey = estimate_noise(eight_bit(sand / 255 + white(4, (192, 256, 3)))).table[0, 0].mean() * 255
    assert 4 / 3**0.5 < grey < 1.75 * 4 / 3**0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_drawing_has_none_at_all(dtype: type) -> None:
    drawing = np.full((200, 300, 3), 0.78, np.float32)
    drawing[40:90, 60:200] = [0.2, 0.4, 0.9]
    drawing[120:122] = 0.1
    level = estimate_noise(from_unit(drawing, np.dtype(dtype)) if dtype is not np.float32 else drawing)
    assert not level.variance.any()
    assert not level.table.any()


@pytest.mark.parametrize("colour", [(128, 128, 128), (240, 235, 225), (0, 0, 0), (255, 255, 255), (255, 40, 20)])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("side", [512, 1600])
def test_a_frame_or_a_grey_end_says_nothing_of_the_noise_in_the_photo(
    colour: tuple[int, int, int], share: float, side: int
) -> None:
    photo = noisy_scene(1, side, side, sigma=8.0)
    framed = photo.copy()
    framed[round(side * (1 - share)) :] = colour
    alone = estimate_noise(photo[: round(side * (1 - share))]).sigma
    assert estimate_noise(framed).sigma == pytest.approx(alone, rel=0.2)


def test_a_drawing_of_lines_alone_has_none() -> None:
    drawing = np.full((512, 512, 3), 235, np.uint8)
    drawing[40:480:60, 30:480] = drawing[40:480, 30:480:90] = (20, 40, 120)
    assert estimate_noise(drawing).sigma == 0


def test_a_photo_without_noise_has_almost_none() -> None:
    assert estimate_noise(eight_bit(scene())).sigma < 0.5


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 1), (15, 4000, 3)])
def test_of_a_photo_too_small_nothing_is_known(shape: tuple[int, int, int]) -> None:
    level = estimate_noise(np.full(shape, 100, np.uint8))
    assert level.sigma == 0.0
    assert np.all(level.table == np.float32(UNKNOWN))


def test_clipped_blocks_tell_nothing() -> None:
    assert estimate_noise(np.full((64, 64, 3), 255, np.uint8)).sigma == 0.0


def test_it_says_how_sure_it_is() -> None:
    clean = 0.3 + 0.1 * scene()
    unsure = estimate_noise(eight_bit(clean + white(5, clean.shape))).unsure
    assert unsure is not None
    assert unsure.shape == (TABLE_NODES, TABLE_ROWS)
    assert unsure[2, 0] < unsure[7, 0]


def test_both_runtimes_say_the_same() -> None:
    pytest.importorskip("openvino")
    content = files("nsp_pipeline.noise").joinpath(NETWORK_FILE).read_bytes()
    image = np.clip(scene()[:256, :256] + white(8, (256, 256, 3)), 0, 1).astype(np.float32).transpose(2, 0, 1)[None]
    assert on_openvino(content)(image) == pytest.approx(on_onnx_runtime(content)(image), abs=2e-3)


def test_without_a_runtime_flat_patches_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "load_estimator", lambda: None)
    noisy = eight_bit(scene() + white(5, (512, 512, 3)))
    assert np.array_equal(estimate_noise(noisy).table, measure_noise(noisy).table)


def test_a_photo_of_400_megapixels_is_looked_at_no_more_often_than_one_of_5() -> None:
    estimator, asked = load_estimator(), []
    assert estimator is not None

    def counted(image: np.ndarray) -> np.ndarray:
        asked.append(len(image))
        return estimator.network(image)

    estimate_noise(np.broadcast_to(np.uint8(99), (20_000, 20_000, 3)), counted)
    assert sum(asked) <= MOST


@pytest.mark.parametrize("opened", [on_onnx_runtime, on_openvino])
def test_the_estimator_takes_no_other_threads_time(opened: Callable[[bytes], Network]) -> None:
    pytest.importorskip("openvino" if opened is on_openvino else "onnxruntime")
    network = opened(files("nsp_pipeline.noise").joinpath(NETWORK_FILE).read_bytes())
    window = np.random.default_rng(0).random((1, 3, 256, 256), dtype=np.float32)
    network(window)
    own, all_threads = time.thread_time(), time.process_time()
    for _ in range(12):
        network(window)
    own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    assert all_threads < 1.15 * own + 0.01
