"""PD as the user asks for it, from the graphs that every blind profile has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noisy_photos import noisy_scene
from numpy.typing import NDArray
from PIL import Image
from run_nsp import Finished
from tiny import tiny_network

from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.of_profile import open_profile_engine
from nsp_pipeline.models.inference import Denoiser
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
WAYS: dict[str, dict[str, Any]] = {
    "off": {"pd_factor": 1},
    "on": {"pd_factor": 2, "shifted_grids": True},
    "blend": {"pd_factor": 2, "shifted_grids": True, "whole_share": 0.5},
}


def photo(height: int = 150, width: int = 202) -> NDArray[np.float32]:
    return np.random.default_rng(5).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("pd", WAYS)
def test_it_is_the_network_s_own_result(tiny_profile: Profile, pd: str) -> None:
    engine = open_profile_engine(
        tiny_profile, "denoise", pd, lambda profile, mode: open_engine(profile, mode=mode, engine="onnx")
    )
    image = photo().transpose(2, 0, 1)[None]
    with torch.inference_mode():
        expected = Denoiser(tiny_network(), **WAYS[pd])(torch.from_numpy(image)).numpy()

    np.testing.assert_allclose(engine.run(np.ascontiguousarray(image)), expected, atol=1e-4)
    assert (engine.info.mode, engine.info.scale) == ("denoise", 1)

    settings = [InferenceSettings("denoise", 1.0, tile) for tile in (None, 64)]
    whole, tiled = (denoise_pixels(photo(), engine, one).pixels for one in settings)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    engine.close()


def test_the_command_line_wins_over_the_profile(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    Image.fromarray(noisy_scene(1)).save(tmp_path / "a.png")
    results = {}
    for pd in ("auto", "off", "on"):
        out = tmp_path / f"{pd}.png"
        made = real_nsp("denoise", tmp_path / "a.png", out, "--profile", tiny_profile.path, "--strength", 1, "--pd", pd)
        assert made.code == 0, made.err
        results[pd] = np.array(Image.open(out)).astype(int)
    # The profile's own way is without PD; the two go through different graphs, so a value may round otherwise.
    assert np.abs(results["off"] - results["auto"]).max() <= 1
    assert np.abs(results["on"] - results["auto"]).max() > 1


def test_photos_made_another_way_are_made_again(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(noisy_scene(1)).save(tmp_path / "in" / "a.png")
    counts = []
    for pd in ("off", "off", "on"):
        arguments = [tmp_path / "in", tmp_path / "out", "--profile", tiny_profile.path, "--pd", pd, "--json"]
        made = real_nsp("denoise", *arguments)
        assert made.code == 0, made.err
        counts.append(json.loads(made.out)["summary"]["done"])
    assert counts == [1, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "standard", "--pd", "on"], "standard is a student, which has no PD"),
        (["--mode", "sr", "--pd", "off"], "--pd works with --mode denoise only"),
    ],
)
def test_what_has_no_pd_is_refused(real_nsp: Nsp, tmp_path: Path, options: list[str], message: str) -> None:
    Image.fromarray(noisy_scene(1)).save(tmp_path / "a.png")
    refused = real_nsp("denoise", tmp_path / "a.png", tmp_path / "b.png", *options)
    assert refused.code == 2
    assert message in refused.err
