"""Night photos of phones come out as bright as what was photographed, and no other photo changes its brightness."""

import numpy as np
import pytest
from night_photos import curve, cut_off_at_black, dark_room, eight_bit, night_photo, shared

import nsp_pipeline as nsp
from nsp_pipeline.core.bent_noise import NODES
from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.noise_kind import as_unsmoothed, is_too_strong, is_unsmoothed
from nsp_pipeline.core.noise_prior import NoisePrior, level_of
from nsp_pipeline.denoise.mosaic import noises_of
from nsp_pipeline.denoise.plausible import require_its_colours
from nsp_pipeline.errors import UntrustedResultError
from nsp_pipeline.noise import estimate
from nsp_pipeline.noise.bent import brightening_of
from nsp_pipeline.noise.estimate import estimate_noise

pytest.importorskip("onnxruntime")


def test_a_night_photo_becomes_as_bright_as_its_scene() -> None:
    noisy, scene = night_photo()
    dark = scene.mean() - noisy.mean()
    assert dark > 2
    clean = nsp.denoise(noisy, "fast", engine="onnx", device="cpu")
    assert clean.mean() == pytest.approx(scene.mean(), abs=0.35 * dark)


def test_what_becomes_brighter_is_the_estimate_and_strength_0_the_very_photo() -> None:
    noisy, scene = night_photo()
    with nsp.Denoiser("fast", engine="onnx", device="cpu") as denoiser:
        half, whole = (denoiser.denoise(noisy, strength).mean() for strength in (0.5, 1.0))
        assert (denoiser.denoise(noisy, 0.0) == noisy).all()
    assert whole - noisy.mean() > 0.65 * (scene.mean() - noisy.mean())
    assert half - noisy.mean() == pytest.approx((whole - noisy.mean()) / 2, abs=0.15)


@pytest.mark.parametrize("sigma", [5, 15, 30])
def test_noise_put_onto_a_finished_picture_brightens_nothing(sigma: float) -> None:
    picture = curve(dark_room())
    noise = np.random.default_rng(1).normal(0, sigma / 255, picture.shape)
    for values in (noise, shared(noise)):
        assert estimate_noise(eight_bit(picture + values)).brightening is None


def test_bent_noise_is_made_by_the_network_for_unsmoothed_noise() -> None:
    noisy, _ = night_photo()
    assert is_unsmoothed(estimate_noise(noisy).table)
    coarse = np.array([[4.0, 8.0, 1.0, 100.0]], np.float32) / np.float32(255**2)
    assert (as_unsmoothed(coarse) == coarse).all()
    kinds = np.array([[4.0, 8.0, 1.0, 2.4**2]], np.float32) / np.float32(255**2)
    assert not is_unsmoothed(np.sqrt(kinds).T[None])
    capped = np.sqrt(as_unsmoothed(kinds))
    assert is_unsmoothed(capped.T[None])
    assert (capped[0, :3] == np.sqrt(kinds[0, :3])).all()


def test_tiles_of_a_night_photo_give_the_whole() -> None:
    noisy, _ = night_photo()
    with nsp.Denoiser("fast", engine="onnx", device="cpu") as denoiser:
        whole, tiled = (denoiser.denoise(noisy, tile=side).astype(int) for side in (512, 128))
    assert np.abs(whole - tiled).max() <= 1
    assert (whole != tiled).mean() < 0.002


def test_a_frame_around_a_night_photo_keeps_its_colour() -> None:
    noisy, _ = night_photo()
    noisy[:60], noisy[-60:] = 30, 0
    clean = nsp.denoise(noisy, "fast", engine="onnx", device="cpu")
    assert np.abs(clean[10:40].astype(int) - 30).mean() < 1
    assert clean[-40:-10].mean() < 1


def test_the_two_greens_of_a_mosaic_are_brightened_alike() -> None:
    noisy, _ = night_photo()
    plain = eight_bit(curve(dark_room()))
    bent = noises_of([noisy, np.roll(noisy, 5, 0)])
    assert bent[0].own_means
    assert np.array_equal(np.asarray(bent[0].brightening), np.asarray(bent[1].brightening))
    assert np.array_equal(np.asarray(bent[0].channel_brightening), np.asarray(bent[1].channel_brightening))
    assert not any(noise.own_means for noise in noises_of([noisy, plain]))


def test_few_flat_places_tell_little() -> None:
    noisy, _ = night_photo()
    level = estimate_noise(noisy)
    whole = to_unit(noisy).transpose(2, 0, 1)[None]
    changes = [brightening_of(whole[:, :, :side, :side], level) for side in (40, 72, 256)]
    most = [0.0 if change is None else float(change.max()) for change in changes]
    assert most[0] == 0 < most[2]
    assert most[0] <= most[1] <= most[2]


def test_each_channel_is_brightened_by_its_own_noise() -> None:
    light = dark_room()
    # As white balance by tungsten light makes it.
    noise = shared(np.random.default_rng(0).normal(size=light.shape)) * np.array([0.7, 0.8, 1.5])
    noisy = eight_bit(curve(light + 0.03 * np.sqrt(light / 0.06) * noise))
    level = estimate_noise(noisy)
    assert level.channel_brightening is not None
    red, green, blue = level.channel_brightening.max(1)
    assert red < green < blue == pytest.approx(level.most_brightened)
    off = curve(light).mean((0, 1)) * 255 - noisy.mean((0, 1))
    clean = nsp.denoise(noisy, "fast", engine="onnx", device="cpu")
    left = curve(light).mean((0, 1)) * 255 - clean.mean((0, 1))
    assert off[2] > 3 * off[0]
    assert np.abs(left).max() < 0.3 * off[2]


def darkest_room() -> np.ndarray:
    """So dark that hardly a block is without black samples."""
    return dark_room()[:256, :256] / 2.5


def test_noise_that_is_cut_off_nearly_everywhere_is_seen_to_be_bent() -> None:
    light = darkest_room()
    noise = shared(np.random.default_rng(0).normal(size=light.shape))
    noisy, scene = eight_bit(curve(light + 0.013 * noise)), eight_bit(curve(light))
    assert (noisy <= 1).mean() > 0.02
    dark = scene.mean() - noisy.mean()
    assert dark > 1.5
    clean = nsp.denoise(noisy, "fast", engine="onnx", device="cpu")
    assert clean.mean() == pytest.approx(scene.mean(), abs=0.5 * dark)


@pytest.mark.parametrize("sigma", [8, 15])
def test_noise_put_onto_a_dark_picture_and_cut_off_brightens_nothing(sigma: float) -> None:
    noise = np.random.default_rng(1).normal(0, sigma / 255, (256, 256, 3))
    for values in (noise, shared(noise)):
        assert estimate_noise(eight_bit(curve(darkest_room()) + values)).brightening is None


def test_faint_noise_brightens_nothing() -> None:
    noisy, _ = night_photo(strength=0.002)
    assert estimate_noise(noisy).brightening is None


def test_texture_that_leans_is_no_noise() -> None:
    rng = np.random.default_rng(2)
    hairs = (rng.random((512, 512, 1)) < 0.05) * 0.3
    picture = np.clip(0.35 - sum(np.roll(hairs, (k, k), (0, 1)) for k in range(6)), 0.05, 1).repeat(3, 2)
    assert estimate_noise(eight_bit(picture + rng.normal(0, 2 / 255, picture.shape))).brightening is None


def strong_photo(strength: float = 1.0, floor: float = 0.06) -> np.ndarray:
    """Noise as coarse in its colours as cameras leave it, and stronger than they do."""
    rng = np.random.default_rng(3)
    dark = floor + 0.3 * dark_room()[:256, :320]
    coarse = rng.normal(0, 0.1, (64, 80, 3)).repeat(4, 0).repeat(4, 1)
    noise = rng.normal(0, 0.04, (256, 320, 1)) + coarse - coarse.mean(2, keepdims=True)
    return eight_bit(dark + strength * noise)


def test_noise_stronger_than_cameras_leave_it_keeps_the_photos_own_means() -> None:
    photo = strong_photo()
    level = estimate_noise(photo)
    assert is_too_strong(level.table)
    assert is_unsmoothed(level.table)
    assert (level.own_means, level.most_brightened) == (True, 0.0)
    clean = nsp.denoise(photo, "fast", engine="onnx", device="cpu")
    assert np.abs(clean.mean((0, 1)) - photo.mean((0, 1))).max() < 0.5
    faint = estimate_noise(strong_photo(0.2))
    assert (is_too_strong(faint.table), faint.own_means) == (False, False)


def test_so_it_does_where_it_is_measured_or_known(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = strong_photo()
    known = NoisePrior(level_of(estimate_noise(photo).table[0]), np.full((4, 8), 0.1))
    prior = estimate_noise(photo, prior=known)
    assert prior.known_share
    assert prior.own_means
    monkeypatch.setattr(estimate, "load_estimator", lambda: None)
    measured = estimate_noise(np.tile(strong_photo(floor=0.4), (3, 3, 1)))
    assert is_too_strong(measured.table)
    assert measured.own_means


def test_the_two_greens_of_a_mosaic_keep_their_own_means_together() -> None:
    strong = strong_photo()
    plain = eight_bit(dark_room()[:256, :320])
    for pictures in ([strong, np.roll(strong, 5, 0)], [plain, strong], [strong, plain]):
        noises = noises_of(pictures)
        assert [noise.own_means for noise in noises] == [True, True]
        assert all(noise.brightening is None for noise in noises)
    bent, _ = night_photo()
    both = noises_of([bent, strong])
    assert all(noise.own_means and noise.brightening is None for noise in both)


def test_dark_noise_cut_off_at_black_is_brightened_less() -> None:
    level = estimate_noise(cut_off_at_black())
    assert level.brightening is not None
    assert level.brightening.shape == (NODES,)
    # At 8 % the samples are cut off, at 30 % they are not: bent alone, the darker would be brightened more.
    at_dark, at_middle = np.interp([0.03, 0.3], np.linspace(0, 1, NODES), level.brightening)
    assert at_dark < at_middle


def test_more_light_than_the_noise_explains_is_still_no_photo() -> None:
    noisy, _ = night_photo()
    require_its_colours(noisy, noisy + np.uint8(8), brightened=7 / 255)
    with pytest.raises(UntrustedResultError):
        require_its_colours(noisy, noisy + np.uint8(25), brightened=7 / 255)
    with pytest.raises(UntrustedResultError):
        require_its_colours(noisy, noisy + np.uint8(8))
