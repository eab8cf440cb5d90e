"""What another program finds in the file: names, shapes, any size of image; and what it must not find."""

import platform
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny import tiny_model, tiny_network, torch_result

from nsp_export import onnx_file
from nsp_export.agreement import ParityError
from nsp_export.onnx_file import check_parity, onnx_bytes
from nsp_pipeline.models.graph import ImageToImage

WAYS = pytest.mark.parametrize(("mode", "pd_factor"), [("denoise", 1), ("denoise", 2), ("sr", 2), ("sr-direct", 1)])


@WAYS
def test_inputs_and_outputs_are_named_and_of_any_size(mode: str, pd_factor: int) -> None:
    model = onnx.load_from_string(tiny_model(mode, pd_factor))
    onnx.checker.check_model(model, full_check=True)
    sides = []
    for (value,), name in ((model.graph.input, "image"), (model.graph.output, "denoised")):
        kind = value.type.tensor_type
        assert (value.name, kind.elem_type) == (name, onnx.TensorProto.FLOAT)
        batch, channels, *rest = kind.shape.dim
        assert (batch.dim_value, channels.dim_value) == (1, 3)
        sides.append([dimension.dim_param for dimension in rest])
    assert sides == [["H", "W"], ["H", "W"] if mode == "denoise" else ["2*H", "2*W"]]


@WAYS
@pytest.mark.parametrize("size", [(2, 2), (4, 38), (150, 22), (96, 96)])
def test_plain_onnx_runtime_gives_what_pytorch_gives(mode: str, pd_factor: int, size: tuple[int, int]) -> None:
    """At sizes that the export itself does not try, against PD, network, mean and PU one by one."""
    image = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
    (got,) = onnxruntime.InferenceSession(tiny_model(mode, pd_factor)).run(None, {"image": image})
    np.testing.assert_allclose(got, torch_result(image, mode, pd_factor), atol=1e-4)
    # Sub-images of one pixel have no neighbours to compare with.
    assert np.ptp(got) > (0.1 if min(size) > 2 else 0.05)


def test_no_trace_of_the_machine_that_made_it_is_in_the_file() -> None:
    content = tiny_model("denoise", 2)
    here = {str(Path.home()), str(Path.cwd()), tempfile.gettempdir(), torch.__file__.rsplit("/", 2)[0]}
    here |= {socket.gethostname(), platform.node(), "site-packages", "Traceback", "pkg.torch", ".py"}
    found = [trace for trace in here if len(trace) > 2 and trace.encode() in content]
    assert not found
    assert all(not node.doc_string and not node.metadata_props for node in onnx.load_from_string(content).graph.node)


def test_the_same_network_gives_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tiny_model("sr-direct")
    kept: Any = onnx_file._export  # what is kept of that export must not be the answer
    monkeypatch.setattr(onnx_file, "_export", kept.__wrapped__)
    graph = ImageToImage(tiny_network(), mode="sr-direct", pd_factor=1)
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(expected).metadata_props}
    assert onnx_bytes(graph, {key: metadata[key] for key in ("profile", "sha256")}) == expected


def test_another_shape_is_a_disagreement() -> None:
    with pytest.raises(ParityError, match=r"gives \(1, 3, 128, 128\) where PyTorch gives \(1, 3, 64, 64\)"):
        check_parity(tiny_model("sr-direct"), ImageToImage(tiny_network(), mode="denoise", pd_factor=1))


def test_what_is_no_number_is_a_disagreement() -> None:
    model = onnx.load_from_string(tiny_model("denoise"))
    tensor = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, np.float32).tobytes()
    with pytest.raises(ParityError, match="differs from PyTorch by inf"):
        check_parity(model.SerializeToString(), ImageToImage(tiny_network(), mode="denoise", pd_factor=1))


def test_the_same_modes_with_other_pd_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check sees the difference between the two ways that `denoise` may go."""
    other = onnx.load_from_string(tiny_model("denoise", 1))
    del other.metadata_props[:]
    monkeypatch.setattr(onnx_file, "_export", lambda graph, batches: other)
    with pytest.raises(ParityError, match="differs from PyTorch"):
        onnx_bytes(ImageToImage(tiny_network(), mode="denoise", pd_factor=2), {"profile": "tiny", "sha256": "0" * 64})
