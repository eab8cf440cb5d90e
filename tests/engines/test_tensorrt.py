"""A TensorRT engine's life: built once, kept, found, recognised when it is not what it was. On a fake GPU."""

import importlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_gpu
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny import torch_result

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.engines.cache_folder import FOLDER_VARIABLE
from nsp_pipeline.engines.cuda import device as cuda_device
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.tensorrt import engine as tensorrt
from nsp_pipeline.engines.tensorrt.build import BuildError
from nsp_pipeline.engines.tensorrt.cache import entries, useless
from nsp_pipeline.engines.tensorrt.engine import TensorRtEngine, this_machine, unavailable
from nsp_pipeline.engines.tensorrt.size_range import SizeRangeError
from nsp_pipeline.errors import EngineOutOfMemoryError, MissingCapabilityError, ProfileError
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile
from nsp_pipeline.profiles.choose import find_profile

IMAGE = np.random.default_rng(0).random((1, 3, 38, 54), dtype=np.float32)


class FakeMachine:
    """A fake GPU, a cache folder of its own, and how often an engine was built on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cuda = fake_gpu.FakeCuda()
        self.built: list[tuple[str, ...]] = []
        self.lines: list[str] = []
        self.broken = False

    def build(self, flavour: str, content: bytes, sizes: Any, options: Any) -> tuple[bytes, bytes]:
        self.built.append((flavour, str(sizes), *options.capabilities, options.timings.decode()))
        return b"broken" if self.broken else content, b"timings" if flavour == "tensorrt" else b""

    def open(self, profile: Profile, **overrides: Any) -> TensorRtEngine:
        known: EngineInfo = OnnxRuntimeEngine(profile, mode=overrides.pop("mode", "denoise")).info
        overrides = {"flavour": "tensorrt-rtx", "precision": "fp32", **overrides}
        return TensorRtEngine(profile, known, on_build=self.lines.append, **overrides)

    @property
    def engine_file(self) -> Path:
        (path,) = self.folder.glob("*.engine")
        return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    made = FakeMachine(tmp_path / "cache")
    monkeypatch.setenv(FOLDER_VARIABLE, str(made.folder))
    monkeypatch.setattr(cuda_device, "import_cuda", lambda: made.cuda)
    monkeypatch.setattr(tensorrt, "import_tensorrt", lambda flavour: fake_gpu.fake_tensorrt(flavour, made.cuda))
    monkeypatch.setattr(tensorrt, "build_engine", made.build)
    return made


def test_the_fake_has_real_names_only() -> None:
    if find_spec("tensorrt_rtx") is None or find_spec("cuda") is None:
        pytest.skip("tensorrt-rtx or cuda-python is not installed")
    real = importlib.import_module("tensorrt_rtx")
    for kind in fake_gpu.CLASSES:
        for name in vars(kind):
            assert name.startswith("_") or hasattr(getattr(real, kind.__name__), name), (kind, name)
    assert hasattr(real.ExecutionContextAllocationStrategy, "USER_MANAGED")
    assert hasattr(real.CudaGraphStrategy, "WHOLE_GRAPH_CAPTURE")
    runtime = cuda_device.import_cuda()
    for name in vars(fake_gpu.FakeCuda):
        assert name.startswith("_") or hasattr(runtime, name), name
    assert int(runtime.cudaError_t.cudaErrorMemoryAllocation) == cuda_device.OUT_OF_MEMORY
    assert int(runtime.cudaError_t.cudaSuccess) == 0


REAL_CALLS: dict[str, tuple[int, ...]] = {
    "cudaSetDevice": (0,),
    "cudaMemGetInfo": (),
    "cudaGetLastError": (),
    "cudaStreamCreateWithFlags": (1,),
    "cudaStreamDestroy": (0,),
    "cudaStreamSynchronize": (0,),
    "cudaStreamIsCapturing": (0,),
    "cudaStreamEndCapture": (0,),
    "cudaGraphInstantiate": (0, 0),
    "cudaGraphDestroy": (0,),
    "cudaGraphLaunch": (0, 0),
    "cudaGraphExecDestroy": (0,),
    "cudaEventCreate": (),
    "cudaEventRecord": (0, 0),
    "cudaEventElapsedTime": (0, 0),
    "cudaEventDestroy": (0,),
    "cudaMalloc": (16,),
    "cudaFree": (0,),
    "cudaMallocHost": (16,),
    "cudaFreeHost": (0,),
}


def test_the_real_bindings_take_what_the_fake_takes() -> None:
    if find_spec("cuda") is None:
        pytest.skip("cuda-python is not installed")
    real = cuda_device.import_cuda()
    if not int(real.cudaGetDeviceCount()[0]):
        pytest.skip("this machine has a GPU, where calls without a meaning do harm")
    for name, given in REAL_CALLS.items():
        code, *_ = getattr(real, name)(*given)
        assert isinstance(code, real.cudaError_t), name
    kind, mode = real.cudaMemcpyKind.cudaMemcpyHostToDevice, real.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    assert int(real.cudaMemcpyAsync(0, 0, 0, kind, 0)[0])
    assert int(real.cudaStreamBeginCapture(0, mode)[0])
    assert int(real.cudaStreamCaptureStatus.cudaStreamCaptureStatusNone) == 0
    assert real.cudaStreamNonBlocking == fake_gpu.FakeCuda.cudaStreamNonBlocking


@pytest.mark.parametrize("flavour", tensorrt.FLAVOURS)
def test_it_gives_the_network_s_picture_and_names_what_computes(
    machine: FakeMachine, tiny_profile: Profile, flavour: str
) -> None:
    engine = machine.open(tiny_profile, flavour=flavour)
    np.testing.assert_allclose(engine.run(IMAGE), torch_result(IMAGE, "denoise"), atol=1e-4)
    np.testing.assert_array_equal(engine.run(IMAGE[..., ::2]), engine.run(np.ascontiguousarray(IMAGE[..., ::2])))
    assert (engine.info.name, engine.info.precision) == (flavour, "fp32")
    assert engine.info.provider.endswith("1.2.3 on Fake RTX")
    engine.close()
    assert machine.cuda._idle
    assert unavailable(flavour) is None


def test_tensorrt_launches_what_it_queued_the_first_time_as_a_graph(
    machine: FakeMachine, tiny_profile: Profile
) -> None:
    engine = machine.open(tiny_profile, flavour="tensorrt")
    wide, narrow = IMAGE, np.ascontiguousarray(IMAGE[..., :32])
    for image in (wide, wide, narrow, narrow, wide, wide):
        mirrored = np.ascontiguousarray(image[..., ::-1])
        np.testing.assert_allclose(engine.run(mirrored), torch_result(mirrored, "denoise"), atol=1e-4)
        np.testing.assert_allclose(engine.run(image), torch_result(image, "denoise"), atol=1e-4)
    assert len(machine.cuda.graphs) == 4, "one for each shape and lane"
    assert machine.cuda.launched == 12 - 4
    engine.run(np.zeros((1, 3, 64, 64), np.float32))
    assert len(machine.cuda.graphs) == 3, "in a lane whose memory moved, all are forgotten"
    engine.close()
    assert machine.cuda._idle


def test_where_nothing_can_be_captured_tensorrt_runs_without_graphs(
    machine: FakeMachine, tiny_profile: Profile
) -> None:
    machine.cuda.refuses_capture = True
    engine = machine.open(tiny_profile, flavour="tensorrt")
    for _ in range(4):
        np.testing.assert_allclose(engine.run(IMAGE), torch_result(IMAGE, "denoise"), atol=1e-4)
    assert machine.cuda.launched == 0


def test_tensorrt_rtx_captures_by_itself(
    machine: FakeMachine, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[fake_gpu.IRuntimeConfig] = []

    class Config(fake_gpu.IRuntimeConfig):
        def __init__(self) -> None:
            configs.append(self)

    monkeypatch.setattr(fake_gpu, "IRuntimeConfig", Config)
    engine = machine.open(tiny_profile)
    for _ in range(4):
        engine.run(IMAGE)
    assert [config.cuda_graph_strategy for config in configs] == [fake_gpu.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE]
    assert machine.cuda.launched == 0


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("flavour", tensorrt.FLAVOURS)
def test_integers_are_copied_as_they_are_and_give_the_very_bits(
    machine: FakeMachine, tiny_profile: Profile, flavour: str, kind: str
) -> None:
    engine = machine.open(tiny_profile, flavour=flavour)
    assert engine.info.integers
    stored = np.resize(np.arange(np.iinfo(kind).max + 1, dtype=kind), (1, 3, 128, 256))
    again = from_unit(IMAGE, np.dtype(kind))
    expected = [engine.run(to_unit(image)) for image in (stored, again)]
    machine.cuda.copied.clear()
    for _ in range(3):
        np.testing.assert_array_equal(engine.run(stored), expected[0])
    assert max(size for direction, size in machine.cuda.copied if direction == 1) == stored.nbytes
    np.testing.assert_array_equal(engine.run(again), expected[1])
    np.testing.assert_array_equal(engine.run(to_unit(again)), expected[1])
    engine.close()
    assert machine.cuda._idle


def test_a_network_gets_its_noise_beside_integers(machine: FakeMachine) -> None:
    engine = machine.open(find_profile("fast"))
    stored = from_unit(IMAGE[..., :32, :48], np.dtype(np.uint8))
    strong = NoiseLevel.unknown().table + np.float32(0.05)
    assert np.abs(engine.run(stored, strong) - engine.run(stored)).max() > 0.01
    np.testing.assert_array_equal(engine.run(stored, strong), engine.run(to_unit(stored), strong))


def test_what_takes_integers_is_an_engine_of_its_own_which_is_built_once(
    machine: FakeMachine, tiny_profile: Profile
) -> None:
    stored = {kind: from_unit(IMAGE, np.dtype(kind)) for kind in ("uint8", "uint16")}
    first = machine.open(tiny_profile)
    first.run(IMAGE)
    floats = {path.name: path.read_bytes() for path in machine.folder.glob("*.engine")}
    for image in (*stored.values(), *stored.values()):
        first.run(image)
    first.close()
    assert [sizes for _, sizes, *_ in machine.built] == ["1x1 to 2048x2048", "1x1 to 2048x2048", "1x2 to 2048x4096"]
    every = {path.name: path.read_bytes() for path in machine.folder.glob("*.engine")}
    assert len(every) == 3
    assert floats.items() <= every.items(), "the network's own stays as it was"
    second = machine.open(tiny_profile)
    for image in stored.values():
        np.testing.assert_array_equal(second.run(image), second.run(to_unit(image)))
    assert len(machine.built) == 3
    assert len(list(machine.folder.glob("*.runtime"))) == 3


def test_where_nothing_takes_integers_they_are_copied_as_float32_and_that_is_said(
    machine: FakeMachine, tiny_profile: Profile
) -> None:
    engine = machine.open(tiny_profile)
    stored, machine.broken = from_unit(IMAGE, np.dtype(np.uint8)), True
    for _ in range(2):
        np.testing.assert_array_equal(engine.run(stored), engine.run(to_unit(stored)))
    assert [line for line in machine.lines if "photos of uint8 are copied as float32" in line]
    assert len(machine.built) == 3, "the network, and twice what was not an engine"


def test_memory_that_runs_out_beside_integers_is_given_back(machine: FakeMachine, tiny_profile: Profile) -> None:
    engine = machine.open(tiny_profile)
    engine.run(from_unit(IMAGE, np.dtype(np.uint8)))
    machine.cuda.memory = 500_000
    with pytest.raises(EngineOutOfMemoryError, match="out of memory on cuda:0"):
        engine.run(np.zeros((1, 3, 128, 256), np.uint8))
    assert engine.run(from_unit(IMAGE, np.dtype(np.uint8))).shape == IMAGE.shape
    engine.close()
    assert machine.cuda._idle


def test_it_is_built_once_and_reported(machine: FakeMachine, tiny_profile: Profile) -> None:
    first = machine.open(tiny_profile)
    assert machine.lines == ["building the TensorRT-RTX engine of tiny (denoise, fp32) for Fake RTX"]
    first.close()
    second = machine.open(tiny_profile)
    assert len(machine.built) == len(machine.lines) == 1
    np.testing.assert_array_equal(second.run(IMAGE).shape, IMAGE.shape)


def test_what_was_compiled_or_measured_is_kept(machine: FakeMachine, tiny_profile: Profile) -> None:
    machine.open(tiny_profile).close()
    assert [path.suffix for path in machine.folder.glob("*.runtime")] == [".runtime"]
    again = machine.open(tiny_profile)
    assert again._kernels.serialize() == b"kernels"
    machine.open(tiny_profile, flavour="tensorrt")
    machine.open(tiny_profile, flavour="tensorrt", precision="fp16")
    assert [entry[-1] for entry in machine.built] == ["", "", "timings"]


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp16"},
        {"mode": "sr-direct"},
        {"flavour": "tensorrt"},
    ],
)
def test_another_request_is_another_engine(machine: FakeMachine, tiny_profile: Profile, change: dict[str, str]) -> None:
    machine.open(tiny_profile)
    machine.open(tiny_profile, **change)
    assert len(machine.built) == len(list(machine.folder.glob("*.engine"))) == 2


def test_another_gpu_driver_or_graph_is_another_engine(
    machine: FakeMachine, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.open(tiny_profile)
    properties = SimpleNamespace(name=b"Old card", major=7, minor=5)
    monkeypatch.setattr(machine.cuda, "cudaGetDeviceProperties", lambda index: machine.cuda._ok(properties))
    machine.open(tiny_profile)
    assert machine.built[-1][2] == "7.5", "TensorRT-RTX builds for Turing only when asked"
    monkeypatch.setattr(machine.cuda, "cudaDriverGetVersion", lambda: machine.cuda._ok(13010))
    machine.open(tiny_profile)
    machine.open(with_model(tiny_profile, lambda model: setattr(model, "producer_name", "another")))
    assert len(list(machine.folder.glob("*.engine"))) == 4


@pytest.mark.parametrize(
    ("harm", "notice"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "it was cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "its header is damaged"),
        (lambda path: path.write_bytes(b""), "it was not written by this nsp"),
        (lambda path: path.write_bytes(os.urandom(5000)), "it was not written by this nsp"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\xff"), "its content was changed"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"bytes": ', b'"bytes":-')), "damaged|cut short"),
    ],
)
def test_a_file_that_was_harmed_is_noticed_and_made_anew(
    machine: FakeMachine, tiny_profile: Profile, harm: Callable[[Path], None], notice: str
) -> None:
    machine.open(tiny_profile)
    whole = machine.engine_file.read_bytes()
    harm(machine.engine_file)
    engine = machine.open(tiny_profile)
    np.testing.assert_allclose(engine.run(IMAGE), torch_result(IMAGE, "denoise"), atol=1e-4)
    assert len(machine.built) == 2
    assert len([line for line in machine.lines if re.search(notice, line)]) == 1
    assert machine.engine_file.read_bytes() == whole


def test_an_engine_under_another_s_name_is_noticed(machine: FakeMachine, tiny_profile: Profile) -> None:
    machine.open(tiny_profile)
    mine = machine.engine_file
    machine.open(tiny_profile, mode="sr-direct")
    (other,) = set(machine.folder.glob("*.engine")) - {mine}
    other.replace(mine)
    engine = machine.open(tiny_profile)
    assert engine.run(IMAGE).shape == IMAGE.shape
    assert any("belongs under another name" in line for line in machine.lines)


def test_an_engine_that_the_library_no_longer_loads_is_built_anew(machine: FakeMachine, tiny_profile: Profile) -> None:
    machine.broken = True
    with pytest.raises(BuildError, match="cannot load what it has built: not an engine"):
        machine.open(tiny_profile)
    machine.broken = False
    engine = machine.open(tiny_profile)
    assert any("cannot be loaded any more" in line for line in machine.lines)
    assert engine.run(IMAGE).shape == IMAGE.shape


def test_a_cache_that_cannot_be_written_is_said_and_no_hindrance(machine: FakeMachine, tiny_profile: Profile) -> None:
    machine.folder.write_bytes(b"a file, no folder")
    engine = machine.open(tiny_profile)
    assert engine.run(IMAGE).shape == IMAGE.shape
    engine.close()
    (_, complaint) = machine.lines
    assert f"{machine.folder}: engines cannot be kept there (" in complaint
    assert FOLDER_VARIABLE in complaint
    assert machine.folder.read_bytes() == b"a file, no folder"


def test_a_size_beyond_the_range_names_it(machine: FakeMachine, tiny_profile: Profile) -> None:
    engine = machine.open(tiny_profile)
    with pytest.raises(SizeRangeError, match="1x1 to 2048x2048"):
        engine.run(np.zeros((1, 3, 2049, 8), np.float32))
    assert engine.run(IMAGE).shape == IMAGE.shape


def test_full_memory_is_a_memory_error_and_a_smaller_image_still_runs(
    machine: FakeMachine, tiny_profile: Profile
) -> None:
    engine = machine.open(tiny_profile)
    machine.cuda.memory = 100_000
    with pytest.raises(EngineOutOfMemoryError, match="out of memory on cuda:0"):
        engine.run(np.zeros((1, 3, 256, 256), np.float32))
    assert engine.run(IMAGE).shape == IMAGE.shape


def test_a_gpu_that_is_not_there_is_named(machine: FakeMachine, tiny_profile: Profile) -> None:
    with pytest.raises(MissingCapabilityError, match="no GPU cuda:3; this machine has 1"):
        machine.open(tiny_profile, device=3)


def with_model(profile: Profile, change: Callable[[Any], object]) -> Profile:
    """The profile with a changed graph for `denoise`."""
    model = onnx.load_from_string(profile.read(MODEL_FILES["denoise"]))
    change(model)
    return replace(profile, content={**profile.content, MODEL_FILES["denoise"]: model.SerializeToString()})


def outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/hostname"


def other_weights(model: Any) -> None:
    next(entry for entry in model.metadata_props if entry.key == "sha256").value = "1" * 64


def other_mode(model: Any) -> None:
    next(entry for entry in model.metadata_props if entry.key == "mode").value = "sr"


def two_inputs(model: Any) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, "keeps the values of .* in another file"),
        (other_weights, r"made from other weights than weights\.safetensors"),
        (other_mode, "is a graph for sr, not for denoise"),
        (two_inputs, "must take `image`.*it takes image, mask"),
        (lambda model: setattr(model.graph.output[0], "name", "clean"), "must give `denoised`; it gives clean"),
        (lambda model: model.metadata_props.pop(0), "lacks the metadata"),
        (lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE), "float32"),
    ],
)
def test_a_graph_that_nsp_did_not_write_is_never_built(
    machine: FakeMachine, tiny_profile: Profile, change: Callable[[Any], object], message: str
) -> None:
    known = OnnxRuntimeEngine(tiny_profile, mode="denoise").info
    with pytest.raises(ProfileError, match=message):
        TensorRtEngine(with_model(tiny_profile, change), known, flavour="tensorrt-rtx", precision="fp32")
    assert not machine.built


def test_what_no_engine_here_can_use_is_known(
    machine: FakeMachine, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.open(tiny_profile).close()
    (machine.folder / "notes.txt").write_text("mine")
    assert [useless(entry, this_machine()) for entry in entries(machine.folder)] == ["", ""]
    monkeypatch.setattr(machine.cuda, "cudaDriverGetVersion", lambda: machine.cuda._ok(14000))
    reasons = {useless(entry, this_machine()) for entry in entries(machine.folder)}
    assert reasons == {"made for driver CUDA 13000; here it is CUDA 14000"}
