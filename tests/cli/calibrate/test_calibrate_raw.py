"""`nsp calibrate` on RAW: the profile remembers how its photos were developed, and serves such photos."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from run_nsp import Finished

from nsp_pipeline.calibration.simulation.raw_camera import RawCamera, photograph, write_raw

Nsp = Callable[..., Finished]
RECIPE = """
[calibrate]
base_channels = 4
modules = 1
crop = 20
batch = 2
steps = 2
pd-factor = 1
exposure = 0.5
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        scene = rng.uniform(0.1, 0.6, (3, 4, 3)).repeat(48, axis=0).repeat(48, axis=1)
        write_raw(tmp_path / "in" / f"{number}.dng", photograph(RawCamera(), scene, rng, iso=3200))
    return tmp_path / "in"


def test_a_profile_of_mosaics_says_so_and_is_used_on_mosaics(denoising_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    recipe, profile = tmp_path / "quick.toml", tmp_path / "mine.nsp"
    recipe.write_text(RECIPE)
    made = denoising_nsp("calibrate", archive, "--out", profile, "--recipe", recipe, "--domain", "raw", "--json")
    assert made.code == 0, made.err
    development = json.loads(made.out)["development"]
    assert (development["colour_space"], development["exposure"]) == ("mosaic", 0.5)

    cleaned = denoising_nsp("denoise", archive / "0.dng", tmp_path / "0.dng", "--profile", profile)
    assert cleaned.code == 0, cleaned.err
    with tifffile.TiffFile(tmp_path / "0.dng") as tiff:
        assert tiff.pages[0].pages[0].tags["PhotometricInterpretation"].value == 32803
    refused = denoising_nsp("denoise", archive / "0.dng", tmp_path / "0.tif", "--profile", profile, "--exposure", "1")
    assert refused.code == 2
    assert "calibrated with 0.5" in refused.err


def test_a_colour_space_has_no_place_before_developing(real_nsp: Nsp, archive: Path, tmp_path: Path) -> None:
    options = ("--domain", "raw", "--colour-space", "p3")
    refused = real_nsp("calibrate", archive, "--out", tmp_path / "mine.nsp", *options)
    assert refused.code == 2
    assert "leave --colour-space out" in refused.err
