"""`nsp doctor`: what is there, what is missing, and the command that mends it."""

import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from run_nsp import Finished

from nsp_pipeline import __version__
from nsp_pipeline.cli import doctor
from nsp_pipeline.profiles import choose
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
pytestmark = pytest.mark.usefixtures("user_profiles", "tiny_builtin")


def findings(ended: Finished) -> dict[str, Any]:
    return {finding["what"]: (finding["ok"], finding["detail"]) for finding in json.loads(ended.out)}


def lacking(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let packages look as if they were not installed."""
    known = doctor.version

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
    assert found["engine"][1].startswith("onnx, CPUExecutionProvider, fp32 would be used (offered: ")
    assert found["built-in profile"] == (True, "tiny, verified; licence: any")


def test_people_get_a_line_for_each_finding(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = real_nsp("doctor")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split(maxsplit=2) for line in ended.out.splitlines()]
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


def test_two_runtimes_of_one_name_are_an_accident_to_come(real_nsp: Nsp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "1.0")
    ended = real_nsp("doctor", "--json")
    assert ended.code == 3
    assert findings(ended)["onnxruntime wheels"] == (
        False,
        "both installed: pip uninstall onnxruntime onnxruntime-gpu, then install one",
    )
