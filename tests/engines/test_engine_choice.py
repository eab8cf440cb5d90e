"""Which engine is taken: the fastest that is there and agrees with the reference, and never the CPU unsaid."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.denoise.tiles import seen_twice
from nsp_pipeline.engines import choose, cuda_driver
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.cuda_driver import CudaDriver
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.engines.onnx import session as onnx_session
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CUDA
from nsp_pipeline.errors import MissingCapabilityError, ProfileError
from nsp_pipeline.models.memory import copies_held
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

Array = NDArray[np.float32]
GPUS = CudaDriver((13, 0), ("Fast GPU", "Faster GPU"))


@dataclass
class Machine:
    """A machine with GPUs, whose engines really compute on the CPU; faked at the engines' own interface."""

    wrong: set[tuple[str, str]] = field(default_factory=set)
    """Engines and precisions that give black."""
    absent: set[str] = field(default_factory=lambda: {"tensorrt"})
    failing: dict[str, Exception] = field(default_factory=dict)
    opened: list[tuple[str, str, int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    reference: Any = None

    def unavailable(self, flavour: str) -> str | None:
        """As engines.tensorrt.unavailable."""
        return f"{flavour} is not installed: pip install it" if flavour in self.absent else None

    def engine(
        self, profile: Profile, checked: EngineInfo, *, flavour: str, precision: str, device: int, on_build: Any
    ) -> "FakeGpuEngine":
        """As engines.tensorrt.TensorRtEngine."""
        if flavour in self.failing:
            raise self.failing[flavour]
        on_build(f"building {flavour}")
        return FakeGpuEngine(
            self, profile, replace(checked, name=flavour, provider=flavour, precision=precision), device
        )


class FakeGpuEngine:
    """Computes on the CPU, or gives black."""

    def __init__(self, machine: Machine, profile: Profile, info: EngineInfo, device: int) -> None:
        self.machine = machine
        self.info = info
        self.inner = machine.reference(profile, mode=info.mode)
        machine.opened.append((info.name, info.precision, device))

    def run(self, image: Array) -> Array:
        """(1, 3, H, W) in and out."""
        black = (self.info.name, self.info.precision) in self.machine.wrong
        return np.zeros_like(image) if black else self.inner.run(image)

    def close(self) -> None:
        """Remember it."""
        self.machine.closed.append(f"{self.info.name} {self.info.precision}")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """TensorRT-RTX and ONNX Runtime with CUDA on two GPUs."""
    machine = Machine(reference=OnnxRuntimeEngine)

    class Onnx(OnnxRuntimeEngine):
        def __new__(cls, profile: Profile, *, mode: str, provider: str = onnx_session.CPU, **options: Any) -> Any:
            if provider == onnx_session.CPU:
                return super().__new__(cls)
            if provider != CUDA or "onnx" in machine.absent:
                raise MissingCapabilityError(f"this ONNX Runtime has no {provider}: pip install it")
            info = replace(OnnxRuntimeEngine(profile, mode=mode).info, provider=CUDA, precision=options["precision"])
            return FakeGpuEngine(machine, profile, info, options["device"])

    monkeypatch.setattr(choose, "OnnxRuntimeEngine", Onnx)
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: GPUS)
    monkeypatch.setattr(choose, "find_driver", lambda: GPUS)
    module: Any = SimpleNamespace(unavailable=machine.unavailable, TensorRtEngine=machine.engine)
    monkeypatch.setitem(sys.modules, "nsp_pipeline.engines.tensorrt.engine", module)
    return machine


def taken(profile: Profile, **overrides: Any) -> tuple[str, str, str]:
    engine = open_engine(profile, mode="denoise", **overrides)
    return engine.info.name, engine.info.provider, engine.info.precision


def test_the_fastest_that_is_there_is_taken(machine: Machine, tiny_profile: Profile) -> None:
    built: list[str] = []
    assert taken(tiny_profile, on_build=built.append) == ("tensorrt-rtx", "tensorrt-rtx", "fp16")
    assert built == ["building tensorrt-rtx"]
    machine.absent = {"tensorrt-rtx"}
    assert taken(tiny_profile) == ("tensorrt", "tensorrt", "fp16")
    machine.absent = {"tensorrt-rtx", "tensorrt"}
    assert taken(tiny_profile) == ("onnx", CUDA, "fp16")
    assert taken(tiny_profile, precision="fp32") == ("onnx", CUDA, "fp32")
    assert taken(tiny_profile, device="cpu") == ("onnx", "CPUExecutionProvider", "fp32")


def test_the_gpu_that_was_asked_for_is_the_one(machine: Machine, tiny_profile: Profile) -> None:
    taken(tiny_profile, device="cuda:1")
    assert machine.opened == [("tensorrt-rtx", "fp16", 1)]
    with pytest.raises(MissingCapabilityError, match=r"cuda:2 is not there; .* cuda:0 Fast GPU, cuda:1 Faster GPU"):
        taken(tiny_profile, device="cuda:2")


@pytest.mark.parametrize("overrides", [{"engine": "tensorrt-rtx"}, {"engine": "tensorrt-rtx", "precision": "fp16"}, {}])
def test_what_is_not_trusted_falls_back_to_float32_and_then_to_onnx_runtime(
    machine: Machine, tiny_profile: Profile, overrides: dict[str, Any]
) -> None:
    machine.absent = {"tensorrt", "onnx"}
    machine.wrong = {("tensorrt-rtx", "fp16")}
    engine = open_engine(tiny_profile, mode="denoise", **overrides)
    assert (engine.info.name, engine.info.precision) == ("tensorrt-rtx", "fp32")
    assert engine.info.fallback.startswith("TensorRT-RTX in fp16 is not trusted: its colours are off by")
    assert machine.closed == ["tensorrt-rtx fp16"]

    machine.wrong |= {("tensorrt-rtx", "fp32")}
    engine = open_engine(tiny_profile, mode="denoise", **overrides)
    assert (engine.info.name, engine.info.provider) == ("onnx", "CPUExecutionProvider")
    assert "TensorRT-RTX in fp16 is not trusted" in engine.info.fallback
    assert "TensorRT-RTX in fp32 is not trusted" in engine.info.fallback


def test_who_asks_for_the_gpu_never_gets_the_cpu(machine: Machine, tiny_profile: Profile) -> None:
    machine.wrong = {("tensorrt-rtx", "fp16"), ("tensorrt-rtx", "fp32"), ("onnx", "fp16"), ("onnx", "fp32")}
    with pytest.raises(MissingCapabilityError, match="ONNX Runtime with CUDAExecutionProvider in fp32 is not trusted"):
        taken(tiny_profile, device="cuda")
    machine.wrong = {("tensorrt-rtx", "fp16"), ("tensorrt-rtx", "fp32")}
    assert taken(tiny_profile, device="cuda", engine="tensorrt-rtx") == ("onnx", CUDA, "fp32")


def test_a_gpu_that_is_not_used_is_mentioned(machine: Machine, tiny_profile: Profile) -> None:
    machine.absent = {"tensorrt-rtx", "tensorrt", "onnx"}
    engine = open_engine(tiny_profile, mode="denoise")
    assert engine.info.provider == "CPUExecutionProvider"
    assert engine.info.fallback == (
        "the GPU is not used: tensorrt-rtx is not installed: pip install it; "
        f"tensorrt is not installed: pip install it; this ONNX Runtime has no {CUDA}: pip install it"
    )
    assert open_engine(tiny_profile, mode="denoise", engine="onnx").info.fallback.startswith("the GPU is not used: ")
    assert open_engine(tiny_profile, mode="denoise", device="cpu").info.fallback == ""


def test_an_engine_that_is_asked_for_and_not_there_is_an_error(machine: Machine, tiny_profile: Profile) -> None:
    with pytest.raises(MissingCapabilityError, match="tensorrt is not installed: pip install it"):
        taken(tiny_profile, engine="tensorrt")


@pytest.mark.parametrize("error", [ProfileError("it cannot be built"), MemoryError()])
def test_an_engine_that_cannot_be_built_is_passed_over(
    machine: Machine, tiny_profile: Profile, error: Exception
) -> None:
    machine.failing = {"tensorrt-rtx": error}
    engine = open_engine(tiny_profile, mode="denoise")
    assert (engine.info.provider, engine.info.precision) == (CUDA, "fp16")
    assert str(error) in engine.info.fallback
    assert engine.info.fallback


def test_an_engine_that_fails_at_the_probe_is_passed_over(
    machine: Machine, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable[[Any, Array], Array] = FakeGpuEngine.run

    def run(self: Any, image: Array) -> Array:
        if self.info.name == "tensorrt-rtx":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return right(self, image)

    monkeypatch.setattr(FakeGpuEngine, "run", run)
    engine = open_engine(tiny_profile, mode="denoise")
    assert engine.info.provider == CUDA
    assert "TensorRT-RTX in fp16 is not trusted: it fails: CUDA error: an illegal memory" in engine.info.fallback


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (None, "NVIDIA's driver is not installed"),
        (CudaDriver((13, 0), ()), "cuda:0 is not there; NVIDIA's driver lists no GPU"),
        (
            CudaDriver((12, 2), (), "it fails with CUDA error 803"),
            "lists no GPU, it fails with CUDA error 803: restart",
        ),
    ],
)
def test_without_a_gpu_asking_for_it_is_an_error_and_auto_is_the_cpu(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch, driver: CudaDriver | None, message: str
) -> None:
    monkeypatch.setattr(cuda_driver, "find_driver", lambda: driver)
    monkeypatch.setattr(choose, "find_driver", lambda: driver)
    with pytest.raises(MissingCapabilityError, match=message):
        taken(tiny_profile, device="cuda")
    with pytest.raises(MissingCapabilityError, match=r"^TensorRT needs an NVIDIA GPU, and there is none; `nsp doctor`"):
        taken(tiny_profile, engine="tensorrt")
    with pytest.raises(MissingCapabilityError, match=r"^ONNX Runtime in fp16 needs an NVIDIA GPU"):
        taken(tiny_profile, engine="onnx", precision="fp16")
    engine = open_engine(tiny_profile, mode="denoise")
    assert (engine.info.provider, engine.info.fallback) == ("CPUExecutionProvider", "")


class FakeCuda:
    """libcuda, as ctypes would load it."""

    def __init__(self, version: int, names: Sequence[str], status: int = 0) -> None:
        self.version, self.names, self.status = version, names, status

    def cuDriverGetVersion(self, number: Any) -> None:  # noqa: N802
        """Give the version."""
        number._obj.value = self.version

    def cuInit(self, flags: int) -> int:  # noqa: N802
        """Give the status."""
        return self.status

    def cuDeviceGetCount(self, number: Any) -> None:  # noqa: N802
        """Give the number of GPUs."""
        number._obj.value = len(self.names)

    def cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        """Give a handle."""
        device._obj.value = index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        """Give a name."""
        name.value = self.names[device.value].encode()[: size - 1]


def test_the_driver_is_asked_through_its_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*facts: Any) -> CudaDriver | None:
        monkeypatch.setattr(cuda_driver, "_load", lambda: FakeCuda(*facts))
        return cuda_driver.find_driver()

    assert ask(12090, ["Fast GPU", "Faster GPU"]) == CudaDriver((12, 9), ("Fast GPU", "Faster GPU"))
    assert ask(13000, [], 100) == CudaDriver((13, 0), ())
    assert ask(12020, [], 803) == CudaDriver((12, 2), (), "it fails with CUDA error 803")

    def missing() -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda_driver, "_load", missing)
    assert cuda_driver.find_driver() is None


@pytest.mark.parametrize("name", ["fast", "standard", "quality"])
def test_of_24_megapixels_tiles_compute_less_than_an_eighth_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With six gigabytes free, of which tiles take half at most."""
    monkeypatch.setattr(choose, "available_memory", lambda: 6 << 30)
    engine = choose.open_engine(find_profile(name), mode="denoise", engine="onnx", device="cpu", threads=1)
    assert seen_twice(engine.info, (4000, 6000)) < 0.12
    engine.close()


def test_graphs_of_before_hold_all_copies_at_once_and_get_smaller_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "available_memory", lambda: 2 << 30)
    profile = find_profile("quality")
    rooms = {}
    for in_turn in (True, False):
        opened = OnnxRuntimeEngine(profile, mode="denoise", threads=1)
        assert opened.info.in_turn
        opened.info = replace(opened.info, in_turn=in_turn)
        monkeypatch.setattr(choose, "OnnxRuntimeEngine", lambda *given, opened=opened, **options: opened)
        rooms[in_turn] = choose.open_reference(profile, mode="denoise").info.room or 0
        opened.close()
    assert rooms[True] > 2 * rooms[False]


def test_copies_that_are_held() -> None:
    assert copies_held(8, "onnx", in_turn=False) == copies_held(8, "openvino", in_turn=False) == 8
    assert copies_held(8, "onnx", in_turn=True) == copies_held(1, "openvino", in_turn=True) == 1
    assert 1 < copies_held(4, "openvino", in_turn=True) < 4
