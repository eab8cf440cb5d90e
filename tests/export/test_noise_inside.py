"""The noise estimator inside a file: one input, and the picture of `nsp denoise` on a whole photo of any size."""

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from noisy_photos import clean_scene
from numpy.typing import NDArray
from small_student import student_model, student_profile_files
from tiny import tiny_model

from nsp_export.agreement import ParityError
from nsp_export.noise_inside import with_noise_inside
from nsp_export.variants import Variant, variant
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.noise import estimate
from nsp_pipeline.profiles.bundle import Profile, load_profile, write_profile


@cache
def inside() -> bytes:
    return with_noise_inside(student_model())


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("profiles") / "student.nsp"
    write_profile(path, *student_profile_files())
    return load_profile(path)


@cache
def session(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content)


def run(content: bytes, pixels: NDArray[Any]) -> NDArray[Any]:
    """What a program makes of a photo (H, W, 3) that knows nothing of noise."""
    (result,) = session(content).run(["denoised"], {"image": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])})
    return np.asarray(result[0].transpose(1, 2, 0))


def denoised(profile: Profile, pixels: NDArray[Any]) -> NDArray[Any]:
    """What `nsp denoise` makes of it."""
    frame = Frame(pixels, None, Kind.TIFF, Metadata(), Camera())
    engine = open_engine(profile, mode="denoise", engine="onnx", device="cpu", threads=1)
    return denoise_frame(frame, engine, InferenceSettings()).frame.pixels


def photo(height: int, width: int, sigma: float) -> NDArray[np.float32]:
    noise = np.random.default_rng(height).normal(0, sigma, (height, width, 3))
    return ((clean_scene(height, width) + noise) / 255).clip(0, 1).astype(np.float32)


def drawing() -> NDArray[np.float32]:
    pixels = np.full((96, 304, 3), 0.3, np.float32)
    pixels[20:60, 40:200] = 0.8
    return pixels


PHOTOS = {
    "of one window": photo(96, 128, 12),
    "of four windows that overlap": photo(264, 304, 25),
    "of as many windows as are looked at": photo(40, 7000, 6),
    "smaller than a block": photo(24, 40, 12),
    "too small to tell": photo(8, 200, 12),
    "very noisy": photo(128, 128, 45),
    "with faint noise": photo(128, 160, 0.7),
    "dark": photo(128, 128, 12) * np.float32(0.1),
    "black": np.zeros((64, 64, 3), np.float32),
    "of grey": photo(128, 160, 12)[..., :1].repeat(3, axis=2),
    "half of it grey": np.concatenate([photo(128, 192, 12)[:64], np.full((64, 192, 3), 0.5, np.float32)]),
    "half of it black": photo(128, 128, 12) * (np.arange(128) > 64).astype(np.float32)[:, None, None],
}


@pytest.mark.parametrize("kind", PHOTOS)
def test_a_whole_photo_comes_out_as_from_nsp_denoise(student: Profile, kind: str) -> None:
    pixels = PHOTOS[kind]
    ours, theirs = denoised(student, pixels), run(inside(), pixels)
    assert ours.shape == theirs.shape
    assert psnr_of(float(((ours - theirs) ** 2).mean())) > 80


@pytest.mark.parametrize(("height", "width"), [(101, 77), (265, 301), (90, 3), (64, 101), (5, 640)])
def test_sides_that_are_no_multiples_come_out_as_from_nsp_denoise(student: Profile, height: int, width: int) -> None:
    """The photo that the noise is told of is the one without the rows and columns that the network needs on top."""
    pixels = photo(height, width, 15)
    ours, theirs = denoised(student, pixels), run(inside(), pixels)
    assert ours.shape == theirs.shape
    assert psnr_of(float(((ours - theirs) ** 2).mean())) > 60


def test_what_has_no_noise_comes_back_as_it_is() -> None:
    np.testing.assert_array_equal(run(inside(), drawing()), drawing())


def test_more_noise_in_the_photo_is_more_noise_that_is_told() -> None:
    changes = [np.abs(run(inside(), photo(128, 128, sigma)) - photo(128, 128, sigma)).mean() for sigma in (2, 8, 30)]
    assert changes[0] < changes[1] < changes[2]


def test_the_image_is_the_one_input_and_the_metadata_say_where_the_noise_comes_from() -> None:
    assert [value.name for value in session(inside()).get_inputs()] == ["image"]
    assert not session(inside()).get_overridable_initializers()
    facts = session(inside()).get_modelmeta().custom_metadata_map
    assert (facts["noise"], facts["profile"], facts["multiple"]) == ("inside", "student", "1")


def test_programs_that_load_it_hear_no_warning() -> None:
    """ONNX Runtime warns of CastLike between constants."""
    assert "CastLike" not in {node.op_type for node in onnx.load_from_string(inside()).graph.node}


@pytest.mark.parametrize("pixels", ["uint8", "uint16"])
def test_integer_pixels_are_denoised_as_nsp_denoises_them(student: Profile, pixels: str) -> None:
    content, _ = variant(student_model(), Variant(pixels=pixels, noise_inside=True))
    whole = np.iinfo(pixels).max
    stored = np.rint(photo(96, 128, 12) * whole).astype(pixels)
    steps = np.abs(denoised(student, stored).astype(int) - run(content, stored).astype(int))
    assert steps.max() <= max(1, whole * 1e-4)


def test_in_float16_and_for_one_size_the_estimator_stays_in_float32(student: Profile) -> None:
    content, psnr = variant(student_model(), Variant("fp16", (96, 128), noise_inside=True))
    assert psnr >= 55
    pixels = photo(96, 128, 12)
    assert psnr_of(float(((denoised(student, pixels) - run(content, pixels)) ** 2).mean())) >= 55
    model = onnx.load_from_string(content)
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    assert halves
    assert not any(name.startswith(("estimator/", "tell/", "cut/", "brightening/", "blend/")) for name in halves)


def test_a_network_that_is_not_told_the_noise_is_refused() -> None:
    with pytest.raises(UsageError, match="is not told the noise"):
        with_noise_inside(tiny_model("denoise"))


def test_a_file_that_differs_from_nsp_denoise_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "WARY", 3.0)
    with pytest.raises(ParityError, match="away from nsp denoise"):
        with_noise_inside(student_model())
