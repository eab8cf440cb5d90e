"""The exported file: an image in, an image out, the same as PyTorch, and nothing of this machine in it."""

import getpass
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from small_student import student_graph, student_model
from tiny import tiny_network

from nsp_export import onnx_file
from nsp_export.agreement import ParityError
from nsp_export.first_layers import with_sooner_layers
from nsp_export.onnx_file import CHECK_SIZES, check_parity, onnx_bytes
from nsp_pipeline.core.noise import TABLE_NODES, TABLE_ROWS
from nsp_pipeline.core.shuffle import pixel_shuffle_down, pixel_shuffle_up
from nsp_pipeline.errors import UsageError
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.models.inference import Denoiser

ROOT = Path(__file__).parents[2]
METADATA = {"profile": "tiny", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("mode", "factor", "skip"),
    [
        ("denoise", 1, True),
        ("denoise", 2, True),
        ("sr", 2, True),
        ("sr-direct", 1, True),
        ("denoise", 2, False),
        ("sr-direct", 1, False),
    ],
)
def test_every_mode_agrees_with_pytorch_and_says_what_it_needs(mode: str, factor: int, skip: bool) -> None:
    graph = ImageToImage(tiny_network(local_mean_skip=skip), mode=mode, pd_factor=factor)

    content = onnx_bytes(graph, METADATA)

    assert check_parity(content, graph) <= 1e-4
    facts = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert facts == {
        **METADATA,
        "multiple": str(factor),
        "halo": str(graph.halo),
        "scale": "1" if mode == "denoise" else "2",
        "mode": mode,
        "tiling": "exact",
        "blind": "1",
    }


@pytest.mark.parametrize("whole_share", [0.0, 0.25])
def test_shifted_grids_and_blends_are_inside_the_file(whole_share: float) -> None:
    way: dict[str, Any] = {"pd_factor": 2, "shifted_grids": True, "whole_share": whole_share}
    graph = ImageToImage(tiny_network(), mode="denoise", **way)
    content = onnx_bytes(graph, METADATA)
    image = np.random.default_rng(2).random((1, 3, 50, 70), dtype=np.float32)
    (got,) = onnxruntime.InferenceSession(content).run(None, {"image": image})
    with torch.inference_mode():
        expected = Denoiser(tiny_network(), **way)(torch.from_numpy(image)).numpy()

    np.testing.assert_allclose(got, expected, atol=1e-4)
    facts = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    # A moved estimate looks one pixel of its sub-image farther.
    assert (facts["multiple"], facts["halo"]) == ("2", str(2 * (tiny_network().halo + 1)))


def test_a_graph_that_computes_something_else_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = ImageToImage(tiny_network(), mode="denoise", pd_factor=1)
    export = onnx_file._export

    def slightly_wrong(graph: ImageToImage, batches: bool) -> onnx.ModelProto:
        model = export(graph, batches)
        last = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = np.frombuffer(last.raw_data, np.float32).copy() + np.float32(0.1)
        last.raw_data = values.tobytes()
        return model

    monkeypatch.setattr(onnx_file, "_export", slightly_wrong)

    with pytest.raises(ParityError, match="differs from PyTorch"):
        onnx_bytes(graph, METADATA)


def test_three_sizes_are_checked() -> None:
    assert len(set(CHECK_SIZES)) == 3


def test_pd_mean_and_pu_are_those_of_the_paper() -> None:
    """The network alone, and PD, mean and PU by the arrays' own functions, give what the graph gives."""
    network = tiny_network()
    image = np.random.default_rng(1).random((1, 3, 24, 32), dtype=np.float32)
    with torch.inference_mode():
        subs = network(torch.from_numpy(pixel_shuffle_down(image[0], 2))).numpy()
        denoised, enlarged = (
            ImageToImage(network, mode=mode, pd_factor=2)(torch.from_numpy(image)).numpy() for mode in ("denoise", "sr")
        )

    assert np.abs(denoised[0] - subs.mean(0)).max() <= 1e-6
    assert np.abs(enlarged[0] - pixel_shuffle_up(subs, 2)).max() <= 1e-6


@pytest.mark.parametrize(("mode", "factor"), [("blur", 1), ("denoise", 3)])
def test_what_cannot_be_is_refused(mode: str, factor: int) -> None:
    with pytest.raises(UsageError):
        ImageToImage(tiny_network(), mode=mode, pd_factor=factor)


def test_nothing_of_this_machine_is_in_the_file() -> None:
    content = onnx_bytes(ImageToImage(tiny_network(), mode="denoise", pd_factor=1), METADATA)

    assert b".py" not in content
    assert b"/home/" not in content
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content
    if len(getpass.getuser()) > 4:
        assert getpass.getuser().encode() not in content


def test_the_lines_of_the_quick_start_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "quickstart.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    content = onnx_bytes(ImageToImage(tiny_network(), mode="denoise", pd_factor=2), METADATA)
    (tmp_path / "d800.onnx").write_bytes(content)
    noisy = np.random.default_rng(2).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photo.jpg", quality=100)

    exec(compile(snippet, "quickstart", "exec"), {})

    result = np.asarray(Image.open(tmp_path / "clean.png"))
    photo = np.asarray(Image.open(tmp_path / "photo.jpg"), dtype=np.float32)[:32, :46] / 255
    session = onnxruntime.InferenceSession(content)
    (expected,) = session.run(["denoised"], {"image": photo.transpose(2, 0, 1)[None]})
    assert np.abs(result / 255 - expected[0].transpose(1, 2, 0).clip(0, 1)).max() <= 0.51 / 255


def test_a_student_s_first_layers_read_the_photo_itself() -> None:
    nodes = onnx.load_from_string(student_model()).graph.node
    readers = [node for node in nodes if "image" in node.input]

    assert [node.op_type for node in readers if node.op_type != "Shape"] == ["Conv", "Conv", "Add"]
    assert not {"SpaceToDepth", "Transpose", "ReduceMean"} & {node.op_type for node in nodes}


@pytest.mark.parametrize("self_ensemble", [1, 2, 4, 8])
def test_first_layers_written_for_speed_compute_what_the_exporter_s_do(self_ensemble: int) -> None:
    # Brighter than white and darker than black as well, where the noise table ends.
    image = np.random.default_rng(3).uniform(-0.5, 1.5, (1, 3, 36, 52)).astype(np.float32)
    noise = np.random.default_rng(4).uniform(0, 0.2, (1, TABLE_ROWS, TABLE_NODES)).astype(np.float32)
    graph = student_graph(self_ensemble)
    exported = onnx_file._export(graph, batches=False)
    before = exported.SerializeToString()
    after = with_sooner_layers(exported).SerializeToString()
    old, new = (
        onnxruntime.InferenceSession(part).run(None, {"image": image, "noise": noise}) for part in (before, after)
    )

    # Of each copy.
    kinds = [node.op_type for node in exported.graph.node]
    assert ("SpaceToDepth" in kinds, kinds.count("Min")) == (False, self_ensemble)
    np.testing.assert_allclose(new[0], old[0], atol=1e-5)


def test_networks_that_begin_otherwise_stay_as_they_are() -> None:
    exported = onnx_file._export(ImageToImage(tiny_network(), mode="denoise", pd_factor=2), batches=False)
    before = exported.SerializeToString(deterministic=True)

    assert with_sooner_layers(exported).SerializeToString(deterministic=True) == before
