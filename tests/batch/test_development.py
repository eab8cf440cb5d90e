"""How RAW is developed stands in the settings of a run; a profile serves photos developed as for its calibration."""

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_engine
import numpy as np
import pytest
import tifffile
from run_nsp import run_here

from nsp_pipeline.calibration.simulation.raw_camera import DngOptions, RawCamera, photograph, write_raw
from nsp_pipeline.profiles.bundle import Profile

SCENE = np.full((64, 96, 3), 0.2)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    shot = photograph(RawCamera(), SCENE, np.random.default_rng(0), iso=3200)
    return write_raw(tmp_path / "in" / "a.dng", shot, DngOptions(noise_profile=True))


def calibrated(development: dict[str, Any] | None) -> Any:
    def find_profile(name: str) -> Profile:
        spec: Any = SimpleNamespace(name=name, backbone=SimpleNamespace(tiling="exact"), development=development)
        return Profile(Path("a.nsp"), spec, "0" * 64, {"model.onnx": b""})

    return fake_engine.fake_sources(find_profile=find_profile)


def brightness(path: Path) -> float:
    return float(tifffile.imread(path).mean()) / 65535


def test_exposure_stands_in_the_manifest_and_makes_photos_again(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, out = fake_engine.fake_sources(), tmp_path / "out"
    assert run_here(capsys, "denoise", photo.parent, out, given=given).code == 0
    plain = brightness(out / "a.tif")
    recipe = tmp_path / "bright.toml"
    recipe.write_text('[denoise]\nexposure = 1.0\nwhite_balance = "camera"\n')
    again = run_here(capsys, "denoise", photo.parent, out, "--recipe", recipe, "--json", given=given)
    assert json.loads(again.out)["summary"]["done"] == 1
    assert brightness(out / "a.tif") > 1.2 * plain
    connection = sqlite3.connect(out / ".nsp" / "manifest.sqlite")
    (settings,) = connection.execute(
        "SELECT settings.text FROM settings JOIN photos ON photos.settings = hash"
    ).fetchone()
    connection.close()
    assert json.loads(settings)["development"]["exposure"] == 1.0


def test_a_profile_is_used_as_it_was_calibrated_and_refused_otherwise(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = calibrated({"exposure": 1.0, "colour_space": "srgb"})
    command = ("denoise", photo, "--profile", "mine")
    assert run_here(capsys, "denoise", photo, tmp_path / "plain.tif", given=fake_engine.fake_sources()).code == 0
    assert run_here(capsys, *command, tmp_path / "a.tif", given=given).code == 0
    assert brightness(tmp_path / "a.tif") > 1.2 * brightness(tmp_path / "plain.tif")
    refused = run_here(capsys, *command, tmp_path / "b.tif", "--colour-space", "p3", given=given)
    assert refused.code == 2
    assert "--colour-space p3: profile mine was calibrated with srgb" in refused.err


def test_a_dng_of_a_run_has_less_noise_by_its_own_word(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_here(
        capsys, "denoise", photo.parent, tmp_path / "out", "--format", "dng", "--strength", "1",
        given=fake_engine.fake_sources(),
    )  # fmt: skip
    assert done.code == 0, done.err
    with tifffile.TiffFile(photo) as before, tifffile.TiffFile(tmp_path / "out" / "a.dng") as after:
        picture = after.pages[0].pages[0]
        assert picture.tags[51041].value[0] < before.pages[0].tags[51041].value[0]
        green, mosaic = picture.asarray()[..., 1], before.pages[0].asarray()[::2, 1::2]
        assert green.std() < 0.6 * mosaic.std() * 65535 / (16383 - 512)
    assert run_here(
        capsys, "denoise", photo.parent, tmp_path / "out", "--format", "dng", "--strength", "1",
        given=fake_engine.fake_sources(),
    ).code == 0  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "sr"], "size of its sensor"),
        (["--bit-depth", "8"], "stores 16 bits"),
        (["--quality", "90"], "of JPEG"),
        (["--exposure", "1"], "developed later"),
    ],
)
def test_what_a_dng_has_no_place_for_is_refused_before_any_work(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    given = fake_engine.fake_sources()
    refused = run_here(capsys, "denoise", photo, tmp_path / "a.dng", *options, given=given)
    assert (refused.code, words in refused.err) == (2, True)


@pytest.mark.parametrize("words", ["1,2", "0,1,1", "sunny", "nan,1,1"])
def test_a_white_balance_that_is_none_is_refused(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    given = fake_engine.fake_sources()
    refused = run_here(capsys, "denoise", photo, tmp_path / "a.tif", "--white-balance", words, given=given)
    assert refused.code == 2
    assert f"white balance '{words}'" in refused.err


def test_a_jpeg_among_raw_files_fails_alone(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from batch_runs import save_photo

    save_photo(photo.with_name("b.jpg"))
    given = fake_engine.fake_sources()
    ended = run_here(capsys, "denoise", photo.parent, tmp_path / "out", "--format", "dng", given=given)
    assert ended.code == 1
    assert "only a RAW file can become a DNG" in ended.err
    assert (tmp_path / "out" / "a.dng").exists()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mosaic_comes_back_as_the_mosaic_that_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], orientation: int
) -> None:
    camera = RawCamera(pattern="GBRG")
    shot = photograph(camera, SCENE, np.random.default_rng(0), iso=3200)
    # An even active area: LibRaw takes a line off odd ones.
    options = DngOptions(border=(2, 4, 0, 2), crop=(9, 5, 70, 50), orientation=orientation)
    photo = write_raw(tmp_path / "a.dng", shot, options)
    command = ("denoise", photo, tmp_path / "b.dng", "--domain", "raw")
    assert run_here(capsys, *command, "--strength", "0", given=fake_engine.fake_sources()).code == 0
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        picture = tiff.pages[0].pages[0]
        tags = {tag.name: tag.value for tag in picture.tags}
        mosaic = picture.asarray().astype(float)
    assert (tags["PhotometricInterpretation"], bytes(tags["CFAPattern"])) == (32803, bytes((1, 2, 0, 1)))
    assert (tags["DefaultCropOrigin"], tags["DefaultCropSize"]) == ((9, 1, 5, 1), (70, 1, 50, 1))
    signal = (mosaic - tags["BlackLevel"]) / (65535 - tags["BlackLevel"])
    expected = (shot.mosaic.astype(float) - camera.black) / (camera.white - camera.black)
    np.testing.assert_allclose(signal, expected, atol=2e-5)


def test_four_planes_of_a_mosaic_each_lose_their_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shot = photograph(RawCamera(), SCENE, np.random.default_rng(0), iso=3200)
    photo = write_raw(tmp_path / "a.dng", shot)
    command = ("denoise", photo, tmp_path / "b.dng", "--domain", "raw", "--strength", "1")
    assert run_here(capsys, *command, given=fake_engine.fake_sources()).code == 0
    with tifffile.TiffFile(tmp_path / "b.dng") as tiff:
        mosaic = tiff.pages[0].pages[0].asarray().astype(float)
    for row in (0, 1):
        for column in (0, 1):
            before, after = (plane[row::2, column::2] for plane in (shot.mosaic.astype(float), mosaic))
            assert after.std() / 65535 < 0.5 * before.std() / (16383 - 512)


def test_a_mosaic_that_is_no_bayer_pattern_is_refused_for_raw_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_raw(
        tmp_path / "a.dng", photograph(RawCamera(), np.full((528, 528, 3), 0.2), np.random.default_rng(0))
    )
    cell = bytes(
        (1, 1, 0, 1, 1, 2, 1, 1, 2, 1, 1, 0, 2, 0, 1, 0, 2, 1, 1, 1, 2, 1, 1, 0, 1, 1, 0, 1, 1, 2, 0, 2, 1, 2, 0, 1)
    )
    with tifffile.TiffFile(photo, mode="r+b") as tiff:
        tiff.pages[0].tags["CFARepeatPatternDim"].overwrite((6, 6))
        tiff.pages[0].tags["CFAPattern"].overwrite(cell)
    given = fake_engine.fake_sources()
    refused = run_here(capsys, "denoise", photo, tmp_path / "b.dng", "--domain", "raw", given=given)
    assert refused.code == 1
    assert "this sensor's is X-Trans" in refused.err
    assert run_here(capsys, "denoise", photo, tmp_path / "c.dng", given=given).code == 0
