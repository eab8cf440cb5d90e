"""Small parts of a photo as they will be in the whole: several ways from one run of the network, and no more."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsp_pipeline.core.depth import from_unit, to_unit
from nsp_pipeline.core.noise import NoiseLevel
from nsp_pipeline.core.noise_prior import NoisePrior
from nsp_pipeline.core.shuffle import reflected_indices
from nsp_pipeline.core.tiling import Span, Tile
from nsp_pipeline.denoise.mosaic import noises_of
from nsp_pipeline.denoise.photo import InferenceSettings, Pixels, blended_tile, network_estimate
from nsp_pipeline.engines.engine import Engine
from nsp_pipeline.frames.dng.mosaic import as_rgb
from nsp_pipeline.frames.frame import Frame, Kind, RawSource
from nsp_pipeline.frames.light import tone_for
from nsp_pipeline.noise.estimate import estimate_noise


@dataclass(frozen=True)
class Crop:
    """A rectangle of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The part of (H, W, ...) that it covers."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class DenoisedCrops:
    """The crops of one photo by one network.

    `pixels` has for each of the settings the crops as the photo stores them, in their order. `seconds_per_megapixel`
    is what the network took, for the fastest of the crops.
    """

    pixels: tuple[tuple[Pixels, ...], ...]
    seconds_per_megapixel: float


class CropSource:
    """A photo of which parts are denoised, with the noise of all of it, which is estimated once."""

    def __init__(self, frame: Frame, light: str = "auto") -> None:
        """Estimate the noise; `light` as in InferenceSettings."""
        self._stored = frame.pixels
        self._tone = tone_for(frame, light)
        seen = self._tone.seen(frame.pixels) if self._tone else frame.pixels
        source = frame.metadata.source
        mosaic = source.mosaic if isinstance(source, RawSource) else ()
        every = tuple(range(seen.shape[2]))
        # A mosaic goes through twice, with each of its two greens (see mosaic.py).
        self._pictures = as_rgb(seen, mosaic) if mosaic else [(seen, every)]
        self._noises = [
            replace(noise, of_light=bool(self._tone) or frame.kind is Kind.RAW)
            for noise in noises_of([pixels for pixels, _ in self._pictures])
        ]

    @property
    def sigma(self) -> float:
        """The noise of the whole photo, in 8-bit steps."""
        return float(np.mean([noise.sigma for noise in self._noises]))

    def denoised(
        self,
        crops: Sequence[Crop],
        engine: Engine,
        wanted: Sequence[InferenceSettings],
        known: NoisePrior | None = None,
    ) -> DenoisedCrops:
        """Denoise parts of the photo in several ways.

        Each is what `denoise_frame` makes of that part, pixel by pixel; of networks that look everywhere (`tiling`
        "blended") nearly so. The network runs once for each crop; only the blending differs by settings.

        Args:
            crops: inside the photo; for a Bayer mosaic, inside its planes.
            engine: of mode "denoise".
            known: what the profile knows of the photo's noise; only where networks see the photo as it is.

        Raises as `denoise_frame` does; memory that runs out is not helped by smaller tiles.
        """
        noises = self._noises_with(known)
        windows = [
            [_Window(seen, crop, engine, max(way.reach_for(noise) for way in wanted), noise) for crop in crops]
            for (seen, _), noise in zip(self._pictures, noises, strict=True)
        ]
        pixels = tuple(
            tuple(
                self._crop(crop, [row[number].blended(settings) for row in windows])
                for number, crop in enumerate(crops)
            )
            for settings in wanted
        )
        fastest = min(window.seconds_per_megapixel for row in windows for window in row)
        return DenoisedCrops(pixels, fastest)

    def _noises_with(self, known: NoisePrior | None) -> list[NoiseLevel]:
        """The noise of each picture, by what is known as well where it is of the photo as networks see it."""
        if known is None or self._tone or len(self._pictures) > 1:
            return self._noises
        return [estimate_noise(self._stored, prior=known)]

    def _crop(self, crop: Crop, made: Sequence[NDArray[Any]]) -> Pixels:
        """One crop as the photo stores it, from what was made of each picture."""
        if len(made) == 1 and not self._tone:
            return made[0]
        if self._tone:
            before = crop.of(self._pictures[0][0])
            return self._tone.back(crop.of(self._stored), before, made[0])
        planes: NDArray[Any] = np.zeros_like(crop.of(self._stored))
        places = [place for _, three in self._pictures for place in three]
        for part, (_, three) in zip(made, self._pictures, strict=True):
            for channel, place in enumerate(three):
                planes[..., place] += part[..., channel] / np.float32(places.count(place))
        return planes


class _Window:
    """What the network sees around one crop, and its estimate."""

    def __init__(self, pixels: Pixels, crop: Crop, engine: Engine, reach: int, noise: NoiseLevel) -> None:
        self._crop, self._info, self._noise, self._dtype = crop, engine.info, noise, pixels.dtype
        rows = reflected_indices(pixels.shape[0], engine.info.multiple)
        cols = reflected_indices(pixels.shape[1], engine.info.multiple)
        halo, multiple = engine.info.halo + reach, engine.info.multiple
        self._tile = Tile(
            _span(crop.top, crop.height, len(rows), halo, multiple),
            _span(crop.left, crop.width, len(cols), halo, multiple),
        )
        seen = [index[span.start : span.stop] for index, span in ((rows, self._tile.rows), (cols, self._tile.cols))]
        window = to_unit(pixels[np.ix_(*seen)])
        self._noisy = np.ascontiguousarray(window.transpose(2, 0, 1))
        began = time.monotonic()
        self._estimate = network_estimate(self._noisy, engine, noise)
        # Of the whole photo less is seen twice.
        self.seconds_per_megapixel = (time.monotonic() - began) * 1e6 / (window.shape[0] * window.shape[1])

    def blended(self, settings: InferenceSettings) -> Pixels:
        """The crop (h, w, C) at the depth that the network's input was stored in."""
        if settings.removes_nothing:
            values = self._noisy[:, *(span.inner for span in (self._tile.rows, self._tile.cols))]
        else:
            values, _ = blended_tile(self._noisy, self._estimate, self._tile, (self._info, settings, self._noise))
        top, left = self._crop.top - self._tile.rows.keep_start, self._crop.left - self._tile.cols.keep_start
        part = values[:, top : top + self._crop.height, left : left + self._crop.width]
        return from_unit(np.ascontiguousarray(part.transpose(1, 2, 0)), self._dtype)


def _span(start: int, length: int, size: int, halo: int, multiple: int) -> Span:
    """What to read along one side, in the phase of the whole photo, and what to keep: the crop and up to a multiple."""
    halo = -(-halo // multiple) * multiple
    keep_start, keep_stop = start // multiple * multiple, -(-(start + length) // multiple) * multiple
    return Span(max(0, keep_start - halo), min(size, keep_stop + halo), keep_start, keep_stop)
