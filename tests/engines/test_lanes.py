"""Lanes through a GPU, on a fake one: the same pictures, runs that overlap, CUDA graphs, memory that is given back."""

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any
from unittest.mock import Mock

import fake_gpu
import numpy as np
import onnx
import pytest

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines import choose
from nsp_pipeline.engines.cuda import device as cuda_device
from nsp_pipeline.engines.cuda.gate import Gate
from nsp_pipeline.engines.cuda.lanes import SHAPES, Lane, Lanes, Place, Spent, spent_by
from nsp_pipeline.engines.cuda_driver import CudaDriver
from nsp_pipeline.engines.onnx import on_cuda
from nsp_pipeline.engines.onnx.on_cuda import OnnxCudaEngine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CPU, CUDA, SessionRequest
from nsp_pipeline.errors import EngineOutOfMemoryError, MissingCapabilityError, ProfileError
from nsp_pipeline.models.memory import MOST, bytes_a_pixel
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile
from nsp_pipeline.profiles.choose import find_profile

IMAGES = [np.random.default_rng(seed).random((1, 3, 38, 54), dtype=np.float32) for seed in range(6)]
TABLE = NoiseLevel.unknown().table + np.float32(0.05)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> fake_gpu.FakeCuda:
    made = fake_gpu.FakeCuda()
    monkeypatch.setattr(cuda_device, "import_cuda", lambda: made)
    return made


@pytest.fixture
def plain(tiny_profile: Profile) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(tiny_profile, mode="denoise", threads=1)


@pytest.fixture
def engine(cuda: fake_gpu.FakeCuda, tiny_profile: Profile, plain: OnnxRuntimeEngine) -> Iterator[OnnxCudaEngine]:
    opened = OnnxCudaEngine(tiny_profile, plain.info, provider=CPU)
    yield opened
    opened.close()
    assert cuda._idle


def test_bound_to_memory_it_gives_the_very_bits_of_a_plain_run(
    engine: OnnxCudaEngine, plain: OnnxRuntimeEngine
) -> None:
    for image in (*IMAGES, IMAGES[0][..., ::2], np.zeros((1, 3, 8, 8), np.float32), IMAGES[1]):
        np.testing.assert_array_equal(engine.run(image), plain.run(np.ascontiguousarray(image)))


def test_an_image_that_is_twice_as_large_comes_back_whole(cuda: fake_gpu.FakeCuda, tiny_profile: Profile) -> None:
    plain = OnnxRuntimeEngine(tiny_profile, mode="sr", threads=1)
    engine = OnnxCudaEngine(tiny_profile, plain.info, provider=CPU)
    np.testing.assert_array_equal(engine.run(IMAGES[0]), plain.run(IMAGES[0]))
    engine.close()


def test_a_network_gets_the_noise_of_its_own_image(cuda: fake_gpu.FakeCuda) -> None:
    student, image = find_profile("fast"), IMAGES[0][..., :32, :48]
    plain = OnnxRuntimeEngine(student, mode="denoise", threads=1)
    engine = OnnxCudaEngine(student, plain.info, provider=CPU)
    strong, unknown = plain.run(image, TABLE), plain.run(image)
    assert np.abs(strong - unknown).max() > 0.01
    for _ in range(2):
        np.testing.assert_array_equal(engine.run(image, TABLE), strong)
        np.testing.assert_array_equal(engine.run(image), unknown)
    engine.close()


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_integers_are_copied_as_they_are_and_give_the_very_bits(
    engine: OnnxCudaEngine, plain: OnnxRuntimeEngine, cuda: fake_gpu.FakeCuda, kind: str
) -> None:
    assert engine.info.integers
    every = np.arange(np.iinfo(kind).max + 1, dtype=kind)
    stored = np.resize(every, (1, 3, 128, 256))
    cuda.copied.clear()
    np.testing.assert_array_equal(engine.run(stored), plain.run(to_unit(stored)))
    assert max(size for direction, size in cuda.copied if direction == 1) == stored.nbytes
    again = from_unit(IMAGES[0], np.dtype(kind))
    np.testing.assert_array_equal(engine.run(again), plain.run(to_unit(again)))
    np.testing.assert_array_equal(engine.run(IMAGES[0]), plain.run(IMAGES[0]))


def test_threads_that_run_together_get_each_its_own_picture(engine: OnnxCudaEngine, plain: OnnxRuntimeEngine) -> None:
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(engine.run, IMAGES * 3))
    for image, result in zip(IMAGES * 3, found, strict=True):
        np.testing.assert_array_equal(result, plain.run(image))


class Waiting:
    """A network that computes for a while, and remembers how many did so together."""

    worn = False

    def __init__(self) -> None:
        self.busy = self.most = 0
        self.counting = threading.Lock()

    def prepare(self, place: Place) -> "Waiting":
        return self

    def compute(self) -> None:
        with self.counting:
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(0.02)
        with self.counting:
            self.busy -= 1

    def close(self) -> None:
        """Nothing is held."""


def twice_in(lane: Lane) -> None:
    for _ in range(2):
        lane.run(IMAGES[0], None)


def test_lanes_compute_together_but_a_new_shape_is_prepared_alone(cuda: fake_gpu.FakeCuda) -> None:
    network = Waiting()
    lanes = [Lane(0, 1, lambda stream: network) for _ in range(2)]

    def twice() -> None:
        with ThreadPoolExecutor(2) as threads:
            for _ in range(2):
                assert network.most < 2, "while a shape is new, nothing else runs"
                list(threads.map(lambda lane: lane.run(IMAGES[0], None), lanes))

    begun = time.perf_counter()
    spent = Lanes(lanes).spent_on(twice)
    assert network.most == 2
    assert 3 * 0.02 <= spent.compute <= time.perf_counter() - begun, "no more than the clock shows"
    for lane in lanes:
        alone = Lanes([lane]).spent_on(partial(twice_in, lane))
        assert alone.compute >= 0.04
        for each in (spent, alone):
            assert each.copy_in > 0 < each.copy_out
        lane.close()
    assert cuda._idle


def test_what_lanes_do_at_once_counts_once() -> None:
    side_by_side = [(0.0, 1.0, 9.0, 10.0), (1.0, 2.0, 10.0, 12.0), (10.0, 13.0, 14.0, 15.0)]
    assert spent_by(side_by_side) == Spent(copy_in=5.0, compute=10.0, copy_out=4.0)
    assert spent_by(reversed(side_by_side)) == spent_by(side_by_side)


def test_a_lane_forgets_shapes_but_the_last_ones(cuda: fake_gpu.FakeCuda) -> None:
    closed: list[int] = []

    class Remembering(Waiting):
        def prepare(self, place: Place) -> Any:
            made = Waiting()
            made.close = lambda: closed.append(place.shape[3])  # type: ignore[method-assign]
            return made

    lane = Lane(0, 1, lambda stream: Remembering())
    for width in (40, 32, 24, 32, 16):
        lane.run(np.zeros((1, 3, 8, width), np.float32), None)
    assert SHAPES == 2
    assert closed == [40, 24]
    lane.run(np.zeros((1, 3, 8, 80), np.float32), None)
    assert closed == [40, 24, 32, 16], "memory that moves takes along what was bound to it"
    lane.close()


def test_full_memory_is_given_back_and_a_smaller_image_still_runs(
    engine: OnnxCudaEngine, plain: OnnxRuntimeEngine, cuda: fake_gpu.FakeCuda
) -> None:
    cuda.memory = 1_500_000
    for _ in range(2):
        with pytest.raises(EngineOutOfMemoryError, match="out of memory on the CPU"):
            engine.run(np.zeros((1, 3, 512, 512), np.float32))
    assert not cuda.held
    np.testing.assert_array_equal(engine.run(IMAGES[0]), plain.run(IMAGES[0]))


class Graphs:
    """A session that says under which number every run was asked for, and may fail to capture."""

    def __init__(self, session: Any, asked: list[str], fails: bool) -> None:
        self._session, self._asked, self._fails = session, asked, fails

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self._asked.append(options.get_run_config_entry("gpu_graph_id"))
        if self._fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        self._session.run_with_iobinding(binding, options)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[str]:
    """Graph numbers of the runs of sessions that were opened with graphs, which may fail as they run or are opened."""
    numbers: list[str] = []
    fails = getattr(request, "param", "")
    real = SessionRequest.open

    def opened(self: SessionRequest) -> Any:
        if self.extra.get("enable_cuda_graph") != "1":
            return real(self)
        if fails == "opening":
            raise ProfileError("x is not a model ONNX Runtime can run") from RuntimeError("a node is on the CPU")
        return Graphs(real(self), numbers, fails == "running")

    monkeypatch.setattr(SessionRequest, "open", opened)
    return numbers


def test_every_shape_has_a_graph_of_its_own_until_there_are_too_many(asked: list[str], engine: OnnxCudaEngine) -> None:
    assert asked == ["1", "1"], "both lanes are tried when it is opened"
    for width in (40, 40, 32, 32, 40, 40):
        engine.run(np.zeros((1, 3, 8, width), np.float32))
    assert asked[2:] == ["2", "2", "3", "3", "2", "2"]
    for width in range(2, 2 * on_cuda.GRAPHS + 2, 2):
        for _ in range(2):
            engine.run(np.zeros((1, 3, 8, width), np.float32))
    assert asked[-2:] == ["-1", "-1"]
    assert max(map(int, asked)) == on_cuda.GRAPHS


def test_shapes_that_came_too_late_for_a_graph_get_theirs_from_a_session_that_is_opened_anew(
    asked: list[str], engine: OnnxCudaEngine, plain: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_cuda, "PATIENCE", 3)
    for width in range(2, 2 * on_cuda.GRAPHS, 2):
        for _ in range(2):
            engine.run(np.zeros((1, 3, 8, width), np.float32))
    late, across = (np.random.default_rng(0).random((1, 3, 8, width), dtype=np.float32) for width in (40, 42))
    asked.clear()
    for _ in range(5):
        for _ in range(2):
            np.testing.assert_array_equal(engine.run(late), plain.run(late))
    assert asked == ["-1"] * 6 + ["1"] * 4
    gc.collect()
    assert sum(type(thing) is Graphs for thing in gc.get_objects()) == 2, "one for each lane"
    for _ in range(2):
        np.testing.assert_array_equal(engine.run(across), plain.run(across))
    assert asked[-2:] == ["2", "2"]


def test_a_session_that_finds_no_memory_as_it_is_opened_anew_is_opened_by_the_next_run(
    asked: list[str], engine: OnnxCudaEngine, plain: OnnxRuntimeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_cuda, "GRAPHS", 1)
    monkeypatch.setattr(on_cuda, "PATIENCE", 1)
    for _ in range(2):
        engine.run(IMAGES[0])
    opened = SessionRequest.open
    full = Mock(side_effect=EngineOutOfMemoryError("out of memory on cuda:0"))
    monkeypatch.setattr(SessionRequest, "open", full)
    for _ in range(4):
        with pytest.raises(EngineOutOfMemoryError):
            engine.run(IMAGES[0])
    monkeypatch.setattr(SessionRequest, "open", opened)
    for image in IMAGES[:2]:
        np.testing.assert_array_equal(engine.run(image), plain.run(image))


@pytest.mark.parametrize("name", ["fast", "standard", "quality"])
def test_what_ships_has_nothing_that_a_cuda_graph_cannot_hold(name: str) -> None:
    profile = find_profile(name)
    for part in profile.by_noise.values():
        nodes = onnx.load_from_string(part.read(MODEL_FILES["denoise"])).graph.node
        assert not {node.op_type for node in nodes} & {"If", "Loop", "Scan", "NonZero"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [("opening", "a node is on the CPU"), ("running", "operation not permitted when stream is capturing")],
    indirect=["asked"],
)
def test_where_graphs_are_refused_it_goes_on_without_and_says_why(
    asked: list[str], reason: str, engine: OnnxCudaEngine, plain: OnnxRuntimeEngine
) -> None:
    assert engine.info.fallback == f"without CUDA graphs: {reason}"
    np.testing.assert_array_equal(engine.run(IMAGES[0]), plain.run(IMAGES[0]))
    assert len(asked) == (2 if reason.startswith("operation") else 0), "asked once for each lane"


@pytest.fixture
def with_gpu(cuda: fake_gpu.FakeCuda, monkeypatch: pytest.MonkeyPatch) -> fake_gpu.FakeCuda:
    """A GPU that a driver lists, and on which ONNX Runtime computes on the CPU in secret."""
    listed = CudaDriver((13, 0), ("Fake RTX",))
    monkeypatch.setattr(choose, "find_driver", lambda: listed)
    monkeypatch.setattr(choose, "require_gpu", lambda index: listed)
    monkeypatch.setattr(on_cuda, "OnnxCudaEngine", partial(OnnxCudaEngine, provider=CPU))
    return cuda


def test_onnx_runtime_on_a_gpu_gets_lanes_and_tiles_as_large_as_its_memory_allows(
    with_gpu: fake_gpu.FakeCuda, tiny_profile: Profile
) -> None:
    with_gpu.memory = 1 << 33
    engine = choose.open_engine(tiny_profile, mode="denoise", engine="onnx", device="cuda")
    assert isinstance(engine, OnnxCudaEngine)
    assert (engine.info.precision, engine.info.shared, engine.info.fallback) == ("fp16", True, "")
    assert engine.info.room == pytest.approx((1 << 33) / 4 / MOST, rel=0.01)
    engine.close()


def test_half_precision_has_room_for_larger_tiles(with_gpu: fake_gpu.FakeCuda) -> None:
    with_gpu.memory = 1 << 33
    rooms = {}
    for precision in ("fp32", "fp16"):
        with closing(
            choose.open_engine(find_profile("fast"), mode="denoise", engine="onnx", device="cuda", precision=precision)
        ) as engine:
            assert engine.info.precision == precision
            rooms[precision] = engine.info.room or 0
    assert 1.2 * rooms["fp32"] < rooms["fp16"] < 2 * rooms["fp32"]


@pytest.mark.parametrize(("channels", "measured"), [(16, 52), (56, 144), (96, 236)])
def test_half_precision_takes_less_than_is_reckoned_with(channels: int, measured: int) -> None:
    reckoned = bytes_a_pixel("unet", {"channels": [channels]}, 1, half=True)
    assert 1.5 * measured < reckoned < 0.8 * bytes_a_pixel("unet", {"channels": [channels]}, 1)


def test_without_cuda_python_the_first_line_of_a_run_says_so(
    with_gpu: fake_gpu.FakeCuda, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise MissingCapabilityError("cuda-python is not installed: pip install it")

    opened: list[str] = []

    def plain(*args: object, provider: str = CPU, **options: Any) -> OnnxRuntimeEngine:
        if provider not in (CPU, CUDA):
            raise MissingCapabilityError("not here")
        opened.append(provider)
        return OnnxRuntimeEngine(tiny_profile, mode="denoise")

    monkeypatch.setattr(choose, "OnnxRuntimeEngine", plain)
    monkeypatch.setattr(cuda_device, "import_cuda", absent)
    engine = choose.open_engine(tiny_profile, mode="denoise", engine="onnx", device="cuda")
    assert engine.info.fallback == "copies wait for the GPU: cuda-python is not installed: pip install it"
    assert opened == [CPU, CUDA]


def test_who_wants_to_be_alone_waits_for_all_and_goes_before_those_who_come_later() -> None:
    gate, order = Gate(), []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with gate.together():
            inside.set()
            leave.wait(5)
            order.append("first")

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    def later() -> None:
        with gate.together():
            order.append("later")

    threads = [threading.Thread(target=first), threading.Thread(target=alone), threading.Thread(target=later)]
    for thread in threads:
        thread.start()
        inside.wait(5)
        time.sleep(0.02)
    leave.set()
    for thread in threads:
        thread.join(5)
    assert order == ["first", "alone", "later"]
