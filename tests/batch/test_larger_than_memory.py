"""A photo that takes more than --memory goes through on the disk, and comes out the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from batch_runs import hashes
from numpy.typing import NDArray
from run_nsp import Finished

from nsp_pipeline.batch import headroom, pipeline
from nsp_pipeline.machine import disk_array

Nsp = Callable[..., Finished]
SIDES = 90, 100


def noisy(channels: int, dtype: Any) -> NDArray[Any]:
    values = np.random.default_rng(0).normal(0.5, 0.08, (*SIDES, channels)).clip(0, 1)
    return (values * np.iinfo(dtype).max).astype(dtype) if np.dtype(dtype).kind != "f" else values.astype(dtype)


@pytest.mark.parametrize(
    ("channels", "dtype", "stored", "options"),
    [
        (3, np.uint16, {"compression": "deflate", "predictor": True}, ()),
        (3, np.uint16, {"tile": (256, 256)}, ("--bit-depth", "8")),
        (4, np.uint16, {"extrasamples": ["unassalpha"]}, ("--mode", "sr")),
        (3, np.float32, {"byteorder": ">"}, ("--light", "linear")),
        (3, np.uint16, {}, ("--light", "linear", "--format", "png")),
    ],
)
def test_it_comes_out_the_same_as_in_memory(
    nsp: Nsp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    dtype: Any,
    stored: dict[str, Any],
    options: tuple[str, ...],
) -> None:
    (tmp_path / "in").mkdir()
    byteorder = stored.pop("byteorder", "<")
    with tifffile.TiffWriter(tmp_path / "in" / "a.tif", byteorder=byteorder) as tiff:
        tiff.write(noisy(channels, dtype), photometric="rgb", metadata=None, **stored)
    on_disk, used = headroom.on_disk, list[Path]()

    def noted(folder: Path) -> Any:
        used.append(folder)
        return on_disk(folder)

    monkeypatch.setattr(headroom, "on_disk", noted)
    roomy = nsp("denoise", tmp_path / "in", tmp_path / "roomy", *options)
    assert (roomy.code, used) == (0, []), roomy.err
    monkeypatch.setattr(pipeline, "photo_memory", lambda asked: 10_000)
    monkeypatch.setattr(disk_array, "PIECE", 5_000)
    tight = nsp("denoise", tmp_path / "in", tmp_path / "tight", *options)
    assert (tight.code, used) == (0, [tmp_path / "tight" / ".nsp"]), tight.err
    assert hashes(tmp_path / "roomy") == hashes(tmp_path / "tight")
