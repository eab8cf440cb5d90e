"""OpenVINO, and the probe that every engine must pass before it is trusted."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import tiny_network

from nsp_export.onnx_file import onnx_bytes
from nsp_pipeline.batch.listeners.words import profile_line
from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.choose import open_engine, open_reference
from nsp_pipeline.engines.openvino import engine as openvino_cpu
from nsp_pipeline.engines.openvino.bfloat16_head import rest_of
from nsp_pipeline.engines.openvino.engine import OpenVinoEngine
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street
from nsp_pipeline.models.graph import ImageToImage
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile
from nsp_pipeline.profiles.choose import find_profile

if find_spec("openvino") is None:
    pytest.skip("OpenVINO is not installed", allow_module_level=True)
Array = NDArray[np.float32]


def has_bf16() -> bool:
    """What the session's fixture hides from "auto"."""
    openvino = openvino_cpu.import_openvino()

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this CPU has no instructions for bfloat16")


@pytest.mark.parametrize("name", ["standard", "quality", "dbsn"])
@pytest.mark.parametrize("mode", list(MODEL_FILES))
def test_float32_is_the_reference_s_picture(name: str, mode: str) -> None:
    profile = find_profile(name)
    image = np.random.default_rng(0).random((1, 3, 48, 64), dtype=np.float32)
    names = ("onnx", "openvino")
    reference, ours = (open_engine(profile, mode=mode, engine=name, precision="fp32") for name in names)
    assert (reference.info.name, ours.info.name) == names
    assert np.abs(ours.run(image) - reference.run(image)).max() <= 1e-4


@needs_bf16
@pytest.mark.parametrize("name", ["standard", "fast", "dbsn"])
def test_bfloat16_changes_no_photo_visibly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_cpu, "computes_in_bf16", lambda: True)
    photo = add_camera_noise(night_street(200, 280), shot=0.01, read=0.005, seed=0)
    quick, exact = (open_engine(find_profile(name), mode="denoise", precision=request) for request in ("auto", "fp32"))
    assert (quick.info.name, quick.info.precision, exact.info.name) == ("openvino", "bf16", "onnx")
    results = [denoise_pixels(photo, engine, InferenceSettings("denoise", 1.0)).pixels for engine in (quick, exact)]
    error = float(((results[0].astype(np.float64) - results[1]) ** 2).mean())
    assert 10 * np.log10(1 / error) > 55
    tiled = denoise_pixels(photo, quick, InferenceSettings("denoise", 1.0, 64)).pixels
    assert np.abs(tiled.astype(np.float64) - results[0]).max() < 1.5 / 255, "no edge of a tile shows"


@needs_bf16
@pytest.mark.parametrize(("name", "least"), [("standard", 65), ("dbsn", 62)])
@pytest.mark.parametrize("mode", ["sr", "sr-direct"])
def test_an_enlarged_photo_is_not_rounded_to_bfloat16(
    name: str, least: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_cpu, "computes_in_bf16", lambda: True)
    photo = add_camera_noise(night_street(200, 280), shot=0.01, read=0.005, seed=0).transpose(2, 0, 1)[None]
    quick, exact = (open_engine(find_profile(name), mode=mode, precision=request) for request in ("bf16", "fp32"))
    found = quick.run(photo)
    error = float(((found.astype(np.float64) - exact.run(photo)) ** 2).mean())
    assert 10 * np.log10(1 / error) > least
    assert (rest_of(found) == 0).mean() < 0.1


@needs_bf16
def test_shifted_grids_round_no_picture_to_bfloat16() -> None:
    way: dict[str, Any] = {"pd_factor": 2, "shifted_grids": True}
    content = onnx_bytes(ImageToImage(tiny_network(), mode="denoise", **way), {"profile": "tiny", "sha256": "0" * 64})
    runtime = openvino_cpu.import_openvino()
    compiled = runtime.Core().compile_model(
        runtime.Core().read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"}
    )
    ramp = np.tile(np.linspace(0.3, 0.7, 256, dtype=np.float32), (1, 3, 64, 1))
    found = compiled.create_infer_request().infer({"image": ramp})[compiled.output(0)]
    assert (rest_of(np.array(found)) == 0).mean() < 0.1


@needs_bf16
@pytest.mark.parametrize("name", ["standard", "quality", "fast", "dbsn"])
def test_the_network_sees_the_image_in_more_than_eight_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = add_camera_noise(night_street(160, 200), shot=0.01, read=0.005, seed=0).transpose(2, 0, 1)[None]
    exact = open_engine(find_profile(name), mode="denoise", engine="onnx").run(np.ascontiguousarray(image))

    def decibels() -> float:
        profile = find_profile(name)
        engine = OpenVinoEngine(profile, open_reference(profile, mode="denoise").info, precision="bf16")
        return -10 * float(np.log10(((engine.run(image).astype(np.float64) - exact) ** 2).mean()))

    whole = decibels()
    monkeypatch.setattr(openvino_cpu, "take_the_rest", lambda runtime, model: model)
    assert whole > decibels() + 2
    assert whole > 60


def test_what_bfloat16_drops_is_all_that_is_missing() -> None:
    image = np.random.default_rng(0).random((1, 3, 20, 30), dtype=np.float32)
    rest = rest_of(image)
    rounded = torch.from_numpy(image).bfloat16().float().numpy()
    np.testing.assert_array_equal(image - rest, rounded)
    assert np.abs(rest - torch.from_numpy(rest).bfloat16().float().numpy()).max() < 2**-17


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda right: np.full_like(right, np.nan), "not numbers"),
        (np.zeros_like, "colours are off"),
        (lambda right: right * np.array([1.0, 1.01, 1.0], np.float32)[:, None, None], "colours are off by"),
        (lambda right: right[..., ::-1], "differs from float32"),
        (lambda right: right[..., :-1], "instead of"),
    ],
)
def test_an_engine_that_fails_the_probe_is_not_taken(
    tiny_profile: Profile, broken: Callable[[Array], Array], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OpenVinoEngine.run
    monkeypatch.setattr(OpenVinoEngine, "run", lambda self, image: broken(right(self, image)))
    monkeypatch.setattr(openvino_cpu, "computes_in_bf16", has_bf16)
    asked = open_engine(tiny_profile, mode="denoise", engine="openvino", precision="fp32")
    assert (asked.info.name, asked.info.provider, asked.info.precision) == ("onnx", "CPUExecutionProvider", "fp32")
    assert asked.info.fallback.startswith("OpenVINO in fp32 is not trusted: ")
    assert reason in asked.info.fallback
    if has_bf16():
        engine = open_engine(tiny_profile, mode="denoise")
        assert (engine.info.name, engine.info.precision) == ("onnx", "fp32")
        assert f"OpenVINO in bf16 is not trusted: {engine.info.fallback.split(': ')[1]}" == engine.info.fallback
        assert reason in profile_line(engine.info, "asked for")


def test_what_is_not_there_is_said(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(**overrides: Any) -> str:
        with pytest.raises(MissingCapabilityError) as refused:
            open_engine(tiny_profile, mode="denoise", **overrides)
        return str(refused.value)

    assert "bf16 wants --engine openvino" in ask(engine="onnx", precision="bf16")
    assert "TensorRT runs on a GPU only; --device cpu" in ask(engine="tensorrt", device="cpu")
    assert "OpenVINO runs on the CPU only; --device cuda:1" in ask(engine="openvino", device="cuda:1")
    assert "no engine computes in fp16 on cpu" in ask(device="cpu", precision="fp16")
    assert "no instructions for bfloat16" in ask(precision="bf16")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    assert "pip install 'nsp-pipeline[cpu,openvino]'" in ask(engine="openvino")
    assert open_engine(tiny_profile, mode="denoise").info.name == "onnx"
