"""Nothing about a user's photos or machine leaves it, and nothing is left behind for that."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("package", "code"),
    [
        (
            "onnxruntime",
            "from nsp_pipeline.engines.onnx.load import import_onnxruntime as load; load().SessionOptions()",
        ),
        ("openvino", "from nsp_pipeline.engines.openvino.engine import computes_in_bf16 as ask; ask()"),
    ],
)
def test_engines_leave_no_device_id(tmp_path: Path, package: str, code: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)

    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    assert list(tmp_path.rglob("*")) == []
