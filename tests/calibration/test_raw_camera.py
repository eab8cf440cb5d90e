"""The simulated RAW camera: LibRaw, which knows nothing of it, finds the truth in its files."""

from pathlib import Path

import numpy as np
import pytest
import rawpy

from nsp_pipeline.calibration.simulation.raw_camera import WHITES, DngOptions, RawCamera, photograph, write_raw

COLOURS = np.random.default_rng(3).uniform(0.1, 0.8, (3, 4, 3))
SCENE = COLOURS.repeat(48, axis=0).repeat(48, axis=1)


@pytest.mark.parametrize("light", WHITES)
def test_libraw_develops_its_dng_to_the_colours_of_the_scene_under_any_light(tmp_path: Path, light: str) -> None:
    shot = photograph(RawCamera(), SCENE, np.random.default_rng(0), light=light)
    with rawpy.imread(str(write_raw(tmp_path / "a.dng", shot))) as raw:
        linear = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(1, 1)) / 65535
    found = linear.reshape(3, 48, 4, 48, 3)[:, 12:36, :, 12:36].mean((1, 3))
    # LibRaw adapts from one white to another more simply than the simulated light does.
    np.testing.assert_allclose(found, COLOURS, rtol={"D65": 0.015, "D50": 0.12, "A": 0.6}[light], atol=0.01)


def test_its_noise_has_the_variance_that_it_says(tmp_path: Path) -> None:
    camera, flat = RawCamera(), np.full((256, 256, 3), 0.4)
    for iso in (100, 6400):
        shot = photograph(camera, flat, np.random.default_rng(1), iso=iso)
        a, b = camera.noise(iso)
        signal = (shot.mosaic - float(camera.black)) / (camera.white - camera.black)
        for row, column in ((0, 0), (0, 1), (1, 1)):
            plane, mean = signal[row::2, column::2], shot.clean_mosaic[row, column]
            assert plane.mean() == pytest.approx(mean, rel=0.01)
            assert plane.var() == pytest.approx(a * mean + b, rel=0.05)


def test_the_active_area_may_begin_at_odd_pixels(tmp_path: Path) -> None:
    shot = photograph(RawCamera(pattern="GRBG"), SCENE, np.random.default_rng(0))
    path = write_raw(tmp_path / "a.dng", shot, DngOptions(border=(3, 5, 2, 1)))
    with rawpy.imread(str(path)) as raw:
        linear = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(1, 1)) / 65535
    np.testing.assert_allclose(linear[12:36, 12:36].mean((0, 1)), COLOURS[0, 0], rtol=0.02)


def test_shading_darkens_the_corners_and_not_the_middle() -> None:
    flat = np.full((128, 128, 3), 0.4)
    shot = photograph(RawCamera(shading=0.5), flat, np.random.default_rng(0))
    whole = photograph(RawCamera(), flat, np.random.default_rng(0))
    ratio = shot.clean_mosaic / whole.clean_mosaic
    assert ratio[64, 64] == pytest.approx(1, abs=0.001)
    assert ratio[0, 0] == pytest.approx(0.5, abs=0.01)
