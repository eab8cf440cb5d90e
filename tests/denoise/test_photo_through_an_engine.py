"""One photo through a real network: tiles, depths, strength, grey, alpha, sizes."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from tiny import tiny_model, tiny_profile_files, torch_result

from nsp_pipeline.core.depth import to_unit
from nsp_pipeline.core.shuffle import pad_to_multiple
from nsp_pipeline.denoise.photo import InferenceSettings, Inferred, denoise_frame
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.engines.onnx.runtime import OnnxRuntimeEngine
from nsp_pipeline.errors import EngineFailedError, UsageError
from nsp_pipeline.frames.frame import Camera, Frame, Kind, Metadata
from nsp_pipeline.profiles.bundle import MODEL_FILES, Profile, write_profile

WAYS = pytest.mark.parametrize(("mode", "pd_factor"), [("denoise", 1), ("denoise", 2), ("sr", 2), ("sr-direct", 1)])
SMALLEST = [(1, 1), (1, 2), (2, 1), (3, 5), (2, 401), (401, 2), (15, 300)]


@pytest.fixture(scope="module")
def engine_for(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine by mode and PD factor, opened once."""

    @cache
    def open_one(mode: str, pd_factor: int) -> Engine:
        fields, files = tiny_profile_files()
        files[MODEL_FILES[mode]] = tiny_model(mode, pd_factor)
        profile: Profile = write_profile(tmp_path_factory.mktemp("bundle") / "p.nsp", fields, files)
        return OnnxRuntimeEngine(profile, mode=mode)

    return open_one


class NoEngine:
    """An engine that must not be asked."""

    def __init__(self, info: Any) -> None:
        self.info = info

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Fail."""
        raise AssertionError("the network was asked")

    def close(self) -> None:
        """Nothing."""


class FarSightedEngine(NoEngine):
    """The mean of the four pixels at the very end of a halo of 6; outside the image all is black."""

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(1, 3, H, W) in and out."""
        far = np.pad(image, ((0, 0), (0, 0), (6, 6), (6, 6)))
        height, width = image.shape[2:]
        places = [(0, 6), (12, 6), (6, 0), (6, 12)]
        total = sum(far[..., y : y + height, x : x + width] for y, x in places)
        return np.asarray(total / np.float32(4), np.float32)


def frame_of(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Frame:
    return Frame(pixels, alpha, Kind.TIFF, Metadata(), Camera())


def noisy(height: int, width: int, channels: int = 3, dtype: str = "float32", seed: int = 0) -> NDArray[Any]:
    """A smooth scene with noise, its values well inside the range, so that clipping hides nothing."""
    rng = np.random.default_rng(seed)
    rows, cols = np.linspace(0, 3, height)[:, None, None], np.linspace(0, 4, width)[None, :, None]
    unit = 0.5 + 0.1 * np.sin(rows + cols * np.arange(1, channels + 1)) + rng.normal(0, 0.03, (height, width, channels))
    return unit.astype(dtype) if dtype == "float32" else np.rint(unit * np.iinfo(dtype).max).astype(dtype)


def run(frame: Frame, engine: Engine, mode: str, strength: float | None = None, tile: int | None = None) -> Inferred:
    return denoise_frame(frame, engine, InferenceSettings(mode, strength, tile))


@WAYS
def test_the_photo_goes_through_as_the_paper_says(engine_for: Any, mode: str, pd_factor: int) -> None:
    """Padded by reflection, through PyTorch step by step, and cut: the same as through the engine."""
    photo = noisy(37, 51)
    engine = engine_for(mode, pd_factor)
    padded = pad_to_multiple(photo.transpose(2, 0, 1), engine.info.multiple)[None]
    whole = torch_result(padded, mode, pd_factor)[0].transpose(1, 2, 0)
    scale = engine.info.scale
    expected = whole[: 37 * scale, : 51 * scale].clip(0, 1)

    result = run(frame_of(photo), engine, mode, 1.0).frame.pixels

    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize(
    ("mode", "pd_factor", "strength"),
    [
        ("denoise", 1, None),
        ("denoise", 2, None),
        ("denoise", 1, 1.0),
        ("denoise", 2, 1.0),
        ("sr", 2, None),
        ("sr-direct", 1, None),
    ],
)
def test_tiled_and_whole_agree_on_odd_sides(engine_for: Any, mode: str, pd_factor: int, strength: float | None) -> None:
    frame, engine = frame_of(noisy(151, 203)), engine_for(mode, pd_factor)
    counted: list[tuple[int, int]] = []
    settings = InferenceSettings(mode, strength, 64)

    tiled = denoise_frame(frame, engine, settings, lambda done, total: counted.append((done, total)))
    whole = denoise_frame(frame, engine, replace(settings, tile=10_000))

    total = counted[-1][1]
    assert total >= 6
    assert counted == [(done, total) for done in range(1, total + 1)]
    assert np.abs(tiled.frame.pixels - whole.frame.pixels).max() <= 1e-5
    assert not np.array_equal(whole.frame.pixels[:151, :203], frame.pixels)
    assert tiled.strength == pytest.approx(whole.strength, abs=1e-5)


def test_a_natural_look_keeps_grain_in_brightness_and_no_colour_noise(engine_for: Any) -> None:
    frame, engine = frame_of(noisy(96, 128)), engine_for("denoise", 1)
    smooth, natural = (
        denoise_frame(frame, engine, InferenceSettings(look=look)).frame.pixels for look in ("smooth", "natural")
    )
    towards = [np.abs((pixels - frame.pixels).mean(2)).mean() for pixels in (smooth, natural)]
    assert 0.3 * towards[0] < towards[1] < 0.85 * towards[0]
    of_smooth, of_natural = (pixels - pixels.mean(2, keepdims=True) for pixels in (smooth, natural))
    np.testing.assert_allclose(of_natural, of_smooth, atol=1e-6)


def test_a_natural_look_is_the_same_in_tiles(engine_for: Any) -> None:
    frame, engine = frame_of(noisy(151, 203)), engine_for("denoise", 1)
    tiled, whole = (denoise_frame(frame, engine, InferenceSettings(tile=side, look="natural")) for side in (64, 10_000))
    assert np.abs(tiled.frame.pixels - whole.frame.pixels).max() <= 1e-5
    assert tiled.strength == pytest.approx(whole.strength, abs=1e-5)


@pytest.mark.parametrize(("look", "strength"), [("plastic", None), ("natural", 1.0), ("natural", 0.0)])
def test_a_look_that_there_is_not_or_that_strength_contradicts_is_refused(look: str, strength: float | None) -> None:
    with pytest.raises(UsageError, match="look"):
        InferenceSettings(strength=strength, look=look)


@pytest.mark.parametrize("strength", [None, 1.0])
@pytest.mark.parametrize("detail", [0.0, 0.6])
@pytest.mark.parametrize("tile", [32, 50])
def test_tiles_see_as_far_as_the_network_and_the_blend_together(
    engine_for: Any, strength: float | None, detail: float, tile: int
) -> None:
    engine = FarSightedEngine(replace(engine_for("denoise", 1).info, halo=6))
    frame = frame_of(noisy(123, 97))
    tiled, whole = (
        denoise_frame(frame, engine, InferenceSettings("denoise", strength, side, 0.7, detail)).frame.pixels
        for side in (tile, 10_000)
    )
    assert np.abs(tiled - whole).max() <= 1e-5


def parts(change: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Coarse brightness, fine brightness and colour of (H, W, 3), a border left out."""
    brightness = change.mean(2)
    coarse = uniform_filter(brightness, 5)
    return coarse[4:-4, 4:-4], (brightness - coarse)[4:-4, 4:-4], (change - brightness[..., None])[4:-4, 4:-4]


@pytest.mark.parametrize("strength", [0.0, 0.5, None])
def test_colour_and_detail_go_their_own_ways(engine_for: Any, strength: float | None) -> None:
    photo, engine = noisy(61, 83), engine_for("denoise", 1)

    def change(**options: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        result = denoise_frame(frame_of(photo), engine, InferenceSettings("denoise", **options))
        return parts(result.frame.pixels - photo)

    whole, plain = change(strength=1.0), change(strength=strength)
    # Colour by itself: brightness changes as --strength says, colour as --chroma does.
    coloured = change(strength=strength, chroma=0.25)
    for found, expected in zip(coloured, (*plain[:2], 0.25 * whole[2]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # Of the fine changes in brightness a share is taken back; the rest is as it was.
    detailed = change(strength=strength, detail=0.4)
    taken_back = (detailed[0] + detailed[1]) - (plain[0] + plain[1])
    np.testing.assert_allclose(taken_back, -0.4 * plain[1], atol=1e-5)
    np.testing.assert_allclose(detailed[2], plain[2], atol=1e-5)
    assert np.abs(whole[2]).max() > 0.01


def test_all_the_grain_can_be_kept(engine_for: Any) -> None:
    photo, engine = noisy(61, 83), engine_for("denoise", 1)
    settings = InferenceSettings("denoise", 1.0, None, 0.0, 1.0)
    change = denoise_frame(frame_of(photo), engine, settings).frame.pixels - photo
    removed = denoise_frame(frame_of(photo), engine, InferenceSettings("denoise", 1.0)).frame.pixels - photo
    np.testing.assert_allclose(change[4:-4, 4:-4, 0], uniform_filter(removed.mean(2), 5)[4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_strength_zero_is_the_photo_bit_for_bit(engine_for: Any, dtype: str, channels: int) -> None:
    pixels = noisy(33, 47, channels, dtype)
    frame = frame_of(pixels, pixels[..., 0].copy())
    engine = NoEngine(engine_for("denoise", 2).info)

    result = run(frame, engine, "denoise", 0.0)

    assert result.frame.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(result.frame.pixels, pixels)
    np.testing.assert_array_equal(result.frame.alpha, pixels[..., 0])
    assert (result.strength, result.noise_after) == (0.0, result.noise_before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_strength_is_the_share_of_the_way_to_the_estimate(engine_for: Any, dtype: str) -> None:
    frame, engine = frame_of(noisy(40, 60, dtype=dtype)), engine_for("denoise", 1)
    photo = to_unit(frame.pixels)
    full, half = (to_unit(run(frame, engine, "denoise", share).frame.pixels) for share in (1.0, 0.5))

    # Half a step of rounding on either side.
    step = {"uint8": 1 / 255, "uint16": 1 / 65535, "float32": 1e-6}[dtype]
    assert np.abs(half - (photo + full) / 2).max() <= 1.01 * step
    assert np.abs(full - photo).max() > 0.05


def test_automatic_strength_leaves_a_photo_without_noise_alone(engine_for: Any) -> None:
    ramp = np.linspace(9000, 50000, 96 * 128).astype(np.uint16).reshape(96, 128, 1).repeat(3, 2)
    result = run(frame_of(ramp), engine_for("denoise", 2), "denoise")
    assert result.strength == pytest.approx(0, abs=0.01)
    assert np.abs(result.frame.pixels.astype(int) - ramp).max() < 0.01 * 65535


@pytest.mark.parametrize("channels", [1, 3])
def test_a_16_bit_gradient_keeps_its_levels(engine_for: Any, channels: int) -> None:
    ramp = np.linspace(15_000, 50_000, 1200).astype(np.uint16)
    frame = frame_of(np.tile(ramp[None, :, None], (24, 1, channels)))
    result = run(frame, engine_for("denoise", 2), "denoise", 1.0).frame.pixels
    assert result.dtype == np.uint16
    for channel in range(channels):
        assert len(np.unique(result[..., channel])) > 1000, "8 bits on the way would leave 256"


def test_grey_goes_through_as_three_equal_channels(engine_for: Any) -> None:
    engine, grey = engine_for("denoise", 2), noisy(41, 50, 1)
    result = run(frame_of(grey), engine, "denoise", 1.0).frame.pixels
    colour = run(frame_of(grey.repeat(3, 2)), engine, "denoise", 1.0).frame.pixels
    assert result.shape == grey.shape
    np.testing.assert_allclose(result[..., 0], colour.mean(2), atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_is_untouched_at_its_own_size_and_enlarged_with_the_photo(engine_for: Any, dtype: str) -> None:
    pixels = noisy(21, 30, 3, dtype)
    alpha = np.zeros((21, 30), dtype)
    alpha[:, 15:] = 1 if dtype == "float32" else np.iinfo(dtype).max
    same = run(frame_of(pixels, alpha), engine_for("denoise", 2), "denoise", 1.0).frame.alpha
    large = run(frame_of(pixels, alpha), engine_for("sr", 2), "sr").frame.alpha
    assert same is not None
    assert large is not None
    np.testing.assert_array_equal(same, alpha)
    assert (large.shape, large.dtype) == ((42, 60), alpha.dtype)
    np.testing.assert_array_equal(large[::2, ::2][:, [0, 14, 16, 29]], alpha[:, [0, 14, 16, 29]])


@WAYS
@pytest.mark.parametrize("size", SMALLEST)
def test_the_smallest_photos_go_through(engine_for: Any, mode: str, pd_factor: int, size: tuple[int, int]) -> None:
    engine = engine_for(mode, pd_factor)
    for channels, dtype in ((3, "uint8"), (1, "uint16"), (3, "float32")):
        photo = noisy(*size, channels, dtype)
        result = run(frame_of(photo), engine, mode, 1.0 if mode == "denoise" else None).frame.pixels
        assert result.shape == (size[0] * engine.info.scale, size[1] * engine.info.scale, channels)
        assert result.dtype == photo.dtype
        assert np.isfinite(result).all()
        if mode == "denoise":
            automatic = run(frame_of(photo), engine, mode).frame.pixels
            np.testing.assert_array_equal(automatic, photo, "too small to measure: left alone")


@pytest.mark.parametrize("mode", ["sr", "sr-direct"])
def test_enlarging_keeps_the_picture_in_its_place(engine_for: Any, mode: str) -> None:
    """The local mean is part of the estimate, so each 2×2 cell is about as bright as the pixel it came from."""
    photo = noisy(64, 80)
    photo[20:40, 30:60] = 0.9
    large = run(frame_of(photo), engine_for(mode, {"sr": 2, "sr-direct": 1}[mode]), mode).frame.pixels
    cells = large.reshape(64, 2, 80, 2, 3).mean((1, 3, 4))
    similarity = [
        np.corrcoef(np.roll(cells, (down, right), (0, 1)).ravel(), photo.mean(2).ravel())[0, 1]
        for down in (-2, 0, 2)
        for right in (-2, 0, 2)
    ]
    assert int(np.argmax(similarity)) == 4


class BuiltForSmallSizes:
    """Another engine, built for images of at most 64 pixels a side; its network may look farther, by other steps."""

    def __init__(self, engine: Engine, **facts: Any) -> None:
        self._engine = engine
        self.info = replace(engine.info, **{"most": 64, **facts})
        self.largest = 0

    def run(self, image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Refuse what is larger."""
        self.largest = max(self.largest, *image.shape[2:])
        assert self.largest <= 64
        return self._engine.run(image)

    def close(self) -> None:
        """There is nothing of its own."""


@pytest.mark.parametrize("tile", [None, 500])
def test_no_tile_is_larger_than_an_engine_was_built_for(engine_for: Any, tile: int | None) -> None:
    frame, engine = frame_of(noisy(151, 203)), engine_for("denoise", 1)
    cut, whole = (run(frame, one, "denoise", tile=tile) for one in (BuiltForSmallSizes(engine), engine))
    assert np.abs(cut.frame.pixels - whole.frame.pixels).max() <= 1e-5


@pytest.mark.parametrize("strength", [None, 1.0])
@pytest.mark.parametrize(("multiple", "halo"), [(8, 9), (16, 20), (32, 1)])
@pytest.mark.parametrize("tile", [None, 60, 500])
def test_no_tile_is_larger_after_it_was_rounded(
    engine_for: Any, multiple: int, halo: int, tile: int | None, strength: float | None
) -> None:
    """Tile and halo are rounded up to multiples of what the network takes, each on its own."""
    engine = BuiltForSmallSizes(engine_for("denoise", 1), multiple=multiple, halo=halo)
    reach = halo + InferenceSettings("denoise", strength).reach
    if 64 - 2 * -(-reach // multiple) * multiple < multiple:
        with pytest.raises(EngineFailedError, match="takes images of 64 pixels a side at most, too few for tiles"):
            run(frame_of(noisy(151, 203)), engine, "denoise", tile=tile, strength=strength)
    else:
        run(frame_of(noisy(151, 203)), engine, "denoise", tile=tile, strength=strength)
        assert 0 < engine.largest <= 64


def test_tiles_that_fade_are_no_larger_either(engine_for: Any) -> None:
    engine = BuiltForSmallSizes(engine_for("denoise", 1), tiling="blended", halo=9, multiple=8)
    run(frame_of(noisy(151, 203)), engine, "denoise", tile=62)
    assert 0 < engine.largest <= 64
    too_small = BuiltForSmallSizes(engine_for("denoise", 1), tiling="blended", halo=33)
    with pytest.raises(EngineFailedError, match="too few for tiles"):
        run(frame_of(noisy(151, 203)), too_small, "denoise")


def test_where_memory_is_short_tiles_are_small_from_the_first(engine_for: Any) -> None:
    frame, engine = frame_of(noisy(151, 203)), engine_for("denoise", 1)
    short = BuiltForSmallSizes(engine, most=None, room=100 * 100)
    short._engine = engine
    seen: list[int] = []

    def watched(image: Any, noise: Any = None) -> Any:
        seen.append(image.shape[2] * image.shape[3])
        return engine.run(image)

    short.run = watched  # type: ignore[method-assign]
    cut, whole = run(frame, short, "denoise"), run(frame, engine, "denoise")
    assert max(seen) <= 100 * 100 < 151 * 203
    assert np.abs(cut.frame.pixels - whole.frame.pixels).max() <= 1e-5


@pytest.mark.parametrize("strength", [None, 1.0])
def test_oblong_tiles_give_what_the_whole_gives(engine_for: Any, strength: float | None) -> None:
    frame, engine = frame_of(noisy(151, 603)), engine_for("denoise", 2)
    short = BuiltForSmallSizes(engine, most=None, room=180 * 180)
    shapes: set[tuple[int, ...]] = set()

    def watched(image: Any, noise: Any = None) -> Any:
        shapes.add(image.shape[2:])
        return engine.run(image)

    short.run = watched  # type: ignore[method-assign]
    cut, whole = (run(frame, one, "denoise", strength) for one in (short, engine))
    ((height, width),) = shapes
    assert height != width
    assert height * width <= 180 * 180
    assert np.abs(cut.frame.pixels - whole.frame.pixels).max() <= 1e-5
    assert cut.strength == pytest.approx(whole.strength, abs=1e-5)
