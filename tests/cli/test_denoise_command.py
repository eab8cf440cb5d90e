"""`nsp denoise` with its real engine: what must come back bit for bit, and that no torch is needed for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from noisy_photos import noisy_scene, save_archive
from numpy.typing import NDArray
from PIL import Image
from run_nsp import Finished, finish, start_python

from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.frames.read import read_frame
from nsp_pipeline.frames.write import OutputKind, write_frame
from nsp_pipeline.profiles.bundle import Profile

Nsp = Callable[..., Finished]
NO_TRAINING = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "safetensors", "nsp_export"}:
            # No ImportError: that could be caught, and hide the attempt.
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
"""


def test_strength_zero_is_the_photo_bit_for_bit_in_every_lossless_file(
    real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    eight = noisy_scene(0)
    pixels: dict[str, NDArray[Any]] = {
        "8": eight,
        "16": eight.astype(np.uint16) * 257 + 31,
        "float": (eight / 255).astype(np.float32),
    }
    for depth, colour in pixels.items():
        for channels in (1, 3):
            for alpha in (False, True):
                frame = Frame(
                    colour[..., :channels], colour[..., 1] if alpha else None, Kind.TIFF, Metadata(), Camera()
                )
                name = f"{depth}-{channels}-{alpha}"
                write_frame(frame, tmp_path / "in" / f"{name}.tif", kind=OutputKind.TIFF, bit_depth=None, quality=None)
                if depth != "float":
                    path = tmp_path / "in" / f"{name}-png.png"
                    write_frame(frame, path, kind=OutputKind.PNG, bit_depth=None, quality=None)
    tifffile.imwrite(tmp_path / "in" / "tiled.tif", pixels["16"], tile=(16, 16), compression="lzw", photometric="rgb")

    options = ["--profile", tiny_profile.path, "--strength", "0"]
    ended = real_nsp("denoise", tmp_path / "in", tmp_path / "out", *options)

    assert ended.code == 0, ended.err
    made = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    assert made == sorted(path.name for path in (tmp_path / "in").iterdir())
    assert len(made) == 21
    for name in made:
        before, after = read_frame(tmp_path / "in" / name), read_frame(tmp_path / "out" / name)
        assert (after.kind, after.pixels.dtype) == (before.kind, before.pixels.dtype), name
        np.testing.assert_array_equal(after.pixels, before.pixels, name)
        assert (after.alpha is None) == (before.alpha is None), name
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha, name)


def test_a_16_bit_gradient_keeps_its_levels_through_files(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    ramp = np.linspace(12_000, 50_000, 1500).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", np.tile(ramp[None, :, None], (24, 1, 3)), photometric="rgb")
    options = ["--profile", tiny_profile.path, "--strength", "1"]
    assert real_nsp("denoise", tmp_path / "in", tmp_path / "out", *options).code == 0
    made = read_frame(tmp_path / "out" / "a.tif").pixels
    assert made.dtype == np.uint16
    assert min(len(np.unique(made[..., channel])) for channel in range(3)) > 1000


def test_tiles_change_nothing_that_a_file_could_hold(real_nsp: Nsp, tiny_profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo = (noisy_scene(3, 151, 203) / 255).astype(np.float32)
    tifffile.imwrite(tmp_path / "in" / "a.tif", photo, photometric="rgb")
    for name, tile in (("whole", "4096"), ("tiled", "64")):
        options = ["--profile", tiny_profile.path, "--tile", tile]
        assert real_nsp("denoise", tmp_path / "in", tmp_path / name, *options).code == 0
    whole, tiled = (read_frame(tmp_path / name / "a.tif").pixels for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1e-5
    assert np.abs(whole - photo).max() > 0.01


def test_without_torch_the_package_its_help_and_a_whole_run_work(tiny_profile: Profile, tmp_path: Path) -> None:
    save_archive(tmp_path / "in", 1)
    code = f"""{NO_TRAINING}
import nsp_pipeline
import nsp_pipeline.cli.estimator, nsp_pipeline.cli.together  # which say what is missing when they are started
from nsp_pipeline.cli.main import main
for arguments in (["--help"], ["denoise", "--help"], ["profiles", "show", sys.argv[1]]):
    assert main(arguments) == 0
assert main(["denoise", sys.argv[2], sys.argv[3], "--profile", sys.argv[1]]) == 0
"""
    ended = finish(start_python("-c", code, tiny_profile.path, tmp_path / "in", tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert Image.open(tmp_path / "out" / "0.png").size == (64, 48)


@pytest.mark.parametrize("command", ["calibrate", "export"])
def test_what_needs_torch_fails_under_the_same_watch(tiny_profile: Profile, tmp_path: Path, command: str) -> None:
    """The watch itself works: a command that does import torch is caught."""
    save_archive(tmp_path / "in", 1)
    code = f"{NO_TRAINING}\nfrom nsp_pipeline.cli.main import main; main([sys.argv[1], sys.argv[2], '--out', 'x'])"
    ended = finish(start_python("-c", code, command, tmp_path / "in"))
    assert ended.code == 1
    assert "was imported" in ended.err
