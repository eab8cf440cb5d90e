"""`nsp evaluate` on SIDD's and DND's own files: tiny ones of the same form."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from run_nsp import Finished

from nsp_pipeline.denoise.photo import InferenceSettings
from nsp_pipeline.denoise.pixels import denoise_pixels
from nsp_pipeline.engines.choose import open_engine
from nsp_pipeline.profiles.bundle import Profile

scipy_io = pytest.importorskip("scipy.io")
h5py = pytest.importorskip("h5py")

Nsp = Callable[..., Finished]


def blocks(seed: int, images: int = 2, per_image: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (images, per_image, 24, 24, 3), dtype=np.uint8)


def save_v73(path: Path, name: str, array: NDArray[np.generic]) -> Path:
    """An array in a v7.3 file, as MATLAB writes it: 512 bytes of its own in front, axes the other way round."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file[name] = array.T
    return path


def denoised(profile: Profile, pixels: NDArray[np.generic], strength: float | None = None) -> NDArray[Any]:
    engine = open_engine(profile, mode="denoise")
    try:
        return denoise_pixels(pixels, engine, InferenceSettings("denoise", strength, None)).pixels
    finally:
        engine.close()


def dnd_set(folder: Path, *, newer: bool = False, box: tuple[float, ...] = (3, 5, 18, 24)) -> NDArray[np.float32]:
    """DND in small: two images of 32×40, a row of two boxes for each; returns the first image."""
    (folder / "images_srgb").mkdir(parents=True)
    tables = [np.array([box, (1, 1, 16, 20)], float), np.array([(10, 10, 32, 40), (2, 2, 17, 17)], float)]
    images = [np.random.default_rng(n).random((32, 40, 3), dtype=np.float32) for n in (1, 2)]
    for number, image in enumerate(images, 1):
        target = folder / "images_srgb" / f"{number:04}.mat"
        if newer:
            save_v73(target, "InoisySRGB", image)
        else:
            scipy_io.savemat(target, {"InoisySRGB": image})
    if newer:
        with h5py.File(folder / "info.mat", "w", userblock_size=512) as file:
            references = []
            for number, table in enumerate(tables):
                file[f"#refs#/{number}"] = table.T
                references.append(file[f"#refs#/{number}"].ref)
            file["info/boundingboxes"] = np.array([references], dtype=h5py.ref_dtype)
    else:
        elements = np.empty((1, 2), dtype=[("boundingboxes", object)])
        for number, table in enumerate(tables):
            elements[0, number] = (table,)
        scipy_io.savemat(folder / "info.mat", {"info": elements})
    return images[0]


@pytest.mark.parametrize("newer", [False, True])
def test_sidd_validation_is_measured_image_by_image(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, newer: bool
) -> None:
    pair = []
    for seed, name in enumerate(("ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb")):
        path = tmp_path / f"{name}.mat"
        if newer:
            save_v73(path, name, blocks(seed))
        else:
            scipy_io.savemat(path, {name: blocks(seed)})
        pair.append(path)

    ended = real_nsp("evaluate", tiny_profile.path, "--noisy", pair[0], "--clean", pair[1], "--strength", "0", "--json")

    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    error = ((blocks(0).astype(float) - blocks(1)) ** 2).mean((2, 3, 4))
    expected = pytest.approx((10 * np.log10(255**2 / error)).mean(), abs=1e-6)
    assert (document["noisy"]["psnr"], document["denoised"]["psnr"]) == (expected, expected)
    assert [row["name"] for row in document["pairs"]][:2] == ["image 01 block 01", "image 01 block 02"]


def test_sidd_files_that_do_not_belong_together_are_refused(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path
) -> None:
    scipy_io.savemat(tmp_path / "noisy.mat", {"noisy": blocks(0)})
    scipy_io.savemat(tmp_path / "short.mat", {"short": blocks(0, images=1)})
    scipy_io.savemat(tmp_path / "other.mat", {"x": np.zeros((3, 4))})
    (tmp_path / "text.mat").write_text("not MATLAB")
    (tmp_path / "cut.mat").write_bytes((tmp_path / "noisy.mat").read_bytes()[:700])
    for name, words in (
        ("short", "not of one set"),
        ("other", "the file holds x (3×4 double)"),
        ("text", "no MATLAB file"),
        ("cut", "damaged or cut short"),
    ):
        clean = tmp_path / f"{name}.mat"
        ended = real_nsp("evaluate", tiny_profile.path, "--noisy", tmp_path / "noisy.mat", "--clean", clean)
        assert ended.code == 2, name
        assert str(clean) in ended.err.replace("\n", "")
        assert words in " ".join(ended.err.split()), ended.err


def test_the_sidd_submission_is_the_denoised_bytes_in_order(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path
) -> None:
    source = tmp_path / "BenchmarkNoisyBlocksSrgb.mat"
    scipy_io.savemat(source, {source.stem: blocks(3)})
    target = tmp_path / "SubmitSrgb.csv"

    assert real_nsp("evaluate", tiny_profile.path, "--noisy", source, "--submission", target).code == 0

    header, *rows = target.read_text().splitlines()
    assert header == "ID,BLOCK"
    assert [int(row.split(",")[0]) for row in rows] == list(range(6))
    pixels = np.frombuffer(base64.b64decode(rows[4].split(",")[1]), np.uint8).reshape(24, 24, 3)
    np.testing.assert_array_equal(pixels, denoised(tiny_profile, blocks(3)[1, 1]))
    before = target.read_bytes()
    again = real_nsp("evaluate", tiny_profile.path, "--noisy", source, "--submission", target)
    assert (again.code, target.read_bytes()) == (4, before)
    assert "never overwritten" in again.err


@pytest.mark.parametrize("newer", [False, True])
def test_the_dnd_submission_holds_the_denoised_boxes(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path, newer: bool
) -> None:
    image = dnd_set(tmp_path / "dnd", newer=newer)
    target = tmp_path / "submission"

    ended = real_nsp("evaluate", tiny_profile.path, "--noisy", tmp_path / "dnd", "--submission", target)

    assert ended.code == 0, ended.err
    assert sorted(file.name for file in target.iterdir()) == ["0001.mat", "0002.mat"]
    written = scipy_io.loadmat(target / "0001.mat")
    crops = written["Idenoised"].ravel()
    assert [crop.shape for crop in crops] == [(16, 20, 3), (16, 20, 3)]
    assert crops[0].dtype == np.float32
    np.testing.assert_allclose(crops[0], denoised(tiny_profile, image[2:18, 4:24]), atol=1e-5)


def test_dnd_files_of_another_set_leave_nothing_behind(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    dnd_set(tmp_path / "dnd", box=(3, 5, 33, 24))
    target = tmp_path / "submission"

    outside = real_nsp("evaluate", tiny_profile.path, "--noisy", tmp_path / "dnd", "--submission", target)
    (tmp_path / "dnd" / "images_srgb" / "0002.mat").unlink()
    missing = real_nsp("evaluate", tiny_profile.path, "--noisy", tmp_path / "dnd", "--submission", target)

    assert (outside.code, missing.code) == (2, 2)
    assert "0001.mat" in outside.err
    assert "0002.mat" in missing.err.replace("\n", "")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["dnd"]
