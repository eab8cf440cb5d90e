"""What the stages of a photo take, on the CPU and on a fake GPU."""

from pathlib import Path

import fake_gpu
import numpy as np
import pytest

from nsp_pipeline.engines.cuda import device as cuda_device
from nsp_pipeline.engines.onnx.on_cuda import OnnxCudaEngine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.engines.onnx.session import CPU
from nsp_pipeline.profiles.bundle import Profile
from nsp_pipeline.speed import trial
from nsp_pipeline.speed.photo import noisy_photo
from nsp_pipeline.speed.stages import STAGES, around_the_network, bound_by


def test_what_surrounds_the_network_is_timed_without_it(tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxRuntimeEngine(tiny_profile, mode="denoise")
    monkeypatch.setattr(engine, "run", None)
    taken = around_the_network(noisy_photo(200, 300), engine.info)
    assert set(taken) == {"decode", "noise", "blend", "encode"}
    assert all(0 < seconds < 10 for seconds in taken.values())


def test_a_gpu_s_copies_are_told_apart_from_computing(
    tiny_profile: Profile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda = fake_gpu.FakeCuda()
    monkeypatch.setattr(cuda_device, "import_cuda", lambda: cuda)
    info = OnnxRuntimeEngine(tiny_profile, mode="denoise").info
    engine = OnnxCudaEngine(tiny_profile, info, provider=CPU)
    monkeypatch.setattr(trial, "open_engine", lambda *args, **options: engine)
    np.save(tmp_path / "photo.npy", noisy_photo(200, 300))

    answer = trial.time_engine("fast", "onnx", "fp32", "cuda", 1, str(tmp_path / "photo.npy"), 0.0)

    taken = answer["stages"]
    assert set(taken) == set(STAGES)
    assert 0 < taken["copy in"] < taken["compute"]
    assert 0 < taken["copy out"] < taken["compute"]
    assert 0 < answer["engine_seconds"] <= answer["seconds"] * 1.01
    engine.close()


def test_the_slowest_bounds() -> None:
    assert bound_by({"decode": 60.0, "compute": 900.0, "encode": 50.0}) == "encode"
    assert bound_by({}) is None
