"""Calibrated profiles travel: what is exported of them knows their camera's noise, and other programs need no table."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from run_nsp import Finished
from small_student import SIZES, student_profile_files

from nsp_export import engine_file
from nsp_pipeline.core.camera_noise import CameraNoise
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_prior import NoisePrior, level_of
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.engines.tensorrt import build as tensorrt_build
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.profiles.bundle import Profile, write_profile
from nsp_pipeline.profiles.noise import measured_noise
from nsp_pipeline.profiles.noise_file import NOISE_FILE, noise_file

Nsp = Callable[..., Finished]
AGREES = 55.0
IMAGE = np.random.default_rng(0).random((1, 3, 48, 64), dtype=np.float32)


def prior(sigma: float) -> NoisePrior:
    kinds = np.array([sigma, 1.7 * sigma, 0.4 * sigma, sigma])[:, None].repeat(8, 1) / 255
    return NoisePrior(level_of(kinds), np.full((4, 8), 0.1))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    fields, files = student_profile_files(name="mine", camera_model="NIKON D800", iso_min=800, iso_max=6400)
    known = CameraNoise((800, 6400), (prior(6), prior(24)), (3, 1))
    folder = tmp_path_factory.mktemp("profiles")
    return write_profile(folder / "mine.nsp", fields, {**files, NOISE_FILE: noise_file(known)})


def denoised(profile: Profile, iso: int | None) -> np.ndarray:
    """What `nsp denoise` makes of the image, in full strength, when it is told the profile's noise at an ISO."""
    stated = measured_noise(profile, iso)
    assert stated is not None
    kinds = stated.table[0].T ** 2
    nodes = np.linspace(0, 1, 8, dtype=np.float32)
    level = NoiseLevel(nodes, (kinds[:, 0] + kinds[:, 2])[:, None].repeat(3, 1), kinds)
    frame = Frame(np.ascontiguousarray(IMAGE[0].transpose(1, 2, 0)), None, Kind.TIFF, Metadata(), Camera())
    engine = open_engine(profile, mode="denoise", engine="onnx", device="cpu", precision="fp32")
    try:
        return denoise_frame(frame, engine, InferenceSettings(strength=1.0), noise=level).frame.pixels
    finally:
        engine.close()


def agreement(made: np.ndarray, profile: Profile, iso: int | None) -> float:
    """PSNR of an exported file's result against that of `nsp denoise`, in dB."""
    return psnr_of(float(((made[0].transpose(1, 2, 0).clip(0, 1) - denoised(profile, iso)) ** 2).mean()))


def run(content: bytes, name: str = "image") -> np.ndarray:
    result: np.ndarray = onnxruntime.InferenceSession(content).run(None, {name: IMAGE})[0]
    return result


@pytest.mark.parametrize("iso", [None, 3200])
def test_an_onnx_file_makes_what_nsp_makes_when_told_the_camera_s_noise(
    real_nsp: Nsp, calibrated: Profile, tmp_path: Path, iso: int | None
) -> None:
    out = tmp_path / "mine.onnx"
    ended = real_nsp("export", calibrated.path, *(("--iso", str(iso)) if iso else ()), "--out", out, "--json")
    assert ended.code == 0, ended.err
    source = f"profile mine, ISO {iso or 800}"
    assert json.loads(ended.out)["noise"] == source
    assert f"told the noise of {source}, so programs need no table" in ended.err
    assert [value.name for value in onnx.load(out).graph.input] == ["image"]
    made = run(out.read_bytes())
    assert agreement(made, calibrated, iso) >= AGREES
    if iso == 3200:
        assert agreement(made, calibrated, 800) < AGREES


def test_an_engine_and_a_package_for_darktable_are_told_the_same(
    real_nsp: Nsp, calibrated: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[bytes] = []

    def build(flavour: str, content: bytes, *_: object) -> tuple[bytes, bytes]:
        built.append(content)
        return b"engine", b""

    monkeypatch.setattr(tensorrt_build, "import_tensorrt", lambda flavour: None)
    monkeypatch.setattr(engine_file, "build_engine", build)
    asked = ("export", calibrated.path, "--iso", "3200")
    for target, out in (("tensorrt-rtx", "mine.engine"), ("darktable", "mine.dtmodel")):
        ended = real_nsp(*asked, "--target", target, "--out", tmp_path / out, "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["noise"] == "profile mine, ISO 3200"
    with zipfile.ZipFile(tmp_path / "mine.dtmodel") as package:
        made = run(package.read("mine/model.onnx"), "input")
    assert agreement(run(built[0]), calibrated, 3200) >= AGREES
    assert agreement(made, calibrated, 3200) >= AGREES


@pytest.mark.parametrize(("noise", "inputs", "told"), [("input", 2, "input"), ("inside", 1, "inside")])
def test_whoever_asks_for_something_else_gets_that(
    real_nsp: Nsp, calibrated: Profile, tmp_path: Path, noise: str, inputs: int, told: str
) -> None:
    out = tmp_path / "mine.onnx"
    ended = real_nsp("export", calibrated.path, "--noise", noise, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["noise"] == told
    assert len(onnx.load(out).graph.input) == inputs
    assert "programs need no table" not in ended.err


def test_another_profile_s_noise_is_that_of_the_iso_as_well(real_nsp: Nsp, calibrated: Profile, tmp_path: Path) -> None:
    out = tmp_path / "mine.onnx"
    told = ("--noise", calibrated.path, "--iso", "1600", "--out", out, "--json")
    ended = real_nsp("export", calibrated.path, *told)
    assert json.loads(ended.out)["noise"] == "profile mine, ISO 1600"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--iso", "100"), "--iso 100: profile mine knows the noise of ISO 800 to 6400"),
        (("--iso", "800", "--noise", "input"), "--iso 800: with --noise input no level is told"),
        (("--iso", "800", "--noise", "inside"), "--iso 800: with --noise inside no level is told"),
        (("--iso", "800", "--noise", "20"), "--iso 800: --noise 20 is of no ISO"),
        (("--iso", "800", "--noise", "unknown"), "--noise unknown is of no ISO"),
    ],
)
def test_an_iso_that_says_nothing_is_refused(
    real_nsp: Nsp, calibrated: Profile, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ended = real_nsp("export", calibrated.path, *options, "--out", tmp_path / "mine.onnx")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_profile_that_knows_no_noise_has_none_at_an_iso(real_nsp: Nsp, tmp_path: Path) -> None:
    fields, files = student_profile_files()
    plain = write_profile(tmp_path / "plain.nsp", fields, files)
    backbone = {**fields["backbone"], "sizes": {**SIZES, "noise_conditioned": False}}
    untold = write_profile(tmp_path / "untold.nsp", {**fields, "backbone": backbone}, files)
    reasons = "knows no noise; nsp calibrate measures it", "has a network that is not told the noise"
    for profile, reason in zip((plain, untold), reasons, strict=True):
        ended = real_nsp("export", profile.path, "--iso", "800", "--out", tmp_path / "x.onnx")
        assert ended.code == 2
        assert reason in " ".join(ended.err.split())
