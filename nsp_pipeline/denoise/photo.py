"""One photo through one engine: estimate its noise, run it tile by tile, blend, and store at the photo's own depth."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nsp_pipeline.core.blend import (
    BICUBIC_RADIUS,
    GRAIN_RADIUS,
    LOOKS,
    MEAN_RADIUS,
    NATURAL,
    SMOOTH,
    WINDOW_RADIUS,
    cell_means,
    enlarged,
    faded,
    grain_kept,
    natural_weight,
    noise_there,
    recentred,
    recoloured,
    weight_of_change,
)
from nsp_pipeline.core.depth import store_unit, to_unit
from nsp_pipeline.core.doubt import doubt
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.shuffle import reflected_indices
from nsp_pipeline.core.tiling import Tile, plan_fading_spans, plan_tiles
from nsp_pipeline.denoise.in_order import in_order
from nsp_pipeline.denoise.tiles import before_a_photo, halved, in_smaller_tiles, tile_shape
from nsp_pipeline.denoise.windows import bands_of, fill
from nsp_pipeline.engines.engine import Engine, EngineInfo
from nsp_pipeline.engines.of_profile import EngineByNoise
from nsp_pipeline.errors import EngineFailedError, EngineOutOfMemoryError, NspError, UntrustedResultError, UsageError
from nsp_pipeline.frames.frame import Frame, Kind
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.machine.cpus import usable_cpus
from nsp_pipeline.machine.disk_array import beside, let_go
from nsp_pipeline.machine.freed_memory import keep_freed_memory
from nsp_pipeline.noise.estimate import estimate_noise, looks_at_windows
from nsp_pipeline.noise.windows import FEW

TOGETHER = 3
"""Tiles in hand where an engine takes several: two are with it, and one is filled or blended."""

Pixels = NDArray[np.generic]
"""(H, W, C), as a photo stores them."""


@dataclass(frozen=True)
class InferenceSettings:
    """How to denoise a photo: mode, strength, tile size and PD.

    `strength` is the share of the removed noise, 0 to 1; None lets the noise estimated in the photo decide for every
    neighbourhood (see core/blend.py). `tile` is the side of a tile in pixels; None means the network's own, or one
    that suits its halo. `chroma` is `strength` for colour alone, None the same; `detail` is the share of the finest
    grain that comes back, in brightness only. `look` is one of LOOKS, NATURAL for a strength of None alone (see
    core/blend.py). `pd` is one of PD_WORDS (see profiles/spec.py). `light` is one of
    LIGHT_WORDS (see frames/light.py): whether photos store light, or what is looked at.
    """

    mode: str = "denoise"
    strength: float | None = None
    tile: int | None = None
    chroma: float | None = None
    detail: float = 0.0
    pd: str = "auto"
    light: str = "auto"
    look: str = SMOOTH

    def __post_init__(self) -> None:
        """Raise UsageError for a share that is no number from 0 to 1, and for a look that there is not or cannot be."""
        if self.look not in LOOKS:
            raise UsageError(f"look '{self.look}' is not one of {', '.join(LOOKS)}")
        if self.look == NATURAL and self.strength is not None:
            raise UsageError("look natural goes by the noise of every place: it works with strength auto only")
        for name in ("strength", "chroma", "detail"):
            share = getattr(self, name)
            # So that "not a number" is refused as well, which lies neither inside nor outside.
            if share is not None and not 0 <= share <= 1:
                raise UsageError(f"{name} {share} is no number from 0 to 1")

    @property
    def removes_nothing(self) -> bool:
        """Whether every photo comes back as it is."""
        return self.mode == "denoise" and self.strength == 0 and not self.chroma

    def reach_for(self, noise: NoiseLevel) -> int:
        """Pixels around its own that blending looks at, on top of the network's halo, in a photo of that noise."""
        return self.reach + (MEAN_RADIUS if noise.own_means else 0)

    @property
    def reach(self) -> int:
        """The same for most photos."""
        enlarging = 0 if self.mode == "denoise" else BICUBIC_RADIUS
        local = WINDOW_RADIUS + 1 if self.strength is None else 0
        return local + (GRAIN_RADIUS if self.detail else 0) + enlarging


@dataclass(frozen=True)
class Inferred:
    """A denoised photo, the mean strength used, and its noise: sigma in 8-bit steps; see noise_left for that after.

    What is left of the noise is a rough figure, for people; no more of the result is looked at than that takes.
    `seen` are the photo's pixels before and after as the network sees them: in a perceptual encoding.
    """

    frame: Frame
    strength: float
    noise_before: float
    noise_after: float | None
    """None: not looked at yet."""
    seen: tuple[Pixels, Pixels]
    most_brightened: float = 0.0
    """By how much values may have become brighter because a tone curve had bent the noise, 0..1."""
    noise_known: float | None = None
    """How much of the noise was known of the camera beforehand, 0..1 (see NoiseLevel.known_share)."""


def noise_left(inferred: Inferred) -> float:
    """The noise after denoising, which takes half a second to estimate: whoever wants to know it chooses when."""
    return estimate_noise(inferred.seen[1], most=FEW).sigma if inferred.noise_after is None else inferred.noise_after


def denoise_frame(
    frame: Frame,
    engine: Engine,
    settings: InferenceSettings,
    on_tile: Callable[[int, int], None] | None = None,
    on_smaller: Callable[[int], None] | None = None,
    on_rows: Callable[[Pixels, int], None] | None = None,
    noise: NoiseLevel | None = None,
) -> Inferred:
    """Denoise (or enlarge) one photo.

    The result does not depend on the tile size: halo, padding and phases of a tile are those of the whole photo. Only
    networks that look everywhere (`tiling` "blended") give other results in other tiles; those fade into each other.
    Strength 0 gives back the very pixels. Grey photos go through as three equal channels, and their mean comes back.

    Photos that store light, and values beyond white, are denoised in a perceptual encoding (see core/tone.py) and
    brought back.

    Where memory runs out, automatic tiles are halved, for this photo and some that follow on the engine.

    Args:
        on_tile: called with (tiles done, tiles in all).
        on_smaller: called with the new side when tiles were halved.
        on_rows: called with the result, and how many of its rows are done, from the top: 0 at the beginning, and again
            where all begins anew with smaller tiles. Never where pixels are still to be brought back from another
            encoding.
        noise: of the photo as networks see it, where that is known already.

    Raises:
        EngineOutOfMemoryError: a tile as large as was asked for, or the smallest, does not fit into memory.
        UntrustedResultError: the engine gave values that are not numbers.
        EngineFailedError: the engine broke down.
    """
    if frame.rows and (settings.removes_nothing or settings.light != "auto" or not looks_at_windows()):
        frame.rows.wait(len(frame.pixels))
    tone = tone_for(frame, settings.light)
    if frame.rows and tone:
        frame.rows.wait(len(frame.pixels))
    pixels = tone.seen(frame.pixels) if tone else frame.pixels
    noise = noise or estimate_noise(pixels)
    noise = replace(noise, of_light=bool(tone) or frame.kind is Kind.RAW)
    if settings.removes_nothing:
        return Inferred(replace(frame, rows=None), 0.0, noise.sigma, noise.sigma, (pixels, pixels))
    height, width, channels = pixels.shape
    scale = engine.info.scale
    result = beside(pixels)((height * scale, width * scale, channels), pixels.dtype)
    run = _run_fading if engine.info.tiling == "blended" else _run_exactly
    multiple = engine.info.multiple
    padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)

    def tell(done: int, total: int, rows: int) -> None:
        if frame.rows:
            # No tile reads farther below what is done.
            reach = engine.info.halo + settings.reach_for(noise) + multiple
            ahead = 2 + TOGETHER * engine.info.shared
            frame.rows.wait(min(height, rows // scale + ahead * (shape[0] + reach)))
        if on_rows and not tone:
            on_rows(result, rows)
        if on_tile and done:
            on_tile(done, total)

    keep_freed_memory()
    engine.info = before_a_photo(engine.info)
    while True:
        shape = tile_shape(engine.info, settings.tile, settings.reach_for(noise), padded)
        try:
            tell(0, 1, 0)
            strength = run(pixels, result, engine, settings, noise, shape, tell)
            if frame.rows:
                frame.rows.wait(height)
            break
        except (EngineOutOfMemoryError, MemoryError) as error:
            smaller = halved(min(max(shape), max(height, width)), engine, settings.tile, error)
            engine.info = in_smaller_tiles(engine.info, smaller)
        if on_smaller:
            on_smaller(smaller)
    return Inferred(
        frame=replace(
            frame,
            rows=None,
            pixels=tone.back(frame.pixels, pixels, result) if tone else result,
            alpha=_enlarged(frame.alpha, scale),
        ),
        strength=strength,
        noise_before=noise.sigma,
        noise_after=None,
        seen=(pixels, result),
        most_brightened=noise.most_brightened,
        noise_known=noise.known_share,
    )


def _run_exactly(
    pixels: Pixels,
    result: Pixels,
    engine: Engine,
    settings: InferenceSettings,
    noise: NoiseLevel,
    shape: tuple[int, int],
    on_tile: Callable[[int, int, int], None],
) -> float:
    """Fill `result` tile by tile; returns the mean strength. `on_tile` hears of tiles, and of rows that are done."""
    info = engine.info
    rows = reflected_indices(pixels.shape[0], info.multiple)
    cols = reflected_indices(pixels.shape[1], info.multiple)
    reach = settings.reach_for(noise)
    halo = info.halo + reach
    tiles = list(plan_tiles(len(rows), len(cols), tile=shape, halo=halo, multiple=info.multiple))
    together, threads = (TOGETHER, usable_cpus()) if info.shared else (1, 1)
    # As many as are worked on, for tiles of one shape: memory that is new is slower.
    kind = pixels.dtype if info.integers and pixels.dtype.kind == "u" else np.dtype(np.float32)
    sides = tiles[0].rows.stop, tiles[0].cols.stop
    windows = [np.empty((pixels.shape[2], *sides), kind) for _ in range(min(together, len(tiles)))]

    def made(tile: Tile) -> float:
        noisy = windows.pop()
        fill(noisy, pixels, rows[tile.rows.start : tile.rows.stop], cols[tile.cols.start : tile.cols.stop])
        estimate = network_estimate(noisy, engine, noise)

        def blended(band: Tile) -> float:
            seen = slice(band.rows.start, band.rows.stop), slice(band.cols.start, band.cols.stop)
            enlarged_seen = (slice(part.start * info.scale, part.stop * info.scale) for part in seen)
            how = info, settings, noise
            values, strength = blended_tile(to_unit(noisy[:, *seen]), estimate[:, *enlarged_seen], band, how)
            top, left = tile.rows.start + band.rows.keep_start, tile.cols.start + band.cols.keep_start
            _store(values, result, top * info.scale, left * info.scale)
            share: float = strength * values.shape[1] * values.shape[2]
            return share

        total: float = sum(in_order(blended, bands_of(tile, noisy.shape[1:], reach), threads))
        windows.append(noisy)
        return total

    strengths = 0.0
    for done, (tile, strength) in enumerate(zip(tiles, in_order(made, tiles, together), strict=True), 1):
        strengths += strength
        if tile.cols.stop == len(cols):
            let_go(pixels, result)
        on_tile(done, len(tiles), tile.rows.keep_start * info.scale)
    return strengths / (len(rows) * len(cols) * info.scale**2)


def _run_fading(
    pixels: Pixels,
    result: Pixels,
    engine: Engine,
    settings: InferenceSettings,
    noise: NoiseLevel,
    shape: tuple[int, int],
    on_tile: Callable[[int, int, int], None],
) -> float:
    """Fill `result` with tiles that fade into each other, a row of tiles at a time; returns and tells as the other."""
    scale, multiple = engine.info.scale, engine.info.multiple
    rows, cols = reflected_indices(pixels.shape[0], multiple), reflected_indices(pixels.shape[1], multiple)
    down = plan_fading_spans(len(rows), shape[0], engine.info.halo, multiple)
    across = plan_fading_spans(len(cols), shape[1], engine.info.halo, multiple)
    strength = 0.0
    # What no later tile adds to is stored; below it, sums that are still open.
    stored, sums = 0, np.zeros((pixels.shape[2], 0, len(cols) * scale), np.float32)
    for row, span in enumerate(down):
        grown = np.zeros((sums.shape[0], (span.stop - stored) * scale, sums.shape[2]), np.float32)
        grown[:, : sums.shape[1]] = sums
        open_rows = grown[:, (span.start - stored) * scale :]
        for column, part in enumerate(across):
            window = pixels[np.ix_(rows[span.start : span.stop], cols[part.start : part.stop])]
            estimate, share = _run_tile(to_unit(window), Tile(span.whole, part.whole), engine, settings, noise)
            weights = span.weights.repeat(scale)[:, None] * part.weights.repeat(scale)
            open_rows[:, :, part.start * scale : part.stop * scale] += weights * estimate
            strength += share * float(span.weights.mean() * part.weights.mean()) * window.shape[0] * window.shape[1]
            on_tile(row * len(across) + column + 1, len(down) * len(across), stored * scale)
        done = down[row + 1].start if row + 1 < len(down) else len(rows)
        _store(grown[:, : (done - stored) * scale], result, stored * scale, 0)
        let_go(pixels, result)
        stored, sums = done, grown[:, (done - stored) * scale :]
    return strength / (len(rows) * len(cols))


def _run_tile(
    window: NDArray[np.float32], tile: Tile, engine: Engine, settings: InferenceSettings, noise: NoiseLevel
) -> tuple[NDArray[np.float32], float]:
    """Run one window (h, w, C) and cut out what is kept: (C, kept h, kept w) in 0..1, and the mean weight."""
    noisy = np.ascontiguousarray(window.transpose(2, 0, 1))
    return blended_tile(noisy, network_estimate(noisy, engine, noise), tile, (engine.info, settings, noise))


def network_estimate(noisy: NDArray[Any], engine: Engine, noise: NoiseLevel) -> NDArray[np.float32]:
    """What the network makes of a window (C, h, w): (C, h·scale, w·scale) in 0..1, not yet blended with the photo.

    The window is in 0..1, or as the photo stores it where the engine takes that.

    Raises EngineFailedError, EngineOutOfMemoryError, MemoryError, and UntrustedResultError for values that are none.
    """
    image = np.repeat(noisy, 3, axis=0) if len(noisy) == 1 else noisy
    table = (noise.as_told.table,) if engine.info.noise_conditioned else ()
    ran = partial(engine.run, of_light=noise.of_light) if isinstance(engine, EngineByNoise) else engine.run
    try:
        estimate: NDArray[np.float32] = ran(image[None], *table)[0]
    except (NspError, MemoryError):
        raise
    except Exception as error:  # back ends raise bare classes of their own
        raise EngineFailedError(f"it failed: {type(error).__name__}: {error}") from error
    # What is no number makes the sum none; looking at each takes four times as long.
    if not np.isfinite(estimate.sum()):
        raise UntrustedResultError("the result holds values that are not numbers")
    if len(noisy) == 1:
        return np.asarray(estimate.mean(0, keepdims=True), dtype=np.float32)
    return estimate


def blended_tile(
    noisy: NDArray[np.float32],
    estimate: NDArray[np.float32],
    tile: Tile,
    how: tuple[EngineInfo, InferenceSettings, NoiseLevel],
) -> tuple[NDArray[np.float32], float]:
    """Mix a window (C, h, w) and its estimate as is wished; (C, kept h, kept w) in 0..1, and the mean weight."""
    info, settings, noise = how
    scale = info.scale
    inner = tile.rows.inner, tile.cols.inner
    cells = cell_means(estimate, scale) if scale > 1 else estimate
    change, weight = _change(noisy, cells, settings, noise, blind=info.blind)
    mean_weight = float((weight[:, *inner] if settings.strength is None else weight).mean())
    if scale == 1:
        kept = change[:, *inner]
        kept += noisy[:, *inner]
        return kept, mean_weight
    # What blending changes has the photo's own resolution; the finer detail is the network's.
    blended = estimate + enlarged(noisy + change - cells, scale)
    return blended[:, *(slice(part.start * scale, part.stop * scale) for part in inner)], mean_weight


def _change(
    noisy: NDArray[np.float32],
    estimate: NDArray[np.float32],
    settings: InferenceSettings,
    noise: NoiseLevel,
    *,
    blind: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is added to a noisy window, (C, h, w) as its estimate, as is wished; and how much of the change that is."""
    if noise.own_means:
        there = noise_there(noisy, estimate, noise)
        # Networks have learnt from noise that is even on the curve, and take the dark for darker than it is.
        estimate = estimate + there * (recentred(noisy, estimate) - estimate)
    seen = estimate - noisy
    if settings.strength is None:
        weight = weight_of_change(seen, estimate, noise.as_told, blind=blind)
    else:
        weight = np.full((1, 1, 1), settings.strength, np.float32)
    whole = seen + there * (noise.brightened(estimate) - estimate) if noise.own_means else seen
    change = weight * whole if settings.strength is not None else faded(whole, weight, blind=blind)
    if settings.look == NATURAL:
        natural = natural_weight(seen, estimate, noise)
        weight = weight + doubt(estimate, noise) * (natural - weight)
        change = recoloured(weight * whole, change)
    if settings.chroma is not None:
        change = recoloured(change, settings.chroma * whole)
    if settings.detail:
        change = grain_kept(change, settings.detail)
    return change, weight


def _store(estimate: NDArray[np.float32], result: NDArray[np.generic], top: int, left: int) -> None:
    """Round (C, h, w) in 0..1 to the depth of `result` and put it there; what is padding falls off."""
    place = result[top : top + estimate.shape[1], left : left + estimate.shape[2]]
    # Channel by channel: turned as a whole, it takes seven times as long.
    for channel, values in enumerate(estimate[:, : place.shape[0], : place.shape[1]]):
        store_unit(values, place[..., channel])


def _enlarged(alpha: NDArray[np.generic] | None, scale: int) -> NDArray[np.generic] | None:
    """The alpha channel at the output's size: untouched at scale 1, else interpolated (bilinear, no overshoot)."""
    if alpha is None or scale == 1:
        return alpha
    size = (alpha.shape[1] * scale, alpha.shape[0] * scale)
    enlarged = np.asarray(Image.fromarray(alpha.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    return (enlarged if alpha.dtype.kind == "f" else np.rint(enlarged)).astype(alpha.dtype)
