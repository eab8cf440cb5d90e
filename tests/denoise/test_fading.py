"""A network that looks everywhere: its tiles have one size, overlap, and leave no seam."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nsp_pipeline.denoise.photo import InferenceSettings, Inferred, denoise_frame
from nsp_pipeline.engines.engine import EngineInfo
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata


class Everywhere:
    """Gives every tile's pixels back, enlarged by repeating, and adds a level of the tile's own."""

    def __init__(self, *, scale: int = 1, levels: tuple[float, ...] = (0.0,)) -> None:
        mode = "denoise" if scale == 1 else "sr"
        self.info = EngineInfo("fake", "", "fp32", mode, scale, 32, 32, "fake", "0" * 64, tiling="blended", tile=128)
        self.levels = levels
        self.shapes: list[tuple[int, ...]] = []

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(1, 3, H, W) in, (1, 3, scale·H, scale·W) out."""
        self.shapes.append(image.shape)
        level = np.float32(self.levels[len(self.shapes) % len(self.levels)])
        return image.repeat(self.info.scale, 2).repeat(self.info.scale, 3) + level

    def close(self) -> None:
        """Nothing."""


def run(pixels: NDArray[Any], engine: Everywhere, **settings: Any) -> Inferred:
    frame = Frame(pixels, None, Kind.TIFF, Metadata(), Camera())
    mode = engine.info.mode
    return denoise_frame(frame, engine, InferenceSettings(mode, 1.0 if mode == "denoise" else None, **settings))


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(301, 517, 3), (20, 301, 3), (130, 20, 1)])
def test_what_all_tiles_agree_on_is_the_result(scale: int, size: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random(size, dtype=np.float32)
    inferred = run(pixels, Everywhere(scale=scale))

    np.testing.assert_allclose(inferred.frame.pixels, pixels.repeat(scale, 0).repeat(scale, 1), atol=1e-6)
    assert inferred.strength == pytest.approx(1.0)


def test_tiles_that_disagree_leave_no_seam() -> None:
    engine = Everywhere(levels=(0.0, 0.2))
    result = run(np.full((400, 600, 3), 0.4, np.float32), engine).frame.pixels

    assert np.ptp(result) == pytest.approx(0.2, abs=1e-3)
    assert np.abs(np.diff(result, axis=0)).max() < 0.011
    assert np.abs(np.diff(result, axis=1)).max() < 0.011


def test_tiles_have_the_size_the_network_wants_unless_another_is_asked_for() -> None:
    wanted, asked = Everywhere(), Everywhere()
    counted: list[tuple[int, int]] = []
    frame = Frame(np.zeros((400, 600, 3), np.uint8), None, Kind.TIFF, Metadata(), Camera())
    denoise_frame(frame, wanted, InferenceSettings(strength=1.0), lambda done, total: counted.append((done, total)))
    run(frame.pixels, asked, tile=200)

    assert set(wanted.shapes) == {(1, 3, 128, 128)}
    assert counted == [(done, 24) for done in range(1, 25)]
    assert set(asked.shapes) == {(1, 3, 224, 224)}
