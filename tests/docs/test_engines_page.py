"""The lines of docs/engines.md run as they stand there."""

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tiny import tiny_model

from nsp_export.variants import Variant, variant

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"


def test_ten_lines_run_an_exported_file_without_nsp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "nsp_" not in lines
    assert len([line for line in lines.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    content, _ = variant(tiny_model("denoise", 2), Variant("fp16", None, "uint8"))
    Path("d800-8bit.onnx").write_bytes(content)
    noisy = np.random.default_rng(2).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(noisy).save("photo.jpg", quality=100)

    exec(compile(lines, "engines.md", "exec"), {})

    photo = np.asarray(Image.open("photo.jpg"))[:32, :46].transpose(2, 0, 1)[None]
    (expected,) = onnxruntime.InferenceSession(tiny_model("denoise", 2)).run(None, {"image": photo / np.float32(255)})
    result = np.asarray(Image.open("clean.png"))
    assert result.shape == (32, 46, 3)
    assert np.abs(result / 255 - expected[0].transpose(1, 2, 0).clip(0, 1)).max() <= 1.5 / 255
