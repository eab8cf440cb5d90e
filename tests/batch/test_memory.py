"""Memory that runs out: automatic tiles shrink and the photo goes on, a tile that was asked for is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import hashes, save_photo
from fake_engine import FakeEngine, fake_profile
from numpy.typing import NDArray
from run_nsp import Finished

from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.denoise.tiles import SOON
from nsp_pipeline.engines.engine import memory_watched
from nsp_pipeline.errors import EngineFailedError, EngineOutOfMemoryError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata

Nsp = Callable[..., Finished]


class SmallEngine(FakeEngine):
    """Memory for tiles of so many pixels; says how large those were that it was asked for."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__(fake_profile(), "denoise")
        self.most = most
        self.error = error
        self.shapes: list[tuple[int, ...]] = []

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """See FakeEngine."""
        self.shapes.append(image.shape[2:])
        if image.shape[2] * image.shape[3] > self.most:
            with memory_watched("cuda:0"):
                raise self.error
        return super().run(image)


ERRORS = [
    MemoryError(),
    RuntimeError("bad allocation"),
    RuntimeError("std::bad_alloc"),
    RuntimeError(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 7077888000"
    ),
    RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Available memory of 1024 is smaller than requested bytes of 2048"),
    RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);"),
    RuntimeError("CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 7.79 GiB total capacity)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("CUDA_ERROR_OUT_OF_MEMORY"),
]


def frame_of(height: int, width: int) -> Frame:
    pixels = np.random.default_rng(0).random((height, width, 3), dtype=np.float32) * 0.5 + 0.25
    return Frame(pixels, None, Kind.TIFF, Metadata(), Camera())


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_automatic_tiles_are_halved_until_they_fit_and_the_result_is_the_same(error: Exception) -> None:
    frame, smaller = frame_of(300, 700), list[int]()
    engine = SmallEngine(200 * 200, error)
    settings = InferenceSettings("denoise", 1.0)
    result = denoise_frame(frame, engine, settings, on_smaller=smaller.append).frame.pixels

    whole = denoise_frame(frame, FakeEngine(fake_profile(), "denoise"), settings).frame.pixels
    np.testing.assert_allclose(result, whole, atol=1e-6)
    assert smaller == [256, 128]
    denoise_frame(frame, engine, settings, on_smaller=smaller.append)
    assert smaller == [256, 128], "what did not fit once is not tried again"
    assert len({shape for shape in engine.shapes if shape[0] * shape[1] <= engine.most}) == 1


def test_memory_that_is_free_again_is_used_after_some_photos() -> None:
    frame, smaller = frame_of(120, 200), list[int]()
    engine = SmallEngine(80 * 80, MemoryError())
    settings = InferenceSettings("denoise", 1.0)
    denoise_frame(frame, engine, settings, on_smaller=smaller.append)
    assert smaller == [100, 64]
    engine.most = 1 << 30
    for _ in range(SOON):
        engine.shapes.clear()
        denoise_frame(frame, engine, settings, on_smaller=smaller.append)
    assert engine.shapes == [(120, 200)]
    assert smaller == [100, 64]
    denoise_frame(frame, engine, settings)
    assert engine.shapes == [(120, 200)] * 2, "and for good"


def test_a_device_that_is_just_small_is_hardly_ever_tried_again() -> None:
    engine = SmallEngine(24 * 80, MemoryError())
    settings = InferenceSettings("denoise", 1.0)
    tries: list[int] = []
    for number in range(300):
        before = len(engine.shapes)
        denoise_frame(frame_of(24, 200), engine, settings)
        tries += [number] * ((24, 200) in engine.shapes[before:])
    assert tries == [0, 4, 12, 28, 60, 124, 188, 252]


def test_a_tile_that_was_asked_for_is_refused() -> None:
    engine = SmallEngine(200 * 200, MemoryError())
    with pytest.raises(EngineOutOfMemoryError, match=r"out of memory on cuda:0; --tile 512 is too much: lower it"):
        denoise_frame(frame_of(300, 700), engine, InferenceSettings("denoise", 1.0, 512))
    assert len(engine.shapes) == 1


def test_a_device_that_holds_no_tile_at_all_is_given_up() -> None:
    engine = SmallEngine(10, MemoryError())
    with pytest.raises(EngineOutOfMemoryError, match="even in tiles of 64 pixels"):
        denoise_frame(frame_of(300, 700), engine, InferenceSettings("denoise", 1.0))


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(EngineFailedError, match="RuntimeError: a bug"):
        denoise_frame(frame_of(300, 700), SmallEngine(10, RuntimeError("a bug")), InferenceSettings("denoise", 1.0))


def test_a_run_says_once_that_tiles_are_smaller(nsp: Nsp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", number, size=(300, 200))
    assert nsp("denoise", tmp_path / "in", tmp_path / "right").code == 0
    right = FakeEngine.run

    def run(self: FakeEngine, image: Any) -> Any:
        if image.shape[2] * image.shape[3] > 200 * 200:
            raise EngineOutOfMemoryError("out of memory on cuda:0")
        return right(self, image)

    monkeypatch.setattr(FakeEngine, "run", run)
    ended = nsp("denoise", tmp_path / "in", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert ended.err.count("out of memory; going on with tiles of 150 pixels") == 1
    assert hashes(tmp_path / "out") == hashes(tmp_path / "right")

    refused = nsp("denoise", tmp_path / "in", tmp_path / "asked", "--tile", "512")
    assert refused.code == 1
    assert refused.err.count("--tile 512 is too much: lower it, or leave it out") == 4, (
        "each, and the reason at the end"
    )
