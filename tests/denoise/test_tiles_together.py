"""Tiles that are worked on together give the photo that they give one after the other."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import fake_gpu
import numpy as np
import pytest

from nsp_pipeline.core.noise_kind import NoiseKind
from nsp_pipeline.denoise import photo as photo_module
from nsp_pipeline.denoise.in_order import in_order
from nsp_pipeline.denoise.photo import TOGETHER, InferenceSettings, Inferred, denoise_frame
from nsp_pipeline.engines.cuda import device as cuda_device
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.of_profile import EngineByNoise
from nsp_pipeline.engines.onnx.on_cuda import OnnxCudaEngine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CPU
from nsp_pipeline.errors import EngineFailedError, EngineOutOfMemoryError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.bundle import Profile


@pytest.fixture(params=["denoise", "sr"])
def engines(
    request: pytest.FixtureRequest, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[OnnxRuntimeEngine, OnnxCudaEngine]]:
    """One after the other, and together on a fake GPU."""
    cuda = fake_gpu.FakeCuda()
    monkeypatch.setattr(cuda_device, "import_cuda", lambda: cuda)
    monkeypatch.setattr(photo_module, "usable_cpus", lambda: 3)
    plain = OnnxRuntimeEngine(tiny_profile, mode=request.param, threads=1)
    shared = OnnxCudaEngine(tiny_profile, plain.info, provider=CPU)
    yield plain, shared
    shared.close()


def denoised(pixels: Any, engine: Engine, settings: InferenceSettings, **heard: Any) -> Inferred:
    return denoise_frame(Frame(pixels, None, Kind.TIFF, Metadata(), Camera()), engine, settings, **heard)


@pytest.mark.parametrize(("kind", "channels"), [("uint8", 3), ("uint16", 3), ("float32", 3), ("uint8", 1)])
@pytest.mark.parametrize("strength", [None, 1.0])
def test_the_photo_is_the_same_to_the_bit(engines: Any, kind: str, channels: int, strength: float | None) -> None:
    picture = np.random.default_rng(0).random((101, 135, channels), dtype=np.float32)
    pixels = picture if kind == "float32" else (picture * np.iinfo(kind).max).astype(kind)
    settings = InferenceSettings(mode=engines[0].info.mode, strength=strength, tile=64)
    heard: tuple[list[tuple[int, int]], ...] = ([], [])
    rows: tuple[list[int], ...] = ([], [])

    plain, together = (
        denoised(
            pixels,
            engine,
            settings,
            on_tile=lambda done, total, number=number: heard[number].append((done, total)),
            on_rows=lambda result, ready, number=number: rows[number].append(ready),
        )
        for number, engine in enumerate(engines)
    )

    np.testing.assert_array_equal(together.frame.pixels, plain.frame.pixels)
    assert together.strength == plain.strength
    assert heard[0] == heard[1]
    assert rows[0] == rows[1]


def test_rows_that_are_said_to_be_done_stay_as_they_are(engines: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (260, 70, 3), dtype=np.uint8)
    seen: list[Any] = []
    settings = InferenceSettings(mode=engines[0].info.mode, tile=64)
    found = denoised(pixels, engines[1], settings, on_rows=lambda result, ready: seen.append(result[:ready].copy()))
    assert len(seen) > 4
    for part in seen:
        np.testing.assert_array_equal(part, found.frame.pixels[: len(part)])


class Late:
    """Rows that come when they are asked for."""

    def __init__(self, pixels: Any, whole: Any) -> None:
        self.pixels, self.whole, self.here = pixels, whole, 0
        self.asked: list[int] = []

    def wait(self, rows: int) -> None:
        self.asked.append(rows)
        self.pixels[self.here : rows] = self.whole[self.here : rows]
        self.here = max(self.here, rows)


def test_no_tile_is_begun_before_its_rows_are_there(engines: Any) -> None:
    plain, shared = engines
    whole = np.random.default_rng(0).integers(0, 255, (500, 40, 3), dtype=np.uint8)
    settings = InferenceSettings(mode=plain.info.mode, tile=32, strength=1.0)
    expected = denoised(whole, plain, settings).frame.pixels
    pixels = np.zeros_like(whole)
    late: Any = Late(pixels, whole)
    # The noise is known, which would have to see all rows.
    noise = estimate_noise(whole)
    frame = Frame(pixels, None, Kind.TIFF, Metadata(), Camera(), rows=late)

    found = denoise_frame(frame, shared, settings, noise=noise)

    np.testing.assert_array_equal(found.frame.pixels, expected)
    assert min(late.asked) < 300, "the first tiles do not wait for all"


def test_memory_that_runs_out_in_one_tile_halves_all_and_a_failure_is_told(engines: Any) -> None:
    plain, shared = engines
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    run = shared.run
    smaller: list[int] = []

    def short(image: Any, noise: Any = None) -> Any:
        if image.shape[2] > 140:
            raise EngineOutOfMemoryError("out of memory on cuda:0")
        return run(image, noise)

    shared.run = short
    shared.info = replace(shared.info, tile=200)
    settings = InferenceSettings(mode=plain.info.mode, strength=1.0)
    found = denoised(pixels, shared, settings, on_smaller=smaller.append)
    assert smaller == [100]
    np.testing.assert_array_equal(found.frame.pixels, denoised(pixels, plain, settings).frame.pixels)

    def broken(image: Any, noise: Any = None) -> Any:
        raise ZeroDivisionError("it broke")

    shared.run = broken
    with pytest.raises(EngineFailedError, match="ZeroDivisionError: it broke"):
        denoised(pixels, shared, settings)


def test_a_second_network_on_another_engine_runs_one_tile_at_a_time(engines: Any, tiny_profile: Profile) -> None:
    plain, shared = engines
    inside = most = 0
    kinds: set[str] = set()

    class OneAtATime:
        info = plain.info

        def run(self, image: Any, noise: Any = None) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            kinds.add(image.dtype.name)
            time.sleep(0.005)
            inside -= 1
            return plain.run(image)

        def close(self) -> None:
            """Nothing."""

    opened: list[int] = []

    def second(profile: Profile) -> Any:
        opened.append(1)
        return OneAtATime()

    both = EngineByNoise(shared, {NoiseKind.SMOOTHED: tiny_profile, NoiseKind.UNSMOOTHED: tiny_profile}, second)
    both.info = replace(both.info, noise_conditioned=True)
    pixels = np.random.default_rng(0).normal(128, 20, (200, 200, 3)).clip(0, 255).astype(np.uint8)
    settings = InferenceSettings(mode=plain.info.mode, tile=64)
    found = denoised(pixels, both, settings)
    assert (opened, most, kinds) == ([1], 1, {"float32"})
    np.testing.assert_array_equal(found.frame.pixels, denoised(pixels, plain, settings).frame.pixels)


def test_results_come_in_order_and_few_items_are_asked_for_beforehand() -> None:
    asked: list[int] = []
    busy, counting, most = 0, threading.Lock(), 0

    def items() -> Iterator[int]:
        for number in range(12):
            asked.append(number)
            yield number

    def work(number: int) -> int:
        nonlocal busy, most
        with counting:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02 if number % 2 == 0 else 0.001)
        with counting:
            busy -= 1
        return number * number

    for place, result in enumerate(in_order(work, items(), TOGETHER)):
        assert result == place * place
        assert len(asked) <= place + TOGETHER + 1
    assert most == TOGETHER


def test_what_fails_comes_out_in_its_place_and_nothing_runs_on() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the fourth")
        time.sleep(0.005)
        done.append(number)
        return number

    found = in_order(work, range(100), 2)
    with pytest.raises(ValueError, match="the fourth"):
        for _ in found:
            pass
    before = len(done)
    time.sleep(0.03)
    assert len(done) == before < 10
    assert list(in_order(work, range(3), 1)) == [0, 1, 2]
