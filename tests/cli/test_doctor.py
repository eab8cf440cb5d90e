"""`nsp doctor`: what is there, what is missing, and the command that mends it."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from run_nsp import Finished

from nsp_pipeline import __version__
from nsp_pipeline.cli.doctor import command as doctor
from nsp_pipeline.cli.doctor import gpu_findings
from nsp_pipeline.engines import choose as choose_engine
from nsp_pipeline.engines.cuda_driver import CudaDriver
from nsp_pipeline.engines.onnx import session as onnx_session
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.profiles import choose
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
pytestmark = pytest.mark.usefixtures("user_profiles", "tiny_builtin")


def with_tensorrt(monkeypatch: pytest.MonkeyPatch, reason: str | None) -> None:
    """Let TensorRT be there (None), or be unavailable for a reason; an engine of it cannot be opened here."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise MissingCapabilityError("no GPU here, after all")

    module: Any = SimpleNamespace(unavailable=lambda flavour: reason, TensorRtEngine=refuse)
    monkeypatch.setitem(sys.modules, "nsp_pipeline.engines.tensorrt.engine", module)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have no GPU, as most have that run the tests."""
    with_driver(monkeypatch, None)
    with_tensorrt(monkeypatch, "not installed: pip install it")


def findings(ended: Finished) -> dict[str, Any]:
    return {finding["what"]: (finding["ok"], finding["detail"]) for finding in json.loads(ended.out)}


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let packages look as if they were not installed."""
    known: Callable[[str], str] = vars(doctor)["version"]

    def version(name: str) -> str:
        if name in names:
            raise PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(doctor, "version", version)


def test_all_is_well(real_nsp: Nsp) -> None:
    ended = real_nsp("doctor", "--json")
    found = findings(ended)
    assert (ended.code, ended.err) == (0, "")
    assert found["nsp"] == (True, __version__)
    assert found["onnxruntime"] == (True, onnxruntime.__version__)
    assert found["engine"][0] is True
    assert found["engine"][1].startswith("CPU, ONNX Runtime fp32 would be used (ONNX Runtime offers: ")
    assert found["built-in profile"] == (True, "tiny, verified; licence: any")


def test_people_get_a_line_for_each_finding(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = real_nsp("doctor")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.rstrip().split(maxsplit=2) for line in ended.out.splitlines()]
    assert ["ok", "nsp", __version__] in lines
    assert all(mark == "ok" for mark, *_ in lines if _[0] in doctor.LIBRARIES)


def test_without_an_engine_it_says_how_to_get_one_and_ends_in_3(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    lacking(monkeypatch, "onnxruntime")
    ended = real_nsp("doctor", "--json")
    found = findings(ended)
    assert ended.code == 3
    assert found["engine"][0] is False
    assert "pip install 'nsp-pipeline[cpu]'" in found["engine"][1]
    assert found["onnxruntime"] == (None, "needed for denoising on the CPU: pip install 'nsp-pipeline[cpu]'")
    assert found["built-in profile"] == (True, "tiny, whole; not tried, for want of an engine")
    assert "reinstall" not in ended.out
    assert real_nsp("doctor").code == 3


def test_without_torch_denoising_is_well(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, "torch", "onnx", "safetensors")
    ended = real_nsp("doctor", "--json")
    hint = "needed for calibrate and export: pip install 'nsp-pipeline[cpu,train]'"
    assert ended.code == 0
    assert findings(ended)["torch"] == findings(ended)["onnx"] == (None, hint)


def test_a_damaged_built_in_profile_is_named(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "builtin.nsp"
    shutil.copy(tiny_profile.path, damaged)
    with damaged.open("r+b") as file:
        file.truncate(2000)
    choose._builtin.cache_clear()
    monkeypatch.setattr(choose, "shipped_profiles", lambda: {"standard": damaged})
    ended = real_nsp("doctor", "--json")
    ok, detail = findings(ended)["built-in profile"]
    assert (ended.code, ok) == (3, False)
    assert detail.startswith(f"{damaged}: the profile is damaged or cut short")
    assert detail.endswith("; reinstall nsp-pipeline")


def with_versions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Let packages look as if they were installed; underscores stand for dashes."""
    known: Callable[[str], str] = vars(doctor)["version"]
    monkeypatch.setattr(doctor, "version", lambda name: versions.get(name.replace("-", "_")) or known(name))


def with_driver(monkeypatch: pytest.MonkeyPatch, driver: CudaDriver | None) -> None:
    for module in (gpu_findings, choose_engine):
        monkeypatch.setattr(module, "find_driver", lambda: driver)


GPU = CudaDriver((13, 0), ("Fast GPU",))


def test_both_wheels_of_onnx_runtime_are_a_problem(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch, onnxruntime="1.0", onnxruntime_gpu="1.0")
    ended = real_nsp("doctor", "--json")
    ok, detail = findings(ended)["onnxruntime wheels"]
    assert (ended.code, ok) == (3, False)
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'nsp-pipeline[gpu]'" in detail


@pytest.mark.parametrize(
    ("driver", "ok", "detail"),
    [
        (None, None, "no driver is installed; photos are denoised on the CPU"),
        (CudaDriver((12, 4), ()), None, "the driver (up to CUDA 12.4) lists no GPU"),
        (CudaDriver((12, 4), (), "it fails with CUDA error 803"), False, "CUDA error 803: restart the machine"),
        (GPU, True, "cuda:0 Fast GPU; the driver runs up to CUDA 13.0"),
    ],
)
def test_the_driver_says_which_gpus_there_are(
    real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch, driver: CudaDriver | None, ok: bool | None, detail: str
) -> None:
    with_driver(monkeypatch, driver)
    found = findings(real_nsp("doctor", "--json"))["NVIDIA GPU"]
    assert found[0] is ok
    assert detail in found[1]


def test_a_gpu_that_only_lacks_the_right_wheel_is_mentioned(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    with_driver(monkeypatch, GPU)
    lacking(monkeypatch, "onnxruntime-gpu", "tensorrt-rtx", "tensorrt")
    ended = real_nsp("doctor", "--json")
    hint = "pip uninstall onnxruntime, then pip install 'nsp-pipeline[gpu]'"
    assert ended.code == 0
    assert findings(ended)["onnxruntime CUDA"] == (None, f"needed for denoising on the GPU: {hint}")
    assert "the GPU is not used: " in findings(ended)["engine"][1]


def test_a_driver_older_than_onnx_runtime_wants_is_named_with_the_one_it_wants(
    real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_driver(monkeypatch, CudaDriver((12, 4), ("Fast GPU",)))
    with_versions(monkeypatch, onnxruntime_gpu="1.32.0")
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    ended = real_nsp("doctor", "--json")
    ok, detail = findings(ended)["onnxruntime CUDA"]
    assert (ended.code, ok) == (3, False)
    assert "built for CUDA 13.0, and the driver runs up to CUDA 12.4: update it to 580 or later" in detail


def test_missing_cuda_libraries_are_named_with_the_command_that_brings_them(
    real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(command: Any, **options: Any) -> Any:
        assert command[-1].endswith("providers_cuda.so"), "what is loaded, in a process of its own"
        reason = "libcublasLt.so.13: cannot open shared object file: No such file or directory"
        return SimpleNamespace(returncode=onnx_session.MISSING, stderr=f"{reason}\n")

    with_driver(monkeypatch, GPU)
    with_versions(monkeypatch, onnxruntime_gpu="1.32.0")
    offered = [onnx_session.CUDA, onnx_session.CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr("nsp_pipeline.engines.onnx.session.subprocess.run", load)
    halved: Any = SimpleNamespace(to_half=lambda content: content)
    monkeypatch.setitem(sys.modules, "nsp_pipeline.engines.onnx.half_precision", halved)
    ended = real_nsp("doctor", "--json")
    ok, detail = findings(ended)["onnxruntime CUDA"]
    assert (ended.code, ok) == (3, False)
    assert "libcublasLt.so.13: cannot open shared object file" in detail
    assert detail.endswith("pip install 'onnxruntime-gpu[cuda,cudnn]'")
    assert "the GPU is not used: " in findings(ended)["engine"][1]
    assert detail in findings(ended)["engine"][1]


@pytest.mark.parametrize(
    ("driver", "installed", "reason", "expected"),
    [
        (GPU, {"tensorrt_rtx": "1.7"}, None, (True, "1.7")),
        (GPU, {}, "not installed: pip install it", (None, "not installed: pip install it")),
        (GPU, {"tensorrt_rtx": "1.7"}, "no cuda-python: pip install it", (False, "no cuda-python: pip install it")),
        (None, {"tensorrt_rtx": "1.7"}, "no GPU", (None, "1.7, but there is no GPU to run it on")),
    ],
)
def test_tensorrt_is_looked_at(
    real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch, driver: Any, installed: Any, reason: Any, expected: Any
) -> None:
    with_driver(monkeypatch, driver)
    lacking(monkeypatch, "tensorrt-rtx", "tensorrt")
    with_versions(monkeypatch, **installed)
    with_tensorrt(monkeypatch, reason)
    assert findings(real_nsp("doctor", "--json"))["TensorRT-RTX"] == expected


def said_in_the_end(ended: Finished) -> str:
    return str(ended.out.splitlines()[-1])


def test_it_ends_in_one_sentence(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = r"Ready: CPU, ONNX Runtime fp32, about [\d.]+ s a megapixel with profile tiny\."
    ended = real_nsp("doctor")
    assert re.fullmatch(ready, said_in_the_end(ended))
    # What is not there and not needed is called optional, and so is a file that nobody has made.
    marks = {line.split()[1]: line.split()[0] for line in ended.out.splitlines()[:-1]}
    assert (marks["NVIDIA"], marks["names"], marks["your"]) == ("optional",) * 3
    with_driver(monkeypatch, CudaDriver((12, 4), (), "no device"))
    assert "; a GPU is there, and not used: the driver (up to CUDA 12.4) lists no GPU" in said_in_the_end(
        real_nsp("doctor")
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    lacking(monkeypatch, "onnxruntime")
    assert said_in_the_end(real_nsp("doctor")).startswith("Not ready: engine: ")
