"""Photos that store light, and values beyond white: denoised as the eye sees them, and brought back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ImageCms

from nsp_pipeline.core.tone import KNOTS, tone_of
from nsp_pipeline.denoise.photo import InferenceSettings, denoise_frame
from nsp_pipeline.denoise.plausible import require_its_colours
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.errors import UntrustedResultError
from nsp_pipeline.frames.colour.curves import LINEAR, SRGB, Parametric
from nsp_pipeline.frames.colour.make_profile import D65, SRGB_PRIMARIES, Primaries, grey_profile, rgb_profile
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, verify_written, write_frame

LINEAR_ICC = rgb_profile(SRGB_PRIMARIES, LINEAR, "linear")
SRGB_ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class MeanEngine:
    """A 5×5 mean, or any other way to change what it sees."""

    info = EngineInfo("mean", "cpu", "fp32", "denoise", 1, multiple=1, halo=2, profile="mean", sha256="0" * 64)

    def __init__(self, change: Any = None) -> None:
        self.saw: list[NDArray[np.float32]] = []
        self._change = change or self._mean

    @staticmethod
    def _mean(image: NDArray[np.float32]) -> NDArray[np.float32]:
        grown = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
        rows, cols = image.shape[2:]
        return np.asarray(sum(grown[..., y : y + rows, x : x + cols] for y in range(5) for x in range(5)) / 25)

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        self.saw.append(image)
        return np.asarray(self._change(image), np.float32)

    def close(self) -> None:
        """Nothing."""


def frame_of(pixels: NDArray[Any], icc: bytes | None = None) -> Frame:
    return Frame(pixels, None, Kind.TIFF, Metadata(icc=icc), Camera())


def encoded_noisy(dtype: str = "uint16") -> tuple[NDArray[Any], NDArray[np.float64]]:
    """A noisy photo on sRGB's curve, and its truth in 0..1."""
    truth = np.linspace(0.02, 0.95, 96)[None, :, None].repeat(80, 0).repeat(3, 2)
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 0.02, truth.shape), 0, 1)
    return (noisy.astype(dtype) if dtype == "float32" else np.rint(noisy * np.iinfo(dtype).max).astype(dtype)), truth


def psnr(found: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(-10 * np.log10(np.mean((found - truth) ** 2)))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("strength", [None, 1.0])
def test_light_gains_as_much_as_the_same_photo_on_a_curve(dtype: str, strength: float | None) -> None:
    noisy, truth = encoded_noisy(dtype)
    top = 1 if dtype == "float32" else 65535
    light = SRGB.light(noisy / top)
    stored = light.astype(np.float32) if dtype == "float32" else np.rint(light * top).astype(np.uint16)
    asked = InferenceSettings(strength=strength)
    of_curve = denoise_frame(frame_of(noisy, SRGB_ICC), MeanEngine(), asked).frame.pixels / top
    of_light = denoise_frame(frame_of(stored, LINEAR_ICC), MeanEngine(), asked).frame.pixels / top
    seen = np.interp(of_light, SRGB.light(np.linspace(0, 1, 65537)), np.linspace(0, 1, 65537))
    assert psnr(seen, truth) == pytest.approx(psnr(of_curve, truth), abs=0.1)


@pytest.mark.parametrize(
    "profile", [LINEAR_ICC, grey_profile(D65, LINEAR, "grey"), rgb_profile(SRGB_PRIMARIES, Parametric(1.1), "")]
)
def test_a_profile_of_light_or_nearly_so_has_a_tone(profile: bytes) -> None:
    assert tone_for(frame_of(np.zeros((8, 8, 3), np.uint16), profile)) is not None


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.6])
def test_perceptual_encodings_are_left_alone(gamma: float) -> None:
    for icc in (rgb_profile(SRGB_PRIMARIES, Parametric(gamma), ""), SRGB_ICC, None):
        assert tone_for(frame_of(np.zeros((8, 8, 3), np.uint16), icc)) is None


def test_what_the_user_says_overrules_the_file() -> None:
    pixels = np.zeros((8, 8, 3), np.uint16)
    assert tone_for(frame_of(pixels), "linear") is not None
    assert tone_for(frame_of(pixels, LINEAR_ICC), "encoded") is None


def test_a_png_and_a_tiff_may_state_light_in_their_own_ways(tmp_path: Path) -> None:
    ramp = tuple(range(256))
    curve = [(301, "H", 256, tuple(value * 257 for value in ramp), True)]
    pixels = np.zeros((8, 8, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=curve, metadata=None)
    assert tone_for(read_frame(tmp_path / "a.tif")) is not None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from(["uint8", "uint16", "float32"]), st.floats(1, 200))
def test_what_the_network_leaves_alone_keeps_its_very_value(seed: int, dtype: str, peak: float) -> None:
    rng = np.random.default_rng(seed)
    pixels: NDArray[Any] = rng.uniform(-0.1, peak * 1.1, (7, 9, 3)).astype("float32")
    if dtype != "float32":
        pixels = rng.integers(0, np.iinfo(dtype).max, (7, 9, 3), dtype=dtype, endpoint=True)
    tone = tone_of(SRGB.light(np.linspace(0, 1, KNOTS)), peak if dtype == "float32" else 1.0)
    seen = tone.seen(pixels)
    assert seen.dtype == (np.float32 if dtype == "float32" else np.uint16)
    np.testing.assert_array_equal(tone.back(pixels, seen, seen), pixels)


@pytest.mark.parametrize("peak", [1.0, 4.0, 100.0])
def test_the_curve_rises_without_a_kink(peak: float) -> None:
    stored = tone_of(SRGB.light(np.linspace(0, 1, KNOTS)), peak).stored
    steps = np.diff(stored)
    assert (steps > 0).all()
    assert stored[-1] == pytest.approx(peak)
    assert (steps[1:] / steps[:-1]).max() < 1.6


def scene_referred() -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    light = np.linspace(0.05, 20, 96)[None, :, None].repeat(80, 0).repeat(3, 2)
    return np.asarray(light + rng.normal(0, 0.05, light.shape) * np.sqrt(light), np.float32)


def test_values_far_above_white_are_denoised_too() -> None:
    pixels = scene_referred()
    engine = MeanEngine()
    result = denoise_frame(frame_of(pixels), engine, InferenceSettings(strength=1.0))
    assert max(float(image.max()) for image in engine.saw) <= 1
    truth = np.linspace(0.05, 20, 96)[None, :, None]
    bright = slice(48, 92)
    before, after = (np.abs(values - truth)[4:-4, bright].mean() for values in (pixels, result.frame.pixels))
    assert after < before / 2
    require_its_colours(*result.seen, result.noise_before)


def test_single_values_outside_come_back_as_they_were() -> None:
    pixels, _ = encoded_noisy("float32")
    pixels[10, 10], pixels[20, 20] = 1.05, -0.02
    result = denoise_frame(frame_of(pixels), MeanEngine(), InferenceSettings(strength=1.0)).frame.pixels
    np.testing.assert_array_equal(result[10, 10], pixels[10, 10])
    np.testing.assert_array_equal(result[20, 20], pixels[20, 20])


@pytest.mark.parametrize("dtype", ["uint16", "float16", "float32"])
def test_strength_0_gives_back_every_bit(tmp_path: Path, dtype: str) -> None:
    pixels = scene_referred().astype(dtype) if dtype != "uint16" else encoded_noisy()[0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=LINEAR_ICC, metadata=None)
    frame = read_frame(tmp_path / "a.tif")
    result = denoise_frame(frame, MeanEngine(), InferenceSettings(strength=0.0)).frame
    write_frame(result, tmp_path / "b.tif", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    verify_written(tmp_path / "b.tif", result, kind=OutputKind.KEEP, bit_depth=None)
    stored = tifffile.imread(tmp_path / "b.tif")
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, pixels)
    assert read_frame(tmp_path / "b.tif").metadata.icc == LINEAR_ICC


@pytest.mark.parametrize("gamma", [1.8, 563 / 256, 2.4])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_wide_gamuts_keep_their_profile_and_are_denoised_in_their_own_encoding(
    tmp_path: Path, gamma: float, strength: float
) -> None:
    wide = Primaries((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585))
    icc, pixels = rgb_profile(wide, Parametric(gamma), "wide"), encoded_noisy()[0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=icc, metadata=None)
    frame = read_frame(tmp_path / "a.tif")
    result = denoise_frame(frame, MeanEngine(), InferenceSettings(strength=strength))
    write_frame(result.frame, tmp_path / "b.tif", kind=OutputKind.KEEP, bit_depth=None, quality=None)
    found = read_frame(tmp_path / "b.tif")
    assert found.metadata.icc == icc
    assert np.array_equal(found.pixels, pixels) == (strength == 0)
    np.testing.assert_array_equal(result.seen[0], pixels)


def test_the_check_of_colours_sees_what_the_eye_sees() -> None:
    noisy, _ = encoded_noisy()
    dark = np.rint(SRGB.light(noisy / 65535 * 0.2) * 65535).astype(np.uint16)
    result = denoise_frame(
        frame_of(dark, LINEAR_ICC), MeanEngine(lambda image: 0 * image), InferenceSettings(strength=1.0)
    )
    with pytest.raises(UntrustedResultError):
        require_its_colours(*result.seen, 0.0)


@pytest.mark.parametrize("mode", ["sr"])
def test_light_can_be_enlarged(mode: str) -> None:
    engine = MeanEngine(lambda image: image.repeat(2, 2).repeat(2, 3))
    engine.info = replace(engine.info, mode=mode, scale=2)
    pixels = np.full((40, 40, 3), 6000, np.uint16)
    result = denoise_frame(frame_of(pixels, LINEAR_ICC), engine, InferenceSettings(mode, 1.0)).frame
    assert result.pixels.shape == (80, 80, 3)
    assert np.abs(result.pixels.astype(int) - 6000).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (1500, 2100)])
def test_every_channel_and_column_says_how_far_the_range_goes(height: int, width: int) -> None:
    for part in (np.s_[:, :, 2], np.s_[:, 1::4]):
        pixels = np.full((height, width, 3), 0.25, np.float32)
        pixels[part] = 4.0
        tone = tone_for(frame_of(pixels))
        assert tone
        assert tone.stored[-1] == pytest.approx(4.0), "what lies above it would keep its noise"


@pytest.mark.parametrize(
    "nonsense",
    [
        Parametric(-1.0),
        Parametric(0.0),
        Parametric(1 / 2.2),
        Parametric(1.0, -1.0, 1.0),
        Parametric(30000.0, 32000.0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_curve_that_no_photo_has_is_not_believed(nonsense: Parametric) -> None:
    for pixels in (encoded_noisy()[0], encoded_noisy("float32")[0] + np.float32(0.2)):
        icc = rgb_profile(SRGB_PRIMARIES, nonsense, "broken")
        result = denoise_frame(frame_of(pixels, icc), MeanEngine(), InferenceSettings(strength=1.0))
        expected = denoise_frame(frame_of(pixels), MeanEngine(), InferenceSettings(strength=1.0))
        np.testing.assert_array_equal(result.frame.pixels, expected.frame.pixels)


def test_a_transfer_function_that_falls_is_not_believed(tmp_path: Path) -> None:
    falling = [(301, "H", 256, tuple(range(65280, -1, -256)), True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb", extratags=falling)
    assert tone_for(read_frame(tmp_path / "a.tif")) is None
