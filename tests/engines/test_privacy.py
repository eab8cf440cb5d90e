"""Nothing about a user's photos or machine leaves it, and nothing is left behind for that."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_leaves_no_device_id(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    code = "from nsp_pipeline.engines.onnx_runtime import import_onnxruntime as load; load().SessionOptions()"

    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    assert list(tmp_path.rglob("*")) == []
