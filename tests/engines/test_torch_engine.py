"""PyTorch as an engine: the weights themselves give the picture that their ONNX graph gives."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch

from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.torch import engine as torch_engine
from nsp_pipeline.errors import MissingCapabilityError
from nsp_pipeline.evaluation.synthetic import add_camera_noise, night_street
from nsp_pipeline.profiles.bundle import MODEL_FILES, WEIGHTS_FILE, Profile
from nsp_pipeline.profiles.choose import find_profile


@pytest.mark.parametrize("mode", list(MODEL_FILES))
def test_float32_is_the_reference_s_picture(tiny_profile: Profile, mode: str) -> None:
    image = np.random.default_rng(0).random((1, 3, 48, 64), dtype=np.float32)
    names = ("onnx", "torch")
    reference, ours = (open_engine(tiny_profile, mode=mode, engine=name, precision="fp32") for name in names)
    assert (ours.info.name, ours.info.provider, ours.info.precision) == ("torch", "PyTorch CPU", "fp32")
    assert np.abs(ours.run(image) - reference.run(image)).max() <= 1e-4
    ours.close()


@pytest.mark.skipif(not torch_engine.computes_in_bf16(), reason="this CPU has no instructions for bfloat16")
def test_bfloat16_changes_no_photo_visibly() -> None:
    photo = add_camera_noise(night_street(200, 280), shot=0.01, read=0.005, seed=0)
    quick, exact = (
        open_engine(find_profile("standard"), mode="denoise", engine="torch", precision=asked)
        for asked in ("auto", "fp32")
    )
    assert (quick.info.precision, exact.info.precision) == ("bf16", "fp32")
    results = [denoise_pixels(photo, engine, InferenceSettings("denoise", 1.0)).pixels for engine in (quick, exact)]
    error = float(((results[0].astype(np.float64) - results[1]) ** 2).mean())
    assert 10 * np.log10(1 / error) > 55


def test_weights_that_are_not_those_of_the_graph_are_not_trusted(tiny_profile: Profile) -> None:
    """Their shapes fit, their picture is another: the probe finds out."""
    weights = safetensors.torch.load(tiny_profile.read(WEIGHTS_FILE))
    other = safetensors.torch.save({name: 0.5 * value for name, value in weights.items()})
    profile = replace(tiny_profile, content={**tiny_profile.content, WEIGHTS_FILE: other})
    engine = open_engine(profile, mode="denoise", engine="torch", precision="fp32")
    assert engine.info.name == "onnx"
    assert engine.info.fallback.startswith("PyTorch in fp32 is not trusted: ")


def test_what_is_not_there_is_said(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingCapabilityError, match=r"PyTorch is not installed .*pip install 'nsp-pipeline\[cpu,tr"):
        open_engine(tiny_profile, mode="denoise", engine="torch", device="cpu")
