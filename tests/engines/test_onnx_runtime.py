"""The engine that runs everywhere."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from run_nsp import finish, start_python
from tiny import tiny_network

from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.onnx import session as onnx_session
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.errors import ExitCode, MissingCapabilityError, ProfileError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile
from nsp_pipeline.profiles.choose import find_profile


def with_model(profile: Profile, content: bytes) -> Profile:
    """The profile, with another graph for `denoise`."""
    return replace(profile, content={**profile.content, MODEL_FILES["denoise"]: content})


@pytest.mark.parametrize("mode", list(MODEL_FILES))
def test_it_computes_what_the_network_computes(tiny_profile: Profile, mode: str) -> None:
    engine = open_engine(tiny_profile, mode=mode)
    image = np.random.default_rng(0).random((1, 3, 38, 54), dtype=np.float32)
    with torch.inference_mode():
        expected = ImageToImage(tiny_network(), mode=mode, pd_factor=1)(torch.from_numpy(image)).numpy()

    result = engine.run(image)

    assert engine.info.scale == (1 if mode == "denoise" else 2)
    assert np.abs(result - expected).max() <= 1e-5


def test_what_is_no_model_is_named(tiny_profile: Profile) -> None:
    with pytest.raises(ProfileError, match=r"model\.onnx is not a model ONNX Runtime can run"):
        open_engine(with_model(tiny_profile, b"not a model"), mode="denoise")


def test_a_model_of_another_program_is_named(tiny_profile: Profile) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("image", "denoised")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["denoised"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)

    with pytest.raises(ProfileError, match=r"lacks the metadata nsp writes"):
        open_engine(with_model(tiny_profile, model.SerializeToString()), mode="denoise")


@pytest.mark.parametrize(
    ("name", "kind", "sides", "output", "message"),
    [
        ("picture", TensorProto.FLOAT, ["H", "W"], "denoised", "must take `image`.*it takes {'picture'"),
        ("image", TensorProto.DOUBLE, ["H", "W"], "denoised", r"must take `image`.*tensor\(double\)"),
        ("image", TensorProto.FLOAT, [64, 64], "denoised", "of any H and W; it takes .*64, 64"),
        ("image", TensorProto.FLOAT, ["H", "W"], "clean", "must give `denoised`; it gives clean"),
    ],
)
def test_a_model_that_takes_or_gives_something_else_is_refused_before_any_photo(
    tiny_profile: Profile, name: str, kind: int, sides: list[str | int], output: str, message: str
) -> None:
    taken, given = (helper.make_tensor_value_info(value, kind, [1, 3, *sides]) for value in (name, output))
    graph = helper.make_graph([helper.make_node("Identity", [name], [output])], "g", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.extend(onnx.load_from_string(tiny_profile.read(MODEL_FILES["denoise"])).metadata_props)

    with pytest.raises(ProfileError, match=message):
        open_engine(with_model(tiny_profile, model.SerializeToString()), mode="denoise")


def test_a_model_whose_data_lie_outside_is_refused(tiny_profile: Profile) -> None:
    model = onnx.load_from_string(tiny_profile.read(MODEL_FILES["denoise"]))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/hostname"

    with pytest.raises(ProfileError, match="not a model ONNX Runtime can run"):
        open_engine(with_model(tiny_profile, model.SerializeToString()), mode="denoise")


def test_without_onnx_runtime_the_command_that_mends_it_is_named(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingCapabilityError, match=r"pip install 'nsp-pipeline\[cpu\]'") as missing:
        open_engine(tiny_profile, mode="denoise")

    assert missing.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize("asked", [{"engine": "magic"}, {"precision": "fp8"}])
def test_what_this_version_cannot_do_is_said(tiny_profile: Profile, asked: dict[str, Any]) -> None:
    with pytest.raises(MissingCapabilityError, match=r"this version|built into"):
        open_engine(tiny_profile, mode="denoise", **asked)


def test_a_provider_that_leaves_the_network_to_the_cpu_is_refused(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ONNX Runtime says of a session on the CPU, taken for one that is said to be on a GPU."""
    monkeypatch.setattr(onnx_session, "require_provider", lambda provider: None)
    monkeypatch.setattr(onnx_session, "_with_options", lambda *args: onnx_session.CPU)
    monkeypatch.setattr(onnx_session, "missing_library", lambda provider: None)
    with pytest.raises(MissingCapabilityError, match="took CPUExecutionProvider instead of CUDAExecutionProvider"):
        OnnxRuntimeEngine(tiny_profile, mode="denoise", provider=onnx_session.CUDA)
    session = type(OnnxRuntimeEngine(tiny_profile, mode="denoise")._session)
    monkeypatch.setattr(session, "get_providers", lambda self: [onnx_session.CUDA, onnx_session.CPU])
    with pytest.raises(MissingCapabilityError, match=r"CUDAExecutionProvider leaves \d+ \w*Conv.* to the CPU"):
        OnnxRuntimeEngine(tiny_profile, mode="denoise", provider=onnx_session.CUDA)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory that is kept")
@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_memory_that_runs_out_is_distinguished_from_other_failures(tiny_profile: Profile, name: str) -> None:
    code = """
import resource, sys
from pathlib import Path
from typing import Any
import numpy as np
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.errors import EngineOutOfMemoryError
from nsp_pipeline.profiles.bundle import load_profile
engine = open_engine(load_profile(Path(sys.argv[1])), mode="denoise", engine=sys.argv[2], precision="fp32", threads=1)
assert engine.info.name == sys.argv[2]
small, large = (np.zeros((1, 3, side, side), np.float32) for side in (64, 6000))
before = engine.run(small)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
try:
    engine.run(large)
except EngineOutOfMemoryError as error:
    assert str(error).startswith("out of memory on ")
    assert (engine.run(small) == before).all()
    sys.exit(42)
"""
    ended = finish(start_python("-c", code, tiny_profile.path, name))
    assert ended.code == 42, ended.err


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much memory a process has")
def test_tiles_share_the_memory_of_one_as_large_and_a_much_smaller_one_gives_it_back() -> None:
    # In a process of its own: what others have freed would be counted, too.
    code = """
import resource
from pathlib import Path
import numpy as np
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.profiles.choose import find_profile
engine = OnnxRuntimeEngine(find_profile("fast"), mode="denoise", threads=1)
large, small = (np.zeros((1, 3, side, side), np.float32) for side in (768, 64))
others = [np.zeros((1, 3, *sides), np.float32) for sides in ((512, 1152), (1152, 512), (512, 768), (768, 768))]
larger = np.zeros((1, 3, 768, 1536), np.float32)
def new_pages(image):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    engine.run(image)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
engine.run(small)
first, again = new_pages(large), new_pages(large)
assert again < first / 4, (first, again)
fitting = [new_pages(image) for image in others]
assert max(fitting) < first / 4, (first, fitting)
once, kept, again = (new_pages(larger) for _ in range(3))
assert again < once / 4, (once, kept, again)
before = held()
engine.run(small)
assert held() < before - (16 << 20), (before, held())
"""
    ended = finish(start_python("-c", code))
    assert ended.code == 0, ended.err


def test_between_two_images_the_processors_are_free() -> None:
    engine = OnnxRuntimeEngine(find_profile("fast"), mode="denoise", threads=2)
    engine.run(np.zeros((1, 3, 256, 256), np.float32))
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02
    engine.close()
