"""TensorRT-RTX really builds engines of every backbone; TensorRT's bindings have all that the code asks of them."""

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from small_graphs import BACKBONES, small_graph

from nsp_export.variants import with_integers, with_size
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.engines.cuda import device as cuda_device
from nsp_pipeline.engines.onnx.half_precision import to_half
from nsp_pipeline.engines.onnx.unit_pixels import unit_graph_of_bytes
from nsp_pipeline.engines.tensorrt import build as tensorrt_build
from nsp_pipeline.engines.tensorrt import engine as tensorrt
from nsp_pipeline.engines.tensorrt import loaded, on_stream
from nsp_pipeline.engines.tensorrt.build import BuildError, BuildOptions, build_engine
from nsp_pipeline.engines.tensorrt.engine import TensorRtEngine, unavailable
from nsp_pipeline.engines.tensorrt.size_range import SizeRangeError, chosen_range, default_range, fixed_size
from nsp_pipeline.errors import ExitCode, MissingCapabilityError, UsageError
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.profiles.choose import find_profile

FACTS = ("multiple", "tile")
needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")

STUBS = """
#define STUB(name) void *name(void) { return 0; }
STUB(createInferBuilder_INTERNAL) STUB(createInferRefitter_INTERNAL) STUB(createInferRuntime_INTERNAL)
STUB(createNvOnnxParserRefitter_INTERNAL) STUB(createNvOnnxParser_INTERNAL) STUB(getBuilderPluginRegistry)
STUB(getNvOnnxParserVersion) STUB(getPluginRegistry) STUB(initLibNvInferPlugins)
"""
"""All that TensorRT's Python bindings need of its libraries to be looked at, and not to work."""

RTX_ONLY = {
    "ComputeCapability", "CudaGraphStrategy", "IRuntimeCache", "create_runtime_cache", "create_runtime_config",
    "cuda_graph_strategy", "num_compute_capabilities", "set_compute_capability", "set_runtime_cache",
}  # fmt: skip
"""What is called for TensorRT-RTX alone (create_runtime_config: TensorRT has it since 10.13)."""


@needs_rtx
@pytest.mark.parametrize("sizes", ["dynamic", "fixed"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_engines_of_every_backbone_are_built(backbone: str, precision: str, sizes: str) -> None:
    graph = small_graph(backbone)
    graph = to_half(graph) if precision == "fp16" else graph
    if sizes == "fixed":
        engine, timings = build_engine("tensorrt-rtx", with_size(graph, (64, 96)), None)
    else:
        facts = {
            entry.key: int(entry.value) for entry in onnx.load_from_string(graph).metadata_props if entry.key in FACTS
        }
        sizes_of_it = default_range(facts["multiple"], facts.get("tile"))
        engine, timings = build_engine("tensorrt-rtx", graph, sizes_of_it)
    assert len(engine) > 10_000
    assert timings == b""


@needs_rtx
def test_the_shipped_student_builds_with_integer_pixels_and_for_chosen_gpus() -> None:
    steps: list[str] = []
    options = BuildOptions(capabilities=("7.5", "8.9"), on_line=steps.append)
    content = with_integers(to_half(find_profile("fast").read("model.onnx")), "uint8")
    engine, _ = build_engine("tensorrt-rtx", content, default_range(8, None), options)
    assert len(engine) > 100_000


@needs_rtx
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_what_makes_floats_of_a_photo_s_bytes_is_built(kind: str) -> None:
    stored = np.dtype(kind)
    sizes = default_range(8, None).wider(stored.itemsize)
    engine, _ = build_engine("tensorrt-rtx", unit_graph_of_bytes(stored), sizes, BuildOptions(image="pixels"))
    assert len(engine) > 1000


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_photo_s_bytes_give_the_very_floats(kind: str) -> None:
    every = np.resize(np.arange(np.iinfo(kind).max + 1, dtype=kind), (1, 3, 128, 256))
    session = onnxruntime.InferenceSession(unit_graph_of_bytes(every.dtype))
    (image,) = session.run(None, {"pixels": every.view(np.uint8)})
    np.testing.assert_array_equal(image, to_unit(every))


@needs_rtx
def test_a_build_reports_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_build, "SECONDS_BETWEEN_LINES", 0.0)
    steps: list[str] = []
    build_engine("tensorrt-rtx", small_graph("student"), default_range(4, None), BuildOptions(on_line=steps.append))
    assert len(steps) > 10
    assert any(": 1 of " in line for line in steps)


@needs_rtx
@pytest.mark.parametrize(
    ("content", "sizes", "message"),
    [
        (lambda: b"no model", default_range(1, None), "TensorRT-RTX cannot read the graph: .*parse the ONNX model"),
        (lambda: small_graph("student"), None, "TensorRT-RTX cannot build the engine: .*no optimization profile"),
    ],
)
def test_what_cannot_be_built_is_said_in_the_library_s_words(content: Any, sizes: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        build_engine("tensorrt-rtx", content(), sizes)


@needs_rtx
def test_a_compute_capability_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"7\.5, 8\.0"):
        build_engine("tensorrt-rtx", small_graph("student"), default_range(4, None), BuildOptions(("1.3",)))


def test_sizes_name_their_range() -> None:
    sizes = chosen_range((64, 64), (512, 768), 8, None)
    assert (str(sizes), sizes.best) == ("64x64 to 512x768", (512, 768))
    assert str(fixed_size((64, 96), 32)) == "64x96"
    assert default_range(64, 128).best == (128, 128)
    sizes.require((512, 768))
    for size in ((520, 64), (56, 64)):
        with pytest.raises(
            SizeRangeError, match=r"outside the sizes this engine was built for, 64x64 to 512x768; .*tile"
        ):
            sizes.require(size)
    with pytest.raises(UsageError, match="multiples of 8"):
        chosen_range((60, 64), None, 8, None)
    with pytest.raises(UsageError, match="first must be the smaller"):
        chosen_range((64, 64), (32, 64), 8, None)


@pytest.mark.parametrize("flavour", tensorrt.FLAVOURS)
def test_without_the_module_the_command_that_installs_it_is_named(
    flavour: str, tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tensorrt_build.MODULES[flavour], None)
    assert tensorrt_build.INSTALL_HINTS[flavour] in str(unavailable(flavour))
    with pytest.raises(MissingCapabilityError, match="pip install") as missing:
        TensorRtEngine(tiny_profile, None, flavour=flavour, precision="fp32")  # type: ignore[arg-type]
    assert missing.value.exit_code == ExitCode.ENVIRONMENT


@needs_rtx
def test_without_a_gpu_the_driver_is_named() -> None:
    try:
        cuda_device.count_gpus()
    except MissingCapabilityError:
        assert re.search("NVIDIA's driver|pip install 'cuda-python", str(unavailable("tensorrt-rtx")))
    else:
        pytest.skip("this machine has a GPU")


def asked_for() -> set[str]:
    """Every attribute that the modules access on anything."""
    modules = (tensorrt, loaded, on_stream, tensorrt_build)
    trees = [ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")) for module in modules]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def api(module: Any) -> dict[str, list[str]]:
    """The names in a module and in each of its classes."""
    classes = {name: dir(value) for name, value in vars(module).items() if isinstance(value, type)}
    nested = {f"{name}.Severity": dir(value.Severity) for name, value in vars(module).items() if name == "ILogger"}
    return {"": dir(module), **classes, **nested}


@needs_rtx
def test_tensorrt_has_everything_that_the_code_asks_of_tensorrt_rtx(tmp_path: Path) -> None:
    """Its libraries are not to be had here; its bindings are, and open with empty stand-ins for the libraries."""
    if find_spec("tensorrt_bindings") is None or not (compiler := shutil.which("cc")):
        pytest.skip("TensorRT's bindings (tensorrt-cu13-bindings) or a C compiler are missing")
    (tmp_path / "stubs.c").write_text(STUBS)
    for library in ("nvinfer", "nvonnxparser", "nvinfer_plugin"):
        made = tmp_path / f"lib{library}.so.11"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", made, tmp_path / "stubs.c"], check=True)
    script = f"{inspect.getsource(api)}\nimport json, tensorrt_bindings\nprint(json.dumps(api(tensorrt_bindings)))"
    opened = subprocess.run(
        [sys.executable, "-c", f"from typing import Any\n{script}"],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert opened.returncode == 0, opened.stderr
    theirs = json.loads(opened.stdout)
    ours = api(importlib.import_module("tensorrt_rtx"))
    shared = {owner: names for owner, names in ours.items() if owner in theirs}
    asked = asked_for()
    used = {(owner, name) for owner, names in shared.items() for name in names if name in asked}
    assert {name for _, name in used} >= {"parse", "execute_async_v3", "build_serialized_network", "STRONGLY_TYPED"}
    missing = {(owner, name) for owner, name in used if name not in theirs[owner]}
    assert {name for _, name in missing} <= RTX_ONLY, missing
