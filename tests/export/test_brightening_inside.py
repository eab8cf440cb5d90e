"""Night photos of phones: an exported file that finds the noise itself makes them as bright as `nsp denoise` does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from night_photos import curve, cut_off_at_black, dark_room, eight_bit, night_photo, shared
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import nsp_pipeline as nsp
from nsp_export.agreement import BRIGHTENED_SIZE, CHECK_SIZE, LEAST_PSNR, ParityError, photo_like
from nsp_export.by_noise import by_noise
from nsp_export.noise_inside import _check, with_noise_inside
from nsp_export.variants import with_integers
from nsp_pipeline.core.bent_noise import NODES, brightenings
from nsp_pipeline.core.psnr import psnr_of
from nsp_pipeline.noise import estimate
from nsp_pipeline.noise.estimate import estimate_noise
from nsp_pipeline.profiles.choose import find_profile


def gravel() -> NDArray[np.uint8]:
    """Texture from edge to edge, which passes for grey noise, under white noise."""
    rng = np.random.default_rng(1)
    stones = rng.normal(0, 30, (16, 22)).repeat(12, 0).repeat(12, 1)[:192, :256, None]
    sand, noise = rng.normal(0, 8, (192, 256, 1)), rng.normal(0, 4, (192, 256, 3))
    return eight_bit((110 + stones + sand + noise) / 255)


def strong_and_coarse() -> NDArray[np.uint8]:
    """Noise with coarse colours as of a camera that smooths it, but stronger."""
    rng = np.random.default_rng(2)
    colours = rng.normal(0, 18 / 255, (64, 80, 3)).repeat(4, 0).repeat(4, 1)
    grey = rng.normal(0, 10 / 255, (256, 320, 1))
    return eight_bit(0.2 + 0.5 * curve(dark_room())[:256, :320] + grey + colours - colours.mean(2, keepdims=True))


def cobbles() -> NDArray[np.uint8]:
    """Texture that seems coarse grey noise, under white noise."""
    rng = np.random.default_rng(4)
    stones = blurred(rng.normal(0, 20, (256, 320)))[..., None]
    return eight_bit((120 + stones + rng.normal(0, 8, (256, 320, 3))) / 255)


def by_tungsten() -> NDArray[np.uint8]:
    """A night photo whose white balance made the noise of blue stronger."""
    light = dark_room()[:320, :320]
    noise = shared(np.random.default_rng(5).normal(size=light.shape)) * np.array([0.7, 0.8, 1.5])
    return eight_bit(curve(light + 0.03 * np.sqrt(light / 0.06) * noise))


def darker() -> NDArray[np.uint8]:
    light = dark_room()[:256, :320] / 2.5
    return eight_bit(curve(light + 0.013 * shared(np.random.default_rng(6).normal(size=light.shape))))


def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in (0, 1):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return values


NIGHT, SCENE = night_photo()
WHITE = np.random.default_rng(1).normal(0, 15 / 255, (256, 320, 3))
MENDED = {
    "a night photo": NIGHT,
    "cut off at black": cut_off_at_black(),
    "of no multiple of a window": NIGHT[96:400, 8:392],
    "stronger than cameras leave it": strong_and_coarse(),
    "each channel's noise another": by_tungsten(),
    "cut off nearly everywhere": darker(),
}
OTHERS = {
    "white noise": eight_bit(curve(dark_room())[:256, :320] + WHITE),
    "faint white noise": eight_bit(curve(dark_room())[:256, :320] + WHITE / 4),
    "white noise and texture": gravel(),
    "white noise and coarse texture": cobbles(),
    "faint noise": night_photo(0.002)[0],
    "grey": NIGHT[..., :1].repeat(3, axis=2),
    "a drawing": eight_bit(np.where(dark_room() > 0.1, 0.8, 0.3)),
    "smaller than a window's block": NIGHT[:24, :40],
    "too small to tell": NIGHT[:8, :200],
    "black": np.zeros((64, 64, 3), np.uint8),
}


@pytest.fixture(scope="module")
def networks() -> bytes:
    profile = find_profile("fast")
    assert profile.inner
    return by_noise({kind: part.read("model.onnx") for kind, part in profile.by_noise.items()})


@pytest.fixture(scope="module")
def inside(networks: bytes) -> bytes:
    return with_noise_inside(networks)


@pytest.fixture(scope="module")
def session(inside: bytes) -> Any:
    """Of the file for 8-bit pixels, which also shows by how much it brightens."""
    model = onnx.load_from_string(with_integers(inside, "uint8"))
    model.graph.output.append(helper.make_tensor_value_info("brightening", onnx.TensorProto.FLOAT, [NODES]))
    model.graph.output.append(helper.make_tensor_value_info("bent", onnx.TensorProto.BOOL, []))
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.fixture(scope="module")
def denoiser() -> Iterator[nsp.Denoiser]:
    with nsp.Denoiser("fast", engine="onnx", device="cpu") as denoiser:
        yield denoiser


def run(session: Any, pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """The file's photo (H, W, 3), and its brightening; None where the photo's local means are not asked for."""
    clean, change, bent = session.run(["denoised", "brightening", "bent"], {"image": pixels.transpose(2, 0, 1)[None]})
    return np.asarray(clean[0].transpose(1, 2, 0)), change if bent else None


@pytest.mark.parametrize("kind", [*MENDED, *OTHERS])
def test_a_photo_comes_out_as_from_nsp_denoise(session: Any, denoiser: nsp.Denoiser, kind: str) -> None:
    pixels = {**MENDED, **OTHERS}[kind]
    clean, change = run(session, pixels)
    error = (clean.astype(float) - denoiser.denoise(pixels)) / 255
    assert psnr_of(float((error**2).mean())) >= 60
    level = estimate_noise(pixels)
    assert (level.own_means, change is not None) == (kind in MENDED, kind in MENDED)
    if change is not None:
        expected = np.zeros(NODES) if level.brightening is None else level.brightening
        np.testing.assert_allclose(change, expected, atol=1e-3 / 255)


def test_coarse_texture_under_white_noise_is_one_of_these_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    told = estimate_noise(cobbles()).table[0, 0].mean()
    monkeypatch.setattr(estimate, "as_white", lambda kinds, *_: kinds)
    assert told < 0.9 * estimate_noise(cobbles()).table[0, 0].mean()


def test_a_night_photo_becomes_as_bright_as_its_scene(session: Any) -> None:
    dark = SCENE.mean() - NIGHT.mean()
    assert dark > 2
    assert run(session, NIGHT)[0].mean() == pytest.approx(SCENE.mean(), abs=0.35 * dark)


def test_a_file_that_brightens_nothing_is_not_given_out(networks: bytes, inside: bytes) -> None:
    model = onnx.load_from_string(inside)
    tables = [
        attribute.t
        for node in model.graph.node
        for attribute in node.attribute
        if list(attribute.t.dims) == list(brightenings().shape)
    ]
    assert len(tables) == 1
    tables[0].CopyFrom(numpy_helper.from_array(np.zeros_like(brightenings(), np.float32)))
    with pytest.raises(ParityError, match="away from nsp denoise"):
        _check(model.SerializeToString(), networks, 8)


def test_of_the_photos_that_a_file_is_checked_with_one_is_brightened_and_one_is_not() -> None:
    small, large = (
        estimate_noise(photo_like(size)[0].transpose(1, 2, 0)).brightening for size in (CHECK_SIZE, BRIGHTENED_SIZE)
    )
    assert small is None
    assert large is not None
    # Far more than LEAST_PSNR lets pass.
    assert psnr_of(float((large[8:33] ** 2).mean())) < LEAST_PSNR - 6


def test_a_value_that_is_no_number_does_not_stop_the_file(inside: bytes) -> None:
    image = photo_like(CHECK_SIZE)
    image[0, 1, 60, 70] = np.nan
    (clean,) = onnxruntime.InferenceSession(inside).run(["denoised"], {"image": image})
    assert np.isnan(clean).any()
